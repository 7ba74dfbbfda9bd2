"""The kinds of models that the server loads; each file brings one format."""
