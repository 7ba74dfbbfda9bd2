"""Makes a JupyterHub a NablaHub: ``import nablahub_hub; nablahub_hub.install(c)``.

Nothing is imported before it is asked for: the command line, which runs without JupyterHub too,
finds the commands of this package by its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nablahub_hub.installer import install
    from nablahub_hub.settings import NablaHub

__all__ = ["NablaHub", "install"]


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name == "install":
        from nablahub_hub.installer import install  # see above

        return install
    if name == "NablaHub":
        from nablahub_hub.settings import NablaHub  # see above

        return NablaHub
    raise AttributeError(name)
