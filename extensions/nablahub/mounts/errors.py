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
