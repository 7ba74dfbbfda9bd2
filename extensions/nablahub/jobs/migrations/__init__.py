"""Revisions of the jobs' tables."""
