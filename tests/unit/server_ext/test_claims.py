"""What claims of a cluster hold: measured by the servers that have them, shown by the service."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nablahub.core.errors import NotFound
from nablahub.core.extension import load
from nablahub.storage.api import StorageAPI
from nablahub_server.claims import Reporter, claims_of
from nablahub_server.upstream import Upstream
from nablahub_spawner.kubernetes.claims import claims_variable
from nablahub_spawner.kubernetes.objects import TEAM, Claim
from tests.support.service import running

EXTENSIONS = [load(f"nablahub.{name}.extension:extension") for name in ("teams", "storage")]
KIB = 1024


def test_servers_on_a_cluster_tell_what_their_claims_hold(tmp_path: Path) -> None:
    home, shared = tmp_path / "home", tmp_path / "shared"
    for path, kib in ((home / "data.bin", 96), (shared / "model.pt", 10)):
        path.parent.mkdir()
        path.write_bytes(b"x" * kib * KIB)
    with running(tmp_path / "state", EXTENSIONS, runner="kubernetes") as service:
        alice, log = service.transport("alice"), logging.getLogger("test")
        assert StorageAPI(alice).usage() == []
        team = alice.get("/whoami")["team_ids"][0]
        told = claims_variable([
            Claim("home", str(home), "100Ki"),
            Claim("shared", str(shared), "1Gi", annotations={TEAM: team}),
        ])  # fmt: skip
        claims = claims_of(told)
        Reporter(Upstream(service.url, "token-of-alice", "alice"), claims, log).tell()
        with pytest.raises(NotFound, match="Team"):
            Reporter(Upstream(service.url, "token-of-bob", "bob"), claims[1:], log).tell()
        found = {each.kind: each for each in StorageAPI(alice).usage()}
        assert (found["storage"].name, found["storage"].quota_bytes) == ("alice", 1 << 30)
        assert (found["storage"].files, found["storage"].level) == (1, "ok")
        assert (found["home"].bytes, found["home"].level) == (96 * KIB, "warning")
        assert [large.path for large in found["home"].largest] == ["data.bin"]
        assert StorageAPI(service.transport("bob")).usage() == []
        # More in it than its size, where the cluster does not keep that: shown, and no more.
        for folder in (home, shared):
            (folder / "more").write_bytes(b"x" * 52 * KIB)
        before = found["storage"]
        Reporter(Upstream(service.url, "token-of-alice", "alice"), claims, log).tell()
        found = {each.kind: each for each in StorageAPI(alice).usage()}
        assert (found["home"].bytes, found["home"].level) == (148 * KIB, "warning")
        assert found["storage"] == before  # Another server told of it a moment ago.


def test_a_server_that_is_no_pod_has_none() -> None:
    assert claims_of({}) == []
