"""What can go wrong with mounts."""

from __future__ import annotations

from nablahub.core.errors import Conflict, Fault, Forbidden, NotFound, QuotaExceeded


class NoSuchMount(NotFound):
    """No such mount, or not yours."""

    code = "no_such_mount"

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"There is no mount '{ref}'.", hint="`nablahub datasets mounts` shows those there are."
        )


class MountTaken(Conflict):
    """The name shows a version of another dataset."""

    code = "mount_taken"

    def __init__(self, name: str, version: str) -> None:
        super().__init__(
            f"/datasets/{name} shows {version}, a version of another dataset.",
            hint="Give another name, or say that it is to be replaced.",
            errors=[Fault("The name is taken.", "/name")],
        )


class BucketTaken(Conflict):
    """The name shows a folder of a bucket, or shall show one in the place of something else."""

    code = "bucket_name_taken"

    def __init__(self, name: str, source: str) -> None:
        super().__init__(
            f"/datasets/{name} shows {source} already.",
            hint=f"Unmount it first (`%nabla unmount {name}`), or give another name.",
            errors=[Fault("The name is taken.", "/name")],
        )


class NotWritable(Conflict):
    """Nothing is ever written to what is mounted."""

    code = "not_writable"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"/datasets/{name} is read-only: there is nothing to be written back.",
            hint="Mount a bucket with --rw to write to it.",
        )


class NoBucketsOnCluster(Conflict):
    """Servers of a cluster mount no buckets."""

    code = "no_buckets_on_cluster"

    def __init__(self) -> None:
        super().__init__(
            "Notebook servers on a cluster cannot mount buckets.",
            hint="Put the files into a dataset (`nablahub datasets put --create NAME FOLDER`) and "
            "mount that, or read the bucket with keys of your own (s3fs).",
        )


class NoBucketsHere(Conflict):
    """The server cannot show buckets."""

    code = "no_buckets_here"

    def __init__(self) -> None:
        super().__init__(
            "This server cannot show buckets: it was started by an earlier release.",
            hint="Restart it: stop it on the hub's page and start it again.",
        )


class MountFailed(Conflict):
    """A version could not be brought to where servers read it."""

    code = "mount_failed"

    def __init__(self, version: str, why: str) -> None:
        super().__init__(
            f"{version} could not be mounted. {why}".rstrip(), hint="Mount it again to try again."
        )


class TooManyMounts(QuotaExceeded):
    """A server shows as many versions as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The server shows {most} versions already, which is the most there may be.",
            hint="Unmount some of them: `nablahub datasets unmount NAME`.",
        )


class NoCache(Conflict):
    """Servers have no cache to read from."""

    code = "no_cache"

    def __init__(self) -> None:
        super().__init__(
            "Servers of this hub run on a cluster and share no cache of versions.",
            hint="Ask an administrator to set `cache_claim`, or download the version with "
            "`nablahub datasets get`.",
        )


class NoProject(Conflict):
    """Work on a cluster belongs to a project, and there is none."""

    code = "no_project"

    def __init__(self) -> None:
        super().__init__(
            "The version is not in the cluster's cache, and the job that fetches it needs a "
            "project: your team has none.",
            hint="Make one: `nablahub projects create NAME`.",
        )


class NotAUser(Forbidden):
    """Only people have servers."""

    def __init__(self) -> None:
        super().__init__(
            "Only a user's own token mounts versions: a job is given what it reads as inputs.",
        )


class ClusterCache(Conflict):
    """The cache is a claim, which the service does not see."""

    code = "cluster_cache"

    def __init__(self) -> None:
        super().__init__(
            "Jobs of this hub read a claim of the cluster, which the service does not see: the "
            "pods that fill it keep it below its size.",
            hint="Its size is `cache_size` of `c.NablaHub.kubernetes`.",
        )
