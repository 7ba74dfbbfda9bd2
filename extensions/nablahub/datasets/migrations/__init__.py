"""Revisions of the datasets' tables."""
