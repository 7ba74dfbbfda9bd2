"""Revisions of the teams' table."""
