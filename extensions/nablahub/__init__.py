"""NablaHub, the open and self-hosted successor of the Gradient ML platform.

``nablahub.connect()`` is where programs start; ``%load_ext nablahub`` is for notebooks.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["connect", "load_ipython_extension"]


def __getattr__(name: str) -> Any:
    # Loaded at first use, so that `import nablahub.serving` in a model server costs nothing.
    if name == "connect":
        return importlib.import_module("nablahub.client").connect
    raise AttributeError(f"module 'nablahub' has no attribute {name!r}")


def load_ipython_extension(ipython: Any) -> None:
    """Add the ``%nabla`` magics to a notebook (``%load_ext nablahub``)."""
    importlib.import_module("nablahub.magics").load_ipython_extension(ipython)
