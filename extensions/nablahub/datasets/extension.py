"""How datasets join the platform."""

from nablahub.core.extension import Extension

extension = Extension(name="datasets", requires=("teams", "projects"))
