"""Datasets: immutable versions of file trees, addressed by content."""
