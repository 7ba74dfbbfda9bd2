"""Revisions of the workflows' tables."""
