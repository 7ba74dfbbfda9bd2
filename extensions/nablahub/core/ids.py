"""Identifiers in Gradient's style: a prefix and lower-case letters and digits."""

from __future__ import annotations

import secrets
import string
import uuid
from typing import Final

ALPHABET: Final = string.ascii_lowercase + string.digits
#: kind → (prefix, number of random characters after it)
SHAPES: Final[dict[str, tuple[str, int]]] = {
    "team": ("te", 7),
    "project": ("p", 10),
    "dataset": ("ds", 13),
    "model": ("mo", 13),
    "storage_provider": ("sp", 13),
    "version": ("", 7),
    "job": ("j", 13),
    "workspace": ("w", 13),
    "key": ("k", 11),
    "notebook": ("n", 10),
    "event": ("ev", 13),
    "mount": ("mt", 13),
}


def new_id(kind: str) -> str:
    """Make a new random id.

    Parameters
    ----------
    kind : str
        One of :data:`SHAPES`, such as ``"dataset"``.

    Returns
    -------
    str
        For example ``dsk3v9q0x1m2abc``; the first random character is a letter, so that no id
        reads as a number.
    """
    prefix, length = SHAPES[kind]
    first = secrets.choice(string.ascii_lowercase)
    return prefix + first + "".join(secrets.choice(ALPHABET) for _ in range(length - 1))


def new_uuid() -> str:
    """Make a random UUID in its dashed form, as workflows and deployments have it."""
    return str(uuid.uuid4())


def new_secret(prefix: str) -> str:
    """Make a secret of 256 bits with a prefix that tells what it opens, such as ``nhk_``."""
    return prefix + secrets.token_urlsafe(32)
