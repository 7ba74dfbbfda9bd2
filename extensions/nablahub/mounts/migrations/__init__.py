"""Revisions of the tables of mounts."""
