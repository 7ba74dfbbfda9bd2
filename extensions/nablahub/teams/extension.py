"""How teams join the platform."""

from nablahub.core.extension import Extension

extension = Extension(
    name="teams",
    service="nablahub.teams.service:TeamService",
    operations="nablahub.teams.handlers",
    migrations="nablahub.teams.migrations",
    tables="nablahub.teams.store",
    api={"teams": "nablahub.teams.api:TeamsAPI"},
    commands={"teams": "nablahub.teams.cli:teams"},
    help={"teams": "Teams you belong to"},
)
