"""How workflows join the platform."""

from nablahub.core.extension import Extension

extension = Extension(name="workflows", requires=("jobs", "models"))
