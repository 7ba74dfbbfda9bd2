"""The environments that tests run jobs in: built once, shared by all of them."""

from __future__ import annotations

import os
from pathlib import Path

from nablahub.core.environments import Environment, Environments

FOLDER = Path(
    os.environ.get("NABLAHUB_ENVIRONMENTS_DIR")
    or Path(__file__).parents[2] / ".build" / "environments"
)


def environment(name: str) -> Environment:
    """Return an environment, built first when it is not there."""
    return Environments(FOLDER).ensure(name)
