"""What is in a folder of a bucket, and which of it can be files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from nablahub.storage.mounting.remote import Remote, RemoteFolder

_LONGEST_NAME: Final = 255  # Bytes, NAME_MAX of Linux's file systems.


@dataclass
class Listing:
    """The objects that can be files, the folders, and how many others there are."""

    files: dict[str, Remote] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def list_folder(folder: RemoteFolder) -> Listing:
    """Return what is in a folder.

    Raises
    ------
    StoreAway, StoreRefused
    """
    found = Listing()
    for each in folder.objects():
        path = each.path
        if path.endswith("/") and is_file_name(path.rstrip("/")):
            found.folders.add(path.rstrip("/"))  # As consoles make "folders".
        elif is_file_name(path):
            found.files[path] = each
        elif path:
            found.odd.append(path)
    for path in list(found.files):
        while path := path.rpartition("/")[0]:
            if path in found.folders:
                break
            found.folders.add(path)
    for path in found.folders & set(found.files):  # An object that has others below it.
        found.odd.append(found.files.pop(path).path)
    return found


def is_file_name(path: str) -> bool:
    """Whether a file below a folder can be called so."""
    return bool(path) and all(
        part not in ("", ".", "..") and "\0" not in part and len(part.encode()) <= _LONGEST_NAME
        for part in path.split("/")
    )
