"""Models: named, with versions that point at files of a dataset version."""
