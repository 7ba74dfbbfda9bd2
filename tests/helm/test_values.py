"""Values: each documented, each in the schema, and none that is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs._ext.chart import comments
from nablahub.core.settings import Settings
from tests.helm.charts import CHART, HelmFailed, load, template

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
#: Of other charts, whose own schemas close them.
OPEN = {"jupyterhub", "global"}


def keys(values: dict[str, Any], schema: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the paths of values that a schema closes."""
    for name, value in values.items():
        yield f"{above}{name}"
        below = schema.get("properties", {}).get(name, {})
        if isinstance(value, dict) and "properties" in below:
            yield from keys(value, below, f"{above}{name}.")


def declared(schema: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the paths that a schema names."""
    for name, below in schema["properties"].items():
        yield f"{above}{name}"
        if "properties" in below:
            yield from declared(below, f"{above}{name}.")


def objects_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema of an object in a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for below in schema.values():
            yield from objects_of(below)


def every(values: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the paths of all values, those of the dependency too."""
    for name, value in values.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from every(value, f"{above}{name}.")


def without_free(paths: set[str]) -> set[str]:
    """Leave out what is free below a closed key: resources have any name."""
    return {p for p in paths if ".requests." not in p and ".limits." not in p}


def test_values_and_schema_name_the_same_keys() -> None:
    values = load(CHART / "values.yaml")
    assert without_free(set(keys(values, SCHEMA))) == set(declared(SCHEMA)) - {"global"}


def test_the_schema_is_closed() -> None:
    named = [s for s in objects_of(SCHEMA) if "properties" in s]
    assert len(named) > 10
    assert not [s for s in named if s.get("additionalProperties") is not False]
    loose = [n for n, s in SCHEMA["properties"].items() if s == {"type": "object"}]
    assert set(loose) == OPEN


def test_every_value_is_documented() -> None:
    values = load(CHART / "values.yaml")
    words = comments((CHART / "values.yaml").read_text())
    assert set(every(values)) == set(words)
    assert not [path for path, said in words.items() if not said.endswith(".")]


def test_settings_of_the_service_are_its_own_with_their_defaults() -> None:
    given = load(CHART / "values.yaml")["service"]["settings"]
    assert {name: Settings.model_fields[name].default for name in given} == given


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("replicas=2", "replicas"),
        ("service.copies=2", "copies"),
        ("service.settings.unsandboxed=true", "unsandboxed"),
        ("service.objectStore.secretKey=x", "secretKey"),
        ("traefik.image.repository=x", "repository"),
        ("traefik.service.ports=1", "ports"),
        ("ingress.host=x", "host"),
        ("database.url=postgresql://x", "database"),
    ],
)
def test_an_unknown_key_is_refused_by_its_name(chart: Path, option: str, named: str) -> None:
    with pytest.raises(HelmFailed, match=f"additional properties '{named}' not allowed"):
        template(chart, options=["--set", option])


@pytest.mark.parametrize(
    ("option", "place"),
    [
        ("traefik.replicas=0", "/traefik/replicas"),
        ("traefik.trustedIPs={abc}", "/traefik/trustedIPs/0"),
        ("traefik.trustedIPs={10.0.0.0}", "/traefik/trustedIPs/0"),
        ("jobs.namespace=My_Jobs", "/jobs/namespace"),
        ("jobs.namespace=-jobs", "/jobs/namespace"),
        ("jobs.namespace=jobs.here", "/jobs/namespace"),
        (f"jobs.namespace={'j' * 64}", "/jobs/namespace"),
        ("traefik.service.type=Ingress", "/traefik/service/type"),
        ("publicUrl=null", ""),
        ("service.settings.introspection_seconds=60", "/service/settings/introspection_seconds"),
        ("service.storage.accessModes=null", "/service/storage"),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(chart: Path, option: str, place: str) -> None:
    with pytest.raises(HelmFailed, match=f"at '{place}"):
        template(chart, options=["--set", option])


@pytest.mark.parametrize(
    "option",
    [
        "traefik.trustedIPs={10.0.0.0/8,192.0.2.7/32}",
        "traefik.trustedIPs={2001:db8::/32,::ffff:10.0.0.0/104}",
        "jobs.namespace=jobs-2",
        f"jobs.namespace={'j' * 63}",
    ],
)
def test_addresses_and_namespaces_are_taken(chart: Path, option: str) -> None:
    assert template(chart, options=["--set", option])
