"""What can be wrong with workspaces."""

from __future__ import annotations

from collections.abc import Sequence

from nablahub.core.errors import Fault, Invalid, NotFound, StorageFull, TooLarge
from nablahub.core.paths import show
from nablahub.core.quantities import human
from nablahub.jobs.workspaces.types import LARGEST, MOST

_OUT = "Leave it out by a line in .nablahubignore, or take it away."


class BadWorkspace(Invalid):
    """A folder that can't go with a job, or an archive that is not what it should be."""

    code = "bad_workspace"

    @classmethod
    def of(cls, path: str, wrong: str) -> BadWorkspace:
        """Return the error of one file."""
        return cls(f"'{show(path)}' can't be in a workspace: {wrong}.", hint=_OUT)


class WorkspaceTooLarge(TooLarge):
    """A folder with more than a workspace may have."""

    code = "workspace_too_large"

    @classmethod
    def of(cls, size: int, largest: Sequence[tuple[str, int]]) -> WorkspaceTooLarge:
        """Return the error that names the largest files."""
        return cls(
            f"The folder has {human(size)}, and a workspace at most {human(LARGEST)}.",
            hint="Leave files out by .nablahubignore, or put data into a dataset "
            "(`nablahub datasets put`) that the job reads by --input.",
            errors=[Fault(f"{show(path)}: {human(size)}") for path, size in largest],
        )

    @classmethod
    def of_many(cls) -> WorkspaceTooLarge:
        """Return the error of too many files."""
        return cls(
            f"The folder has more than {MOST} files, which is the most for a workspace.",
            hint="Leave folders out by .nablahubignore, such as environments and data.",
        )


class WorkspaceQuota(StorageFull):
    """The team's share of the data store is used up."""

    code = "workspace_quota"

    def __init__(self, used: int, limit: int) -> None:
        super().__init__(
            f"The team's datasets and workspaces hold {human(used)} of the {human(limit)} that "
            "they may: there is no room for the workspace. Nothing of it was stored.",
            hint="Leave files out by .nablahubignore, delete datasets that are no longer needed "
            "(`nablahub datasets delete`, `nablahub datasets gc`), or ask an administrator for a "
            "larger quota. Workspaces that no job needs make room by themselves.",
        )


class NoSuchWorkspace(NotFound):
    """It was never uploaded by the team, or has been collected."""

    code = "no_such_workspace"

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"There is no workspace {digest}.",
            hint="`nablahub jobs run --workspace DIR` packs a folder and uploads it, and so does "
            "`nablahub workflows run`.",
        )
