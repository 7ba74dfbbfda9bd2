"""How models join the platform."""

from nablahub.core.extension import Extension

extension = Extension(name="models", requires=("datasets",))
