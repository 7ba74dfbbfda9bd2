"""Revisions of the models' tables."""
