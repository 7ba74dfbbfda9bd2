"""What can be wrong with mounts of buckets."""

from __future__ import annotations

from nablahub.core.errors import Conflict, NablaError, StorageFull


class MountFailed(NablaError):
    """The folder of a bucket cannot be shown."""

    code = "bucket_not_mounted"
    title = "The bucket cannot be mounted"


class MountTooBig(StorageFull):
    """A copy of it does not fit onto this machine."""

    code = "bucket_too_big"


class MountStopped(NablaError):
    """Nobody wants it any more."""

    code = "bucket_mount_stopped"


class NotWrittenBack(Conflict):
    """Not all that was written is in the bucket now; what is not has been kept."""

    code = "not_written_back"
    title = "Not everything was written back"


class HoldsDatasets(Conflict):
    """Datasets lie in the folder, which only the hub may change."""

    code = "bucket_holds_datasets"


class ChangedMeanwhile(Conflict):
    """Somebody else changed an object since it was copied; it stays as they made it."""

    code = "bucket_changed_meanwhile"
