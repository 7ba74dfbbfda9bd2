"""The Jupyter Server extension: passes Lab's calls to the NablaHub service as its user."""

from nablahub_server.app import load

__all__ = ["_jupyter_server_extension_points", "_load_jupyter_server_extension"]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Tell Jupyter Server which module holds the extension."""
    return [{"module": "nablahub_server"}]


_load_jupyter_server_extension = load
