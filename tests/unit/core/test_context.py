"""What every service is built from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nablahub.core.context import Context
from nablahub.core.database import Database
from nablahub.core.instances import Machine
from nablahub.core.settings import Settings


def context(root: Path, **settings: Any) -> Context:
    found = Settings(state_dir=root, public_url="http://h", hub_api_url="http://h", **settings)
    return Context(found, Database(root / "n.sqlite"))


def test_what_fits_is_the_clusters_to_say_where_jobs_are_pods(tmp_path: Path) -> None:
    assert context(tmp_path).machine == Machine.detect()
    assert context(tmp_path, runner="kubernetes").machine is None
