"""Versions that single-user servers see in ``/datasets``, and the cache in which they lie."""
