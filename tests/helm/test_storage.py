"""Servers and jobs of the chart ask for the same storage of teams."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from traitlets.config import Config

from nablahub.core.settings import Settings
from nablahub_spawner.kubernetes.spawner import NablaKubeSpawner
from tests.helm.charts import CHART, load, one, template


def test_servers_ask_for_the_storage_that_jobs_ask_for(chart: Path) -> None:
    storage = "jobs.storage."
    options = [f"{storage}accessMode=ReadWriteMany", f"{storage}storageClassName=shared",
               f"{storage}teamSize=7Gi"]  # fmt: skip
    for given in ([], ["--set", ",".join(options)]):
        objects = template(chart, options=given)
        variable = load(CHART / "values.yaml")["jupyterhub"]["hub"]["extraEnv"]
        source = variable["NABLAHUB_TEAM_STORAGE"]["valueFrom"]["configMapKeyRef"]
        told = json.loads(one(objects, "ConfigMap", source["name"])["data"][source["key"]])
        text = one(objects, "ConfigMap", "nablahub-service")["data"]["settings.json"]
        jobs = Settings.model_validate_json(text).kubernetes
        spawner = NablaKubeSpawner.class_traits(config=True)
        assert set(told) <= set(spawner)
        assert told == {
            "team_storage_capacity": jobs.storage_size,
            "team_storage_class": jobs.storage_class,
            "team_storage_access_modes": [jobs.access_mode],
        }


def test_what_an_administrator_said_of_storage_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = load(CHART / "values.yaml")["jupyterhub"]["hub"]["extraConfig"]["50-nablahub"]
    for name in ("NABLAHUB_SERVICE_TOKEN", "NABLAHUB_HUB_NAME"):
        monkeypatch.setenv(name, "x" * 40)
    said = {"team_storage_capacity": "7Gi", "team_storage_access_modes": ["ReadWriteOnce"]}
    monkeypatch.setenv("NABLAHUB_TEAM_STORAGE", json.dumps(said))
    c = Config()
    c.NablaKubeSpawner.team_storage_capacity = "9Gi"
    exec(code.replace("/srv/jupyterhub", str(tmp_path)), {"c": c})
    assert c.NablaKubeSpawner.team_storage_capacity == "9Gi"
    assert c.NablaKubeSpawner.team_storage_access_modes == ["ReadWriteOnce"]
