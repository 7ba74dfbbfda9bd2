"""Settings of the Kubernetes spawner."""

from __future__ import annotations

from kubespawner import KubeSpawner
from traitlets.config import Config

from nablahub_spawner.kubernetes.settings import NOT_READ, PodSettings
from nablahub_spawner.kubernetes.spawner import NablaKubeSpawner


def test_what_is_not_read_exists_and_is_told() -> None:
    assert set(KubeSpawner.class_traits(config=True)) >= NOT_READ
    config = Config({"KubeSpawner": {"profile_list": [], "privileged": True, "image": "x"}})
    assert PodSettings(config=config).unread() == ["privileged", "profile_list"]


def test_data_outlives_servers_and_waiting_has_time_unless_somebody_says_otherwise() -> None:
    blank = NablaKubeSpawner.__new__(NablaKubeSpawner)  # made whole, it looks for a cluster
    assert blank.delete_pvc is False
    assert blank.storage_capacity == "10Gi"
    assert blank.start_timeout == 1800
    assert blank.http_timeout == 60
