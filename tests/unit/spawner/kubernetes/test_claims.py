"""Claims that got no volume follow the settings; all others are left as they are.

The cluster is a fake, and says so: it keeps claims as the API does, and lets them go as late.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from aiohttp import web

from nablahub_spawner.kubernetes import cluster as cluster_module
from nablahub_spawner.kubernetes import objects
from nablahub_spawner.kubernetes.cluster import Cluster
from tests.unit.spawner.kubernetes.served import serving

CLAIMS = "/api/v1/namespaces/space/persistentvolumeclaims"
#: Of all that the hub makes.
PLACE = objects.Place()
PENDING = {"phase": "Pending"}


def asked(**fields: Any) -> dict[str, Any]:
    """The claim that the settings ask for now."""
    wanted = objects.Claim(name="storage-a", path="/storage", size="1Gi", **fields)
    return dict(objects.claim(wanted, "hub", PLACE))


class Api:
    """Keeps claims by their names."""

    def __init__(self, there: dict[str, Any], *, delete: int = 200) -> None:
        meta = {**there["metadata"], "uid": "u", "resourceVersion": "7"}
        self.claims = {"storage-a": {**there, "metadata": meta}}
        self.delete_status = delete

    async def create(self, request: web.Request) -> web.Response:
        made = await request.json()
        name = made["metadata"]["name"]
        if name in self.claims:
            return web.json_response({"message": "is there"}, status=409)
        self.claims[name] = made
        return web.json_response(made, status=201)

    async def read(self, request: web.Request) -> web.Response:
        found = self.claims[request.match_info["name"]]
        if "deletionTimestamp" in found["metadata"]:
            del self.claims[request.match_info["name"]]
        return web.json_response(found)

    async def delete(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body["preconditions"] == {"uid": "u", "resourceVersion": "7"}
        if self.delete_status == 200:
            found = self.claims[request.match_info["name"]]
            found["metadata"]["deletionTimestamp"] = "2026-05-01T10:00:00Z"
        return web.json_response({"message": "no"}, status=self.delete_status)


def cluster_of(api: Api) -> AbstractAsyncContextManager[Cluster]:
    api_routes = [
        web.post(CLAIMS, api.create),
        web.get(CLAIMS + "/{name}", api.read),
        web.delete(CLAIMS + "/{name}", api.delete),
    ]
    return serving(api_routes)


def after_asking(api: Api, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the claim that is there once a server has asked for one."""

    async def ask() -> None:
        async with cluster_of(api) as cluster:
            await cluster.make_claim(wanted)

    asyncio.run(ask())
    found: dict[str, Any] = api.claims["storage-a"]
    return found


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "PAUSE", 0)


@pytest.mark.parametrize(
    "before",
    [
        asked(access_modes=("ReadWriteMany",)),
        asked(storage_class="slow"),
        {**asked(), "spec": {**asked()["spec"], "resources": {"requests": {"storage": "2Gi"}}}},
    ],
    ids=["access modes", "class", "size"],
)
def test_a_claim_without_a_volume_is_made_anew_as_the_settings_say(before: dict[str, Any]) -> None:
    wanted = asked(storage_class="fast")
    assert after_asking(Api({**before, "status": PENDING}), wanted) == wanted


MANY = asked(access_modes=("ReadWriteMany",))


@pytest.mark.parametrize(
    "before",
    [
        {**MANY, "status": {"phase": "Bound"}},
        {**MANY, "spec": {**MANY["spec"], "volumeName": "pv-1"}},
        {**MANY, "metadata": {"name": "storage-a", "labels": {}}},
        {**asked(), "spec": {**asked()["spec"], "storageClassName": "standard"}},
        {**asked(), "spec": {**asked()["spec"], "resources": {"requests": {"storage": "1024Mi"}}}},
    ],
    ids=["bound", "chosen", "an administrator's", "the cluster's class", "written otherwise"],
)
def test_every_other_claim_stays(before: dict[str, Any]) -> None:
    assert after_asking(Api({"status": PENDING, **before}), asked())["metadata"]["uid"] == "u"


def test_a_hub_that_may_not_delete_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    api = Api({**asked(access_modes=("ReadWriteMany",)), "status": PENDING}, delete=403)
    assert after_asking(api, asked())["metadata"]["uid"] == "u"
    assert "The claim storage-a was made by other settings and has no volume" in caplog.text
