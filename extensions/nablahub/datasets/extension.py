"""How datasets join the platform."""

from nablahub.core.extension import Extension

extension = Extension(
    name="datasets",
    requires=("teams", "projects", "storage"),
    service="nablahub.datasets.service:DatasetService",
    operations=(
        "nablahub.datasets.handlers",
        "nablahub.datasets.upload_handlers",
        "nablahub.datasets.transfer_handlers",
        "nablahub.datasets.draft_handlers",
        "nablahub.datasets.trash_handlers",
        "nablahub.datasets.remote_handlers",
        "nablahub.datasets.catalog.handlers",
    ),
    migrations="nablahub.datasets.migrations",
    tables="nablahub.datasets.store",
    api={
        "datasets": "nablahub.datasets.api:DatasetsAPI",
        "catalog": "nablahub.datasets.catalog.api:CatalogAPI",
    },
    commands={"datasets": "nablahub.datasets.cli:datasets"},
    help={"datasets": "Versioned data: put, get, list, share with DVC"},
)
