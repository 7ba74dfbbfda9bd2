"""Makes a JupyterHub a NablaHub: ``import nablahub_hub; nablahub_hub.install(c)``."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["NablaHub", "install"]

_PLACES = {"install": "nablahub_hub.install", "NablaHub": "nablahub_hub.settings"}


def __getattr__(name: str) -> Any:
    # Loaded at first use: the light client imports this package for its commands alone.
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'nablahub_hub' has no attribute {name!r}")
