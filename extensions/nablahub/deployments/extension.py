"""How deployments join the platform."""

from nablahub.core.extension import Extension

extension = Extension(
    name="deployments",
    requires=("projects", "models", "jobs"),
    service="nablahub.deployments.service:DeploymentService",
    operations="nablahub.deployments.handlers",
    migrations="nablahub.deployments.migrations",
    tables="nablahub.deployments.store",
    api={"deployments": "nablahub.deployments.api:DeploymentsAPI"},
    commands={"deployments": "nablahub.deployments.cli:deployments"},
    help={"deployments": "Serve models and ask them"},
)
