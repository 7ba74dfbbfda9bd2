"""The hub's own store: chosen once, and never another one by mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nablahub.storage.errors import OtherStore, StoreKeysMissing
from tests.support.s3 import SeaweedFS
from tests.support.service import running
from tests.support.stores import own_store
from tests.unit.datasets.builders import write
from tests.unit.datasets.hub import EXTENSIONS, api_of


def test_a_hub_does_not_start_with_another_store_than_its_data_lies_in(
    s3: SeaweedFS, tmp_path: Path
) -> None:
    root, first = tmp_path / "state", own_store(s3, tmp_path / "keys")
    with running(root, EXTENSIONS) as service:  # The state directory, empty as yet.
        api_of(service).create("data")
    with running(root, EXTENSIONS, object_store=first) as service:
        api_of(service).upload("data", write(tmp_path / "tree", {"a": b"1"}))
    others: list[dict[str, Any]] = [{}, {"object_store": own_store(s3, tmp_path / "others")}]
    for other in others:
        with (
            pytest.raises(OtherStore, match=f"Datasets of this hub lie in {first['url']}"),
            running(root, EXTENSIONS, **other),
        ):
            pass
    with running(root, EXTENSIONS, object_store=first) as service:
        assert api_of(service).read("data", "a") == b"1"


def test_missing_keys_are_said_at_the_start(
    s3: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NABLAHUB_S3_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    own = own_store(s3, tmp_path / "keys", access_key_file=None)
    with (
        pytest.raises(StoreKeysMissing, match="access key is missing"),
        running(tmp_path / "state", EXTENSIONS, object_store=own),
    ):
        pass
