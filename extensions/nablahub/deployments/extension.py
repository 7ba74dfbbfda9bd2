"""How deployments join the platform."""

from nablahub.core.extension import Extension

extension = Extension(name="deployments", requires=("jobs", "models"))
