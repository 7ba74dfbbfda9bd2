"""Where the service may connect to on behalf of a user: the public internet, if not told otherwise.

Without this rule anybody who may name an address could let the hub look around in its own network.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from nablahub.core.errors import Fault, Invalid


class BadAddress(Invalid):
    """An address that the service does not connect to for a user."""

    code = "bad_address"


def check_address(url: str, *, pointer: str = "", allow_private: bool = False) -> list[str]:
    """Return the IP addresses that a URL's host has, when the service may connect to them.

    Parameters
    ----------
    url : str
        ``http(s)://host[:port]``.
    pointer : str
        JSON pointer of the field that holds it.
    allow_private : bool
        Whether private, loopback and link-local addresses are allowed too.

    Raises
    ------
    BadAddress
        When the name is unknown, or one of its addresses is not public.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError, UnicodeError) as error:
        raise BadAddress(
            f"The name '{host}' has no address.",
            errors=[Fault("The host is unknown.", pointer, hint="Check its spelling.")],
        ) from error
    addresses = sorted({str(item[4][0]) for item in found})
    private = [address for address in addresses if not _is_public(address)]
    if private and not allow_private:
        raise BadAddress(
            f"The host '{host}' is at {private[0]}, which is not a public address.",
            hint="An administrator can allow that by the setting allow_private_addresses.",
            errors=[Fault("Not a public address.", pointer)],
        )
    return addresses


def _is_public(address: str) -> bool:
    ip = ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_global and not ip.is_multicast
