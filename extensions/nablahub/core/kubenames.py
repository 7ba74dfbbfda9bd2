"""Names of what a hub makes in a Kubernetes namespace: readable, and never the same for two things.

A name ends in a hash of everything that tells its owner from others (the hub, the kind of thing,
the user, the server or team), unshortened and in an encoding that has no two readings. What stands
before it is for people only. Every name is a DNS-1123 label, the strictest form that Kubernetes
asks for, so it may also be a label's value, a host's name and a folder's.
"""

from __future__ import annotations

import hashlib
import json
import re

#: The label of all that a hub makes; its value tells which hub.
HUB_LABEL = "nablahub.org/hub"
#: Longest DNS label (RFC 1123, section 2.1).
LONGEST = 63
#: Longest name of a Job, to which Kubernetes adds a pod's index and five characters.
#: https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-names
LONGEST_JOB = 52
#: Hexadecimal digits of the hash: 80 bits, so that 10^9 names collide with chance below 10^-6.
_DIGITS = 20
_KIND = re.compile(r"[a-z][a-z0-9]{0,19}")


def unique_name(kind: str, *identity: str, readable: str, longest: int = LONGEST) -> str:
    """Return the name of one thing.

    Parameters
    ----------
    kind : str
        What it is: at most 20 lower-case letters and digits, the first a letter. It stands in
        front.
    identity : str
        What tells it from everything else of its kind, in a fixed order.
    readable : str
        Any text; what of it a name may have follows the kind.
    longest : int
        Characters of the name at most; 42 leave room for every kind.

    Raises
    ------
    ValueError
        When the kind is not such a word.
    """
    if not _KIND.fullmatch(kind):
        raise ValueError(f"{kind!r} cannot begin a name: use lower-case letters and digits.")
    encoded = json.dumps([kind, *identity], ensure_ascii=True).encode()
    digest = hashlib.sha256(encoded).hexdigest()[:_DIGITS]
    room = longest - len(kind) - len(digest) - 2
    word = slug(readable)[:room].rstrip("-")
    return "-".join(part for part in (kind, word, digest) if part)


def slug(text: str) -> str:
    """Return what of a text may stand in a DNS label; may be empty, and is not unique."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def server(hub: str, user: str, name: str) -> str:
    """Return the name of the pod of a user's server, and of its secret.

    Parameters
    ----------
    hub : str
        Name of the hub, for hubs that share a namespace.
    user : str
        The hub user.
    name : str
        The server's name; empty for the default one.
    """
    return unique_name("nb", hub, user, name, readable=f"{user}-{name}" if name else user)


def home(hub: str, user: str, server_name: str | None = None) -> str:
    """Return the name of the claim that holds a user's home.

    Parameters
    ----------
    server_name : str or None
        The server whose own home it is; None for the home that all servers of the user share.
    """
    whose = (user,) if server_name is None else (user, server_name)
    return unique_name("home", hub, *whose, readable="-".join(whose))


def storage(hub: str, team: str, readable: str = "") -> str:
    """Return the name of the claim that holds a team's ``/storage``.

    Parameters
    ----------
    team : str
        The team's id.
    readable : str
        Its name; two calls for one claim must agree on it.
    """
    return unique_name("storage", hub, team, readable=readable)


def volume(hub: str, name: str) -> str:
    """Return the name of the claim that holds a volume which the steps of a run hand on."""
    return unique_name("volume", hub, name, readable="")


def task(hub: str, name: str) -> str:
    """Return the name of all objects of one task of the runner."""
    return unique_name("task", hub, name, readable=name, longest=LONGEST_JOB)


def folder(text: str) -> str:
    """Return a folder's name for a name that people gave: itself where that is a DNS label.

    Others end in a hash behind two hyphens, which no label that is kept may contain, so two names
    never share a folder.
    """
    if 0 < len(text) <= LONGEST and text == slug(text) and "--" not in text:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{slug(text)[: LONGEST - _DIGITS - 2].rstrip('-')}--{digest}"
