"""``python -m nablahub_hub.local.hub``: JupyterHub, started faster, on a socket handed to it."""

from __future__ import annotations

import socket
import sys
from typing import Any, cast

from tornado import tcpserver
from tornado.netutil import bind_sockets

from nablahub.core.sockets import inherited, listening


def listen_on(found: list[socket.socket]) -> None:
    """Make tornado's servers listen on sockets that are there, where the address is theirs.

    JupyterHub has no option for it: it asks tornado for an address and a port.
    """

    def bind(port: int, address: str | None = None, **more: Any) -> list[socket.socket]:
        return listening(found, address or "", port) or bind_sockets(port, address, **more)

    vars(tcpserver)["bind_sockets"] = bind


def main() -> None:
    """Run JupyterHub."""
    listen_on(inherited())
    # jsonschema, which jupyter_events needs, builds a grammar of RFC 3987 for most of a second
    # when that optional package is there, to check a format that no event of ours has.
    cast(dict[str, Any], sys.modules)["rfc3987_syntax"] = None
    from jupyterhub.app import main as hub  # only now: see above

    hub()


if __name__ == "__main__":
    main()
