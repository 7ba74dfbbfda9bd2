"""How storage providers join the platform."""

from nablahub.core.extension import Extension

extension = Extension(
    name="storage",
    requires=("teams",),
    service="nablahub.storage.service:StorageService",
    operations="nablahub.storage.handlers",
    migrations="nablahub.storage.migrations",
    tables="nablahub.storage.store",
    api={"storage": "nablahub.storage.api:StorageAPI"},
    commands={"storage": "nablahub.storage.cli:storage"},
    help={"storage": "Keep datasets in buckets of your own"},
)
