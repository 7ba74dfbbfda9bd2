"""How projects join the platform."""

from nablahub.core.extension import Extension

extension = Extension(
    name="projects",
    requires=("teams",),
    service="nablahub.projects.service:ProjectService",
    operations="nablahub.projects.handlers",
    migrations="nablahub.projects.migrations",
    tables="nablahub.projects.store",
    api={"projects": "nablahub.projects.api:ProjectsAPI"},
    commands={"projects": "nablahub.projects.cli:projects"},
    help={"projects": "Create and list projects"},
)
