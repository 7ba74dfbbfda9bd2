"""How models join the platform."""

from nablahub.core.extension import Extension

extension = Extension(
    name="models",
    requires=("projects", "datasets"),
    service="nablahub.models.service:ModelService",
    operations="nablahub.models.handlers",
    migrations="nablahub.models.migrations",
    tables="nablahub.models.store",
    api={"models": "nablahub.models.api:ModelsAPI"},
    commands={"models": "nablahub.models.cli:models"},
    help={"models": "Models and their versions"},
)
