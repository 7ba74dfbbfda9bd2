"""The catalog of public datasets on PostgreSQL."""

from __future__ import annotations

from tests.unit.datasets.test_catalog import (  # noqa: F401
    catalog,
    service,
    source,
    test_an_administrators_entry_is_fetched_proved_and_unpacked_once,
    test_another_dataset_of_the_name_is_left_alone,
)
