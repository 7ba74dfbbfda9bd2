"""When a server is due to be stopped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nablahub.core.instances import InstanceType
from nablahub_hub.culler import is_due

HOUR = timedelta(hours=1)


def server(kind: InstanceType | None, age: timedelta) -> dict[str, Any]:
    """Return the hub's model of a server, as its API has it."""
    started = (datetime.now(UTC) - age).isoformat().replace("+00:00", "Z")
    return {"started": started, "state": {"instance": kind.save()} if kind else {}}


@pytest.mark.parametrize(
    ("limits", "inactive", "age", "due"),
    [
        ({}, 5 * HOUR, 9 * HOUR, False),
        ({}, 7 * HOUR, 9 * HOUR, True),  # the hub's own limit
        ({"idle_minutes": 60}, 2 * HOUR, 9 * HOUR, True),
        ({"idle_minutes": 600}, 7 * HOUR, 9 * HOUR, False),
        ({"max_hours": 8}, 0 * HOUR, 9 * HOUR, True),
        ({"max_hours": 10}, 0 * HOUR, 9 * HOUR, False),
        ({"max_hours": 8}, 7 * HOUR, 7 * HOUR, True),
    ],
)
def test_the_limits_of_the_type_it_was_started_with_count(
    limits: dict[str, float], inactive: timedelta, age: timedelta, due: bool
) -> None:
    kind = InstanceType("C4", 2, 4, **limits)  # type: ignore[arg-type]  # numbers by name
    assert is_due(inactive=inactive, inactive_limit=6 * 3600, server=server(kind, age)) is due


def test_a_server_of_another_spawner_has_the_hubs_limit_alone() -> None:
    for other in (server(None, 99 * HOUR), {"started": None, "state": None}, {"started": None}):
        assert not is_due(inactive=HOUR, inactive_limit=6 * 3600, server=other)
        assert is_due(inactive=7 * HOUR, inactive_limit=6 * 3600, server=other)
