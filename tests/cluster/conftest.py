"""Tests on a real Kubernetes: any that ``KUBECONFIG`` names. ``make test-cluster`` runs them.

Each run has a namespace of its own and removes it. The images must be where the cluster's pods find
them under their names: ``tools/build-images`` builds and loads them.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubernetes_asyncio import client

pytest.register_assert_rewrite("tests.contract.suite", "tests.contract.suite_leavings")
from tests.cluster import stores  # noqa: E402
from tests.cluster.places import KubernetesPlace  # noqa: E402
from tests.cluster.target import Cluster  # noqa: E402
from tests.contract.suite import marker  # noqa: E402
from tests.support.s3 import SeaweedFS  # noqa: E402

__all__ = ["marker"]  # a fixture

HERE = Path(__file__).parent
NO_CLUSTER = "no cluster: KUBECONFIG names none"
#: Files that take minutes come first, so that none of them is waited for alone at the end.
LONG = (
    "test_deployments", "test_up", "test_crashes", "test_outages", "test_postgresql",
    "test_spawner", "test_chart", "test_faults", "test_storage",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here, and begin with what takes long."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Where a cluster was promised, a skipped test is a failed one."""
    report = yield
    promised = os.environ.get("NABLAHUB_CLUSTER_REQUIRED") and HERE in item.path.parents
    if report.skipped and promised and item.get_closest_marker("z2jh") is None:
        report.outcome = "failed"
        report.longrepr = f"skipped, though a cluster was promised: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Yield the cluster with a fresh namespace, which is removed at the end."""
    given = os.environ.get("KUBECONFIG", "")
    if not given or not Path(given).exists():
        pytest.skip(NO_CLUSTER)
    with namespace(Path(given)) as found:
        yield found


@contextmanager
def namespace(kubeconfig: Path) -> Iterator[Cluster]:
    """While the block runs, the cluster has a fresh namespace."""
    found = Cluster(kubeconfig, f"nablahub-test-{secrets.token_hex(4)}")
    asyncio.run(_make(found))
    try:
        yield found
    finally:
        asyncio.run(_remove(found))


async def _make(cluster: Cluster) -> None:
    async with cluster.api() as api:
        meta = client.V1ObjectMeta(name=cluster.namespace, labels={"nablahub.org/test": "true"})
        await client.CoreV1Api(api).create_namespace(client.V1Namespace(metadata=meta))


async def _remove(cluster: Cluster) -> None:
    async with cluster.api() as api:
        await client.CoreV1Api(api).delete_namespace(cluster.namespace, grace_period_seconds=0)


@pytest.fixture
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The kinds of objects that the cluster knows, while no other test defines further ones."""
    with (tmp_path_factory.getbasetemp().parent / "kinds.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def s3(cluster: Cluster) -> Iterator[SeaweedFS]:
    """An S3 on this machine, where pods reach it."""
    with stores.reachable(cluster) as running:
        yield running


@pytest.fixture(scope="module")
def bucket(s3: SeaweedFS) -> str:
    """A bucket of it."""
    return s3.bucket()


@pytest.fixture
async def place(cluster: Cluster, tmp_path: Path) -> AsyncIterator[KubernetesPlace]:
    """The kubernetes runner over a place of its own."""
    made = KubernetesPlace(tmp_path, cluster)
    await made.open()
    yield made
    await made.close()
