"""Revisions of the storage providers' table."""
