"""How workflows join the platform."""

from nablahub.core.extension import Extension

extension = Extension(
    name="workflows",
    requires=("projects", "jobs", "models"),
    service="nablahub.workflows.service:WorkflowService",
    operations="nablahub.workflows.handlers",
    migrations="nablahub.workflows.migrations",
    tables="nablahub.workflows.store",
    api={"workflows": "nablahub.workflows.api:WorkflowsAPI"},
    commands={"workflows": "nablahub.workflows.cli:workflows"},
    help={"workflows": "Run graphs of jobs and see what became of them"},
)
