"""What can go wrong with datasets, each with its sentence."""

from __future__ import annotations

from collections.abc import Sequence

from nablahub.core.errors import Conflict, Fault, Invalid, NotFound, QuotaExceeded
from nablahub.core.quantities import human

MIB = 1024 * 1024


def _plain(path: str) -> str:
    return path.encode("unicode_escape", "surrogatepass").decode("ascii")[:300]


class BadPath(Invalid):
    """A path that can't be in a dataset."""

    code = "bad_path"
    path = ""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        shown = _plain(path)
        detail = f"The path '{shown}' can't be in a dataset: {problem}."
        hint = "Rename or leave out that file, then try again."
        super().__init__(detail, hint=hint, errors=[Fault(f"{shown}: {problem}")])


class BadManifest(Invalid):
    """A manifest that can't become a version."""

    code = "bad_manifest"


class MissingObjects(Invalid):
    """A version may only name what has arrived."""

    code = "missing_objects"

    def __init__(self, faults: Sequence[Fault], count: int) -> None:
        super().__init__(
            f"{count} of the files in the manifest were never uploaded or differ from what was.",
            hint="Upload them (the same command again sends only what is missing), then commit.",
            errors=faults,
        )


class BadObject(Invalid):
    """Bytes that are not what their sender said."""

    code = "bad_object"


class DamagedManifest(BadObject):
    """The list of a version's files is not the one that was stored."""

    code = "damaged_manifest"
    title = "The list of files is damaged"

    def __init__(self, version: str, path: str = "") -> None:
        where = f" from '{_plain(path)}' on" if path else ""
        super().__init__(
            f"The stored list of the files of {version}{where} is damaged or gone.",
            hint=f"`nablahub datasets verify {version}` restores it if there is a copy; else put "
            "the files again from where they came from.",
        )


class WouldOverwrite(Conflict):
    """Files that a download would replace have other bytes."""

    code = "would_overwrite"
    _MOST = 20

    def __init__(self, files: Sequence[str]) -> None:
        more = len(files) - self._MOST
        shown = [Fault(file) for file in files[: self._MOST]]
        super().__init__(
            f"{len(files)} {'file differs' if len(files) == 1 else 'files differ'} from what would "
            "be downloaded over it, so nothing was downloaded.",
            hint="Choose another target, or overwrite with --force (overwrite=True in Python).",
            errors=[*shown, Fault(f"… and {more} more")] if more > 0 else shown,
        )


class ChangedWhileRead(Conflict):
    """A file grew or changed under the hands of whoever hashed it."""

    code = "changed_while_read"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"'{path}' changed while it was being read.",
            hint="Wait until whatever writes it has finished, then try again.",
        )


class OtherBytes(Conflict):
    """Other bytes than those that are stored under an md5."""

    code = "other_bytes"

    def __init__(self, md5: str) -> None:
        super().__init__(
            f"Other bytes with the md5 {md5} are stored already, and data is addressed by its md5.",
            hint="Either the size or sha256 that was said is wrong, or one of the two files was "
            "made to have the other's md5: change a byte of it, or pack it into an archive.",
        )


class UploadOffset(Conflict):
    """A piece of an object that does not fit what arrived before it."""

    code = "upload_offset"

    def __init__(self, offset: int, arrived: int) -> None:
        super().__init__(
            f"The piece starts at byte {offset}, but {arrived} bytes have arrived.",
            hint="Ask where to go on (HEAD), and continue from there.",
        )


class ObjectBusy(Conflict):
    """The same object is just coming from somebody else."""

    code = "object_busy"

    def __init__(self) -> None:
        super().__init__(
            "Another request is sending this object just now.",
            hint="Wait for it to end, then ask what is missing.",
        )


class PartsMissing(Conflict):
    """An object is to be completed, and some of its parts have not arrived."""

    code = "parts_missing"

    def __init__(self) -> None:
        super().__init__(
            "Some parts of the object have not arrived.",
            hint="Ask which (`transfers`), send them, and finish then.",
        )


class NoSuchDataset(NotFound):
    """No such dataset, or not for you."""

    code = "no_such_dataset"

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"There is no dataset '{ref}'.", hint="`nablahub datasets list` shows those there are."
        )


class NoSuchVersion(NotFound):
    """No such version of a dataset."""

    code = "no_such_version"

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"There is no dataset version '{ref}'.",
            hint="`nablahub datasets versions DATASET` shows those there are.",
        )


class NoSuchFile(NotFound):
    """No such file in a version."""

    code = "no_such_file"

    def __init__(self, path: str, ref: str) -> None:
        super().__init__(
            f"There is no file '{path}' in {ref}.",
            hint=f"`nablahub datasets ls {ref}` shows those there are.",
        )


class NoSuchUpload(NotFound):
    """No such upload, or it has been committed."""

    code = "no_such_upload"

    def __init__(self, upload: str) -> None:
        super().__init__(
            f"There is no open upload '{upload}'.",
            hint="It was committed, cancelled or has expired; start a new one: what arrived "
            "is not sent again.",
        )


class UploadLost(Conflict):
    """Bytes went with another upload that had them too."""

    code = "upload_lost"

    def __init__(self) -> None:
        super().__init__(
            "Some of the bytes were deleted by somebody else while they were being committed.",
            hint="Run the same command again: it sends only what is missing.",
        )


class NameTaken(Conflict):
    """Names are unique in their team."""

    code = "dataset_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The team has a dataset called '{name}' already.",
            errors=[Fault("The name is taken.", "/name", hint="Choose another, or use that one.")],
        )


class OtherProject(Conflict):
    """A dataset of the name is there, but belongs to another project, or to none."""

    code = "dataset_of_other_project"

    def __init__(self, name: str, theirs: str | None, wanted: str) -> None:
        where = "no project" if theirs is None else f"the project '{theirs}'"
        super().__init__(
            f"Names of datasets are unique in their team, and '{name}' belongs to {where}, "
            f"not to '{wanted}'.",
            hint="Choose another name, or leave the project out to use that dataset.",
            errors=[Fault("The name is taken by another project's dataset.", "/name")],
        )


class TagMoved(Conflict):
    """A tag does not stand where the caller thought."""

    code = "tag_moved"


class NoSuchTag(NotFound):
    """No such tag."""

    code = "no_such_tag"


class DraftClash(Conflict):
    """Somebody else changed the same files since the draft began."""

    code = "draft_clash"
    _MOST = 50

    def __init__(self, latest: str, paths: list[str]) -> None:
        more = len(paths) - self._MOST
        faults = [Fault(_plain(path), pointer=f"/{_plain(path)}") for path in paths[: self._MOST]]
        super().__init__(
            f"{len(paths)} {'file' if len(paths) == 1 else 'files'} of this draft changed in "
            f"{latest} as well, so nothing was committed: {', '.join(map(_plain, paths[:5]))}"
            + (" …" if len(paths) > 5 else "") + ".",
            hint="Get the latest version, decide what is right for these files, and commit them "
            "to a new draft.",
            errors=[*faults, Fault(f"… and {more} more")] if more > 0 else faults,
        )  # fmt: skip


class MovedOn(Conflict):
    """There is a later version than the one that a draft began with."""

    code = "moved_on"

    def __init__(self, base: str | None, latest: str | None) -> None:
        super().__init__(
            f"The draft began with {base or 'no version'}, and the latest is {latest or 'none'} "
            "now; it was not to be put upon another.",
            hint="Commit with rebase, or begin a new draft.",
        )


class InUse(Conflict):
    """Something depends on it."""

    code = "in_use"


class DatasetQuota(QuotaExceeded):
    """The team's share of the data store is used up."""

    def __init__(self, used: int, wanted: int, limit: int, waiting: int = 0) -> None:
        held = f"The team's datasets and workspaces hold {human(used)}"
        ways = ["Delete datasets that are no longer needed (`nablahub datasets delete`)"]
        if waiting:
            held += f", and {human(waiting)} came with drafts and pushes that are not committed"
            ways.append("commit or cancel those drafts")
        super().__init__(
            f"{held}; {human(wanted)} more would exceed the quota of {human(limit)}. Nothing of it "
            "was stored.",
            hint=f"{', '.join(ways)} or ask an administrator for a larger quota.",
        )
