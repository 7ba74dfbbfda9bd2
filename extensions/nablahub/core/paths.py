"""What a relative path may be that comes from somebody else: a dataset's, an archive's member.

What passes here means the same file on every system and after every decoding.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

NAME_BYTES: Final = 255
PATH_BYTES: Final = 2048

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:(?:/|$)")


def show(path: str) -> str:
    """Return a path so that it can stand in a message: one line, nothing invisible."""
    text = path.encode("unicode_escape", "surrogatepass").decode("ascii")
    return text if len(text) <= 300 else text[:300] + "…"


def problem(path: str) -> str | None:
    """Return what is wrong with a path, such as ``"it is empty"``; None when nothing is."""
    if found := _as_it_stands(path):
        return found
    decoded = path
    for _ in range(3):  # Once by a server, once more by a proxy or a browser.
        once = unquote(decoded, errors="replace")
        if once == decoded:
            break
        decoded = once
        if decoded.count("/") != path.count("/") or _as_it_stands(decoded):
            return "it turns into another path when it is percent-decoded"
    return None


def _as_it_stands(path: str) -> str | None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "its name is not valid UTF-8"
    if not path:
        return "it is empty"
    if found := _CONTROL.search(path):
        what = {"\0": "a NUL", "\n": "a newline", "\r": "a carriage return"}
        return f"it contains {what.get(found[0], 'a control character')}"
    if "\\" in path:
        return "it contains a backslash, which some systems take for a folder separator"
    if path.startswith("/") or _DRIVE.match(path):
        return "it is absolute; only relative paths stay within their folder"
    if size > PATH_BYTES:
        return f"it has {size} bytes; {PATH_BYTES} is the limit"
    for name in path.split("/"):
        if name == "..":
            return "it contains '..', which leads out of its folder"
        if name in ("", "."):
            return "it contains an empty name or '.'"
        if len(name) > NAME_BYTES // 4 and len(name.encode()) > NAME_BYTES:
            return f"a name in it has more than {NAME_BYTES} bytes, which no file system can store"
    return None
