"""What a public dataset shows of its packs to others than its team: what a version refers to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest

from nablahub.core.errors import NotFound
from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.packs import HEAD, build_head, pack_name
from nablahub.datasets.planning import read_tables
from tests.support.service import RunningService
from tests.unit.datasets.builders import read, write
from tests.unit.datasets.hub import api_of, fresh

SECRET = b"the bytes of a version that was deleted"
HIDDEN = b"the bytes of an upload that goes on"
LARGE = bytes(range(256)) * 8192


@pytest.fixture
def version(service: RunningService, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A public version whose pack held more: a file of a deleted version lies in it, too."""
    api, name = api_of(service), fresh(service, request)
    files = {"a": b"aa", "secret": SECRET, "z": b"zz", "large": LARGE, "big secret": LARGE[::-1]}
    before = api.upload(name, write(tmp_path / "tree", files))
    for path in ("secret", "big secret"):
        (tmp_path / "tree" / path).unlink()
    kept = api.upload(name, tmp_path / "tree")
    api.delete_version(before.id)
    _begin_another(service.transport(), name)
    api.change(api.get(name), public=True)
    return kept.id


def _begin_another(hub: Transport, name: str) -> None:
    upload = hub.post(f"/datasets/{name}/uploads", {})
    if upload["direct"]:
        return
    head = build_head([(*_digests(HIDDEN), len(HIDDEN))])
    path = f"/datasets/{name}/uploads/{upload['version']}/packs/{pack_name(head)}"
    headers = {"Content-Type": "application/octet-stream"}
    hub.request("PUT", path, content=head + HIDDEN, headers=headers)


def _digests(data: bytes) -> tuple[bytes, bytes]:
    return hashlib.md5(data, usedforsecurity=False).digest(), hashlib.sha256(data).digest()


def _path(version: str) -> str:
    return f"/datasets/{version.replace(':', '/versions/')}"


def _packs(hub: Transport, version: str) -> dict[str, bytes]:
    """Return all packs that are shown of a version, each whole and in pieces."""
    found: dict[str, bytes] = {}
    with hub.stream("GET", f"{_path(version)}/tables") as answer:
        tables = list(read_tables(answer.iter_bytes()))
    for name, index in tables:
        path = f"{_path(version)}/packs/{name}"
        whole = hub.request("GET", path)
        parts = [
            hub.request("GET", path, headers={"Range": f"bytes={start}-{start + 6}"})
            for start in range(0, len(whole), 7)
        ]
        assert b"".join(parts) == whole
        assert whole[HEAD : index.head] == index.table
        found[name] = whole
    return found


def test_all_of_a_public_version_is_got_by_others(
    service: RunningService, version: str, tmp_path: Path
) -> None:
    bob = api_of(service, "bob")
    bob.download(version, tmp_path / "back")
    assert read(tmp_path / "back") == {"a": b"aa", "z": b"zz", "large": LARGE}
    assert bob.read(version, "z") == b"zz"


def test_others_see_nothing_else_in_its_packs(service: RunningService, version: str) -> None:
    shown = b"".join(_packs(service.transport("bob"), version).values())
    own = b"".join(_packs(service.transport(), version).values())
    assert SECRET in own
    for data in (SECRET, HIDDEN):
        assert data not in shown
        assert not any(digest in shown for digest in _digests(data))
    assert b"aa" in shown
    assert all(digest in shown for digest in _digests(b"zz"))


@pytest.mark.parametrize(
    "data", [SECRET, HIDDEN, LARGE[::-1]], ids=["deleted", "not committed", "deleted large"]
)
def test_others_get_no_object_by_its_hash(
    service: RunningService, version: str, data: bytes
) -> None:
    bob, md5 = service.transport("bob"), _digests(data)[0].hex()
    with pytest.raises(NotFound):
        bob.request("POST", f"{_path(version)}/objects", body={"md5": [md5]})
    found = bob.request("POST", f"{_path(version)}/locations", body={"md5": [md5]})
    assert found == {"direct": False, "sources": [], "objects": []}


def test_its_team_gets_them_straight_from_the_store(service: RunningService, version: str) -> None:
    api, md5 = DatasetsAPI(service.transport()), _digests(LARGE)[0].hex()
    found = service.transport().request("POST", f"{_path(version)}/locations", body={"md5": [md5]})
    if found["direct"]:
        assert httpx.get(found["sources"][0]["url"], trust_env=False).content == LARGE
    assert api.read(version, "large") == LARGE
