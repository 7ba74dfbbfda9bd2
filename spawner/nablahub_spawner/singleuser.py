"""``python -m nablahub_spawner.singleuser``: JupyterHub's single-user server, started faster."""

from __future__ import annotations

import sys
from typing import Any, cast


def main() -> None:
    """Run the single-user server."""
    # jsonschema, which jupyter_events needs, builds a grammar of RFC 3987 for most of a second
    # when that optional package is there, to check a format that no event of ours has.
    cast(dict[str, Any], sys.modules).setdefault("rfc3987_syntax", None)
    from jupyterhub.singleuser import main as server  # only now: see above

    server()


if __name__ == "__main__":
    main()
