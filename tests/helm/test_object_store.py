"""An S3 by reference: what the service is told of it, who sees its keys, and the way to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nablahub.core.settings import Settings
from nablahub.core.storesettings import ObjectStoreSettings
from tests.helm.charts import CHART, load, one, ours, pods, template, write

#: In the cluster, by an address that its pods and people outside it have in common.
HERE: dict[str, Any] = {
    "url": "s3://nablahub/data", "endpoint": "http://seaweedfs.storage:8333",
    "publicEndpoint": "https://s3.example.org:9443", "region": "eu-1", "pathStyle": False,
    "existingSecret": "s3", "accessKeyKey": "id", "secretKeyKey": "key",
}  # fmt: skip
PEERS = [{"podSelector": {"matchLabels": {"app": "seaweedfs"}}}]


def made(chart: Path, folder: Path, store: dict[str, Any], **values: Any) -> list[dict[str, Any]]:
    """Return the objects of a release with a store."""
    given = {"service": {"objectStore": store, "database": DATABASE}, **values}
    return template(chart, write(folder / "values.json", given))


DATABASE = {"url": "postgresql://n@db/n", "existingSecret": "database"}


def policies(objects: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the egress rules of our policies, that of jobs under a name without its hub."""
    found = {
        o["metadata"]["name"]: o["spec"].get("egress", [])
        for o in ours(objects) if o["kind"] == "NetworkPolicy"
    }  # fmt: skip
    return {"jobs" if "-jobs-" in name else name: rules for name, rules in found.items()}


def test_the_service_is_told_all_that_was_given(chart: Path, tmp_path: Path) -> None:
    objects = made(chart, tmp_path, HERE)
    text = one(objects, "ConfigMap", "nablahub-service")["data"]["settings.json"]
    settings = Settings.model_validate_json(text)
    assert settings.object_store == ObjectStoreSettings(
        url="s3://nablahub/data", endpoint="http://seaweedfs.storage:8333",
        public_endpoint="https://s3.example.org:9443", region="eu-1", path_style=False,
        access_key_file=Path("/etc/nablahub/object-store/access-key"),
        secret_key_file=Path("/etc/nablahub/object-store/secret-key"),
    )  # fmt: skip
    # The hook that migrates refuses settings that it does not know as well.
    hook = one(objects, "ConfigMap", "nablahub-migrations")["data"]["settings.json"]
    assert Settings.model_validate_json(hook) == settings


def test_without_one_data_lie_on_the_volume(chart: Path) -> None:
    objects = template(chart)
    text = one(objects, "ConfigMap", "nablahub-service")["data"]["settings.json"]
    assert Settings.model_validate_json(text).object_store == ObjectStoreSettings()
    assert "object_store" not in json.loads(text)


def test_values_and_settings_have_the_same_fields_and_defaults() -> None:
    given = load(CHART / "values.yaml")["service"]["objectStore"]
    fields = ObjectStoreSettings.model_fields
    names = {"publicEndpoint": "public_endpoint", "pathStyle": "path_style"}
    named = {names.get(name, name): value for name, value in given.items()}
    secret = {"existingSecret", "accessKeyKey", "secretKeyKey"}
    files = {"access_key_file", "secret_key_file"}
    assert set(named) - secret == set(fields) - files
    assert {name: fields[name].default for name in set(named) - secret} == {
        name: value for name, value in named.items() if name not in secret
    }


def test_the_keys_are_files_of_the_service_and_nobody_elses(chart: Path, tmp_path: Path) -> None:
    objects = made(chart, tmp_path, HERE)
    found = pods(objects)
    holders = {name for name, pod in found.items() if '"s3"' in json.dumps(pod)}
    assert holders == {"nablahub-service"}
    service = found["nablahub-service"]
    (container,) = service["containers"]
    assert "s3" not in json.dumps([container["env"], container.get("envFrom")])
    (mount,) = (m for m in container["volumeMounts"] if m["name"] == "settings")
    (volume,) = (v["projected"] for v in service["volumes"] if v["name"] == "settings")
    assert mount["readOnly"] is True
    (source,) = (s["secret"] for s in volume["sources"] if s.get("secret", {}).get("name") == "s3")
    files = {f"{mount['mountPath']}/{item['path']}": item["key"] for item in source["items"]}
    store = Settings.model_validate_json(
        one(objects, "ConfigMap", "nablahub-service")["data"]["settings.json"]
    ).object_store
    assert files == {str(store.access_key_file): "id", str(store.secret_key_file): "key"}


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("", 443),
        ("https://s3.example.org", 443),
        ("http://minio", 80),
        ("http://10.1.2.3:9000/", 9000),
        ("https://[2001:db8::1]:8333", 8333),
        ("https://[2001:db8::1]", 443),
    ],
)
def test_the_service_may_go_to_its_port(
    chart: Path, tmp_path: Path, endpoint: str, port: int
) -> None:
    store = {"url": "s3://bucket", "endpoint": endpoint, "existingSecret": "s3"}
    assert {"ports": [{"port": port}]} in policies(made(chart, tmp_path, store))["nablahub-service"]


def test_servers_and_jobs_go_to_one_in_the_cluster_only_where_you_say(
    chart: Path, tmp_path: Path
) -> None:
    without = policies(made(chart, tmp_path, HERE))
    assert "nablahub-servers" not in without
    network = {"networkPolicy": {"objectStoreTo": PEERS}}
    found = policies(made(chart, tmp_path, HERE, **network))
    assert {"ports": [{"port": 8333}], "to": PEERS} in found["nablahub-service"]
    # They use the address that the service signs for them.
    theirs = {"ports": [{"port": 9443}], "to": PEERS}
    assert found["nablahub-servers"] == [theirs]
    assert [rule for rule in found["jobs"] if rule not in without["jobs"]] == [theirs]
    # Nothing of it is open when all bytes pass through the service, or there is no store.
    for store in ({**HERE, "direct": False}, {}):
        closed = policies(made(chart, tmp_path, store, **network))
        assert "nablahub-servers" not in closed
        assert closed["jobs"] == without["jobs"]


def test_servers_that_no_policy_binds_are_not_bound_by_ours(chart: Path, tmp_path: Path) -> None:
    values = {
        "networkPolicy": {"objectStoreTo": PEERS},
        "jupyterhub": {"singleuser": {"networkPolicy": {"enabled": False}}},
    }
    assert "nablahub-servers" not in policies(made(chart, tmp_path, HERE, **values))


def test_keys_of_encryption_outlive_the_pod(chart: Path, tmp_path: Path) -> None:
    several = {"replicas": 2, "storage": {"existingClaim": "shared"}, "database": DATABASE}
    for values, claim in (({}, "nablahub-state"), ({"service": several}, "shared")):
        objects = template(chart, write(tmp_path / "values.json", values))
        text = one(objects, "ConfigMap", "nablahub-service")["data"]["settings.json"]
        pod = pods(objects)["nablahub-service"]
        keys = Settings.model_validate_json(text).state.encryption_keys
        (mount,) = (
            m for m in pod["containers"][0]["volumeMounts"] if keys.is_relative_to(m["mountPath"])
        )
        (volume,) = (v for v in pod["volumes"] if v["name"] == mount["name"])
        assert volume["persistentVolumeClaim"]["claimName"] == claim
