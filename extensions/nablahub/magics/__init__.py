"""``%nabla`` in notebooks: projects, data, runs and deployments without leaving the cell.

    %load_ext nablahub
    %nabla project showcase
    %nabla datasets
    run = %nabla run digits test-share=0.3

Everything goes through :mod:`nablahub.client`; what a magic returns are the client's own objects.
"""

from __future__ import annotations

from typing import Any


def load_ipython_extension(ipython: Any) -> None:
    """Add the magics to a shell."""
    # Only here, since IPython is there in notebooks and need not be anywhere else.
    from nablahub.magics.nabla import NablaMagics

    ipython.register_magics(NablaMagics)
