"""The client's half of drafts: versions that are built file by file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from nablahub.core.transport import Transport
from nablahub.datasets.sending import BINARY

if TYPE_CHECKING:
    from nablahub.datasets.types import Change, DatasetVersion


class Draft:
    """A version that is being built on the latest one; nobody sees it before its commit.

    In a ``with`` block it is given up by an error.

    Parameters
    ----------
    hub : Transport
        How to reach the hub.
    path : str
        The draft's place in the API.
    made : dict
        The draft as the API showed it.
    """

    def __init__(self, hub: Transport, path: str, made: dict[str, Any]) -> None:
        self._hub, self._path = hub, f"{path}/uploads/{made['version']}"
        self.id: str = made["id"]
        self.base: str | None = made["base"]

    def put(self, path: str, data: bytes | Path, *, executable: bool = False) -> None:
        """Put a file into the draft, new or in place of the one there.

        Parameters
        ----------
        data : bytes or pathlib.Path
            The content, or the file that has it.
        """
        params = {"executable": "true"} if executable else {}
        where = f"{self._path}/files/{quote(path)}"
        if isinstance(data, bytes):
            self._hub.request("PUT", where, content=data, params=params, headers=BINARY)
            return
        headers = {**BINARY, "Content-Length": str(data.stat().st_size)}
        with (
            data.open("rb") as file,
            self._hub.stream("PUT", where, content=file, params=params, headers=headers) as answer,
        ):
            answer.read()

    def remove(self, path: str) -> None:
        """Take a file out; NoSuchFile when it is not in the draft."""
        self._hub.delete(f"{self._path}/files/{quote(path)}")

    def rename(self, old: str, new: str) -> None:
        """Give a file another path; its bytes stay where they are."""
        params = {"from": old, "to": new}
        self._hub.request("POST", f"{self._path}/rename", params=params)

    def changes(self) -> Iterator[Change]:
        """Yield what the draft puts and drops, by path."""
        from nablahub.datasets.types import Change

        return map(Change.model_validate, self._hub.pages(f"{self._path}/changes"))

    def commit(self, *, rebase: bool = True) -> DatasetVersion:
        """Make a version of the draft.

        Raises
        ------
        DraftClash
            When others changed the same paths since it began; it names them.
        MovedOn
            When there is a later version, and ``rebase`` is false.
        """
        from nablahub.datasets.types import DatasetVersion

        params = {"rebase": str(rebase).lower()}
        found = self._hub.request("POST", f"{self._path}/commit-changes", params=params)
        return DatasetVersion.model_validate(found)

    def cancel(self) -> None:
        """Give the draft up."""
        self._hub.delete(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.cancel()
