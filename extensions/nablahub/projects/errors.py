"""What can be wrong with projects."""

from __future__ import annotations

from nablahub.core.errors import Conflict, Fault


class ProjectNameTaken(Conflict):
    """Names are unique in their team."""

    code = "project_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Your team has a project called {name!r} already.",
            errors=[Fault("The name is taken.", "/name", hint="Choose another, or use that one.")],
        )


class ProjectNotEmpty(Conflict):
    """Something would be lost with the project."""

    code = "project_not_empty"

    def __init__(self, name: str, holds: list[str]) -> None:
        super().__init__(
            f"The project {name!r} still holds {', '.join(holds)}.",
            hint="Delete those first; nothing is deleted by accident.",
        )
