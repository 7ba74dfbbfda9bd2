"""``python -m nablahub_hub.local.hub``: JupyterHub, started faster."""

from __future__ import annotations

import sys
from typing import Any, cast


def main() -> None:
    """Run JupyterHub."""
    # jsonschema, which jupyter_events needs, builds a grammar of RFC 3987 for most of a second
    # when that optional package is there, to check a format that no event of ours has.
    cast(dict[str, Any], sys.modules)["rfc3987_syntax"] = None
    from jupyterhub.app import main as hub  # only now: see above

    hub()


if __name__ == "__main__":
    main()
