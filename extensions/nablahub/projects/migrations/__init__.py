"""Revisions of the projects' table."""
