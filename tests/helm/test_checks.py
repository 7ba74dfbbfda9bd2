"""What the chart refuses, in sentences that name the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helm.charts import HelmFailed, template


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("service.replicas=2", "SQLite has one writer"),
        (
            "service.replicas=2,service.database.url=postgresql://n@db/n",
            "put ReadWriteMany into service.storage.accessModes",
        ),
        ("service.database.existingSecret=x", "service.database.url no database"),
        ("service.objectStore.url=s3://nablahub", "nothing has the keys to it"),
        ("service.objectStore.existingSecret=x", "service.objectStore.url names no bucket"),
        ("jupyterhub.hub.baseUrl=/jupyter", "give it a host name of its own"),
        ("publicUrl=https://hub.example.org/", "leave out the slash"),
        ("publicUrl=hub.example.org", "begin it with https:// or http://"),
        ("publicUrl=https://", "begin it with https:// or http://"),
        ("publicUrl=http://hub.example.org/ml", "leave out the path"),
        ("service.database.url=postgresql://n:secret@db/n", "database.url holds a password"),
        ("service.database.url=postgresql://n:se/cr@et@db/n", "database.url holds a password"),
        ("service.database.url=mysql://n@db/n", "service.database.url is no address of a Postgre"),
        ("service.database.url=postgresql://db:5432/n", "lacks its user, host or database"),
        ("service.objectStore.url=https://s3.example.org/b", "it is written s3://bucket"),
        ("service.objectStore.endpoint=http://key:word@s3", "objectStore.endpoint holds keys"),
        ("service.objectStore.endpoint=s3.example.org", "written https://HOST or http://HOST:PORT"),
        ("service.objectStore.publicEndpoint=http://s3/b", "without a path"),
    ],
)
def test_what_cannot_work_is_refused(chart: Path, option: str, said: str) -> None:
    with pytest.raises(HelmFailed, match=said):
        template(chart, options=["--set", option])


def test_a_refusal_names_the_file_that_refuses(chart: Path) -> None:
    for option in ("service.replicas=2", "publicUrl=x", "service.objectStore.url=s3://nablahub"):
        with pytest.raises(HelmFailed) as caught:
            template(chart, options=["--set", option])
        assert "error at (nablahub/templates/values/checks.yaml" in str(caught.value)


def test_no_secret_that_was_given_by_mistake_is_repeated(chart: Path) -> None:
    for option in (
        "service.database.url=postgresql://n:hunter2@db/n",
        "service.objectStore.endpoint=http://key:hunter2@s3",
    ):
        with pytest.raises(HelmFailed) as caught:
            template(chart, options=["--set", option])
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("size", ["lots", "", "20 Gi", "20gib", "-1Gi"])
@pytest.mark.parametrize(
    "name",
    [
        "service.storage.size", "jobs.storage.volumeSize", "jobs.storage.teamSize",
        "jobs.storage.cacheSize",
    ],
)  # fmt: skip
def test_what_is_no_size_is_refused(chart: Path, name: str, size: str) -> None:
    with pytest.raises(HelmFailed, match=f"{name} is .*such as 20Gi|at '/{name.replace('.', '/')}"):
        template(chart, options=["--set-string", f"{name}={size}"])


@pytest.mark.parametrize("size", ["20Gi", "1.5Ti", "500M", "1e12", "107374182400"])
def test_sizes_are_written_as_kubernetes_writes_them(chart: Path, size: str) -> None:
    assert template(chart, options=["--set-string", f"service.storage.size={size}"])


@pytest.mark.parametrize("quantity", ["lots", "2 Gi", "2gib", "-1", "500mi"])
@pytest.mark.parametrize(
    "name", ["service.resources.requests.memory", "traefik.resources.limits.cpu"]
)
def test_what_is_no_quantity_is_refused(chart: Path, name: str, quantity: str) -> None:
    with pytest.raises(HelmFailed, match=f"{name} is .*such as 500m or 2Gi"):
        template(chart, options=["--set", f"{name}={quantity}"])


@pytest.mark.parametrize("quantity", ["500m", "1.5", "2", "2Gi", "1e9", "3000000000"])
def test_quantities_are_written_as_kubernetes_writes_them(chart: Path, quantity: str) -> None:
    assert template(chart, options=["--set", f"service.resources.requests.memory={quantity}"])


def test_deployments_have_an_image(chart: Path) -> None:
    for given in ("null", ""):
        with pytest.raises(
            HelmFailed, match=r"jobs.images.serving names no image, and deployments"
        ):
            template(chart, options=["--set", f"jobs.images.serving={given}"])
