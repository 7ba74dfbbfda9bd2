"""How jobs join the platform."""

from nablahub.core.extension import Extension

extension = Extension(name="jobs", requires=("datasets", "models"))
