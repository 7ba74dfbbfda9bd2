"""Mounts of servers, and the cache as administrators see it."""
