"""How jobs join the platform."""

from nablahub.core.extension import Extension

extension = Extension(
    name="jobs",
    requires=("storage", "datasets", "models"),
    service="nablahub.jobs.service:JobService",
    operations=(
        "nablahub.jobs.handlers",
        "nablahub.jobs.task_handlers",
        "nablahub.jobs.bucket_handlers",
        "nablahub.jobs.workspaces.handlers",
    ),
    migrations="nablahub.jobs.migrations",
    tables="nablahub.jobs.store",
    api={"jobs": "nablahub.jobs.api:JobsAPI"},
    commands={
        "jobs": "nablahub.jobs.cli:jobs",
        "instances": "nablahub.jobs.cli_instances:instances",
    },
    help={
        "jobs": "Run commands and look at them",
        "instances": "Look at instance types, and check a file of them",
    },
)
