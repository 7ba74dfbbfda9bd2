"""Deployments: models behind an address, served by jobs that never end."""
