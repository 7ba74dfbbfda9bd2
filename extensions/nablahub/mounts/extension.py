"""How mounts join the platform."""

from nablahub.core.extension import Extension

extension = Extension(
    name="mounts",
    requires=("projects", "storage", "datasets", "jobs"),
    service="nablahub.mounts.service:MountService",
    operations=("nablahub.mounts.handlers", "nablahub.mounts.cache_handlers"),
    migrations="nablahub.mounts.migrations",
    tables="nablahub.mounts.store",
    api={"mounts": "nablahub.mounts.api:MountsAPI", "cache": "nablahub.mounts.api:CacheAPI"},
    commands={
        "cache": "nablahub.mounts.cache_cli:cache",
        "datasets mount": "nablahub.mounts.cli:mount",
        "datasets mounts": "nablahub.mounts.cli:mounts",
        "datasets sync": "nablahub.mounts.cli:sync",
        "datasets unmount": "nablahub.mounts.cli:unmount",
    },
    help={"cache": "Versions that lie ready to be read: list, prune, verify"},
)
