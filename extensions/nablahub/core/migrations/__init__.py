"""Revisions of the tables that belong to no concept."""
