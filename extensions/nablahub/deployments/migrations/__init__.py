"""Revisions of the deployments' tables."""
