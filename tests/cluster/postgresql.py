"""A PostgreSQL in a pod, for a release of the chart."""

from __future__ import annotations

import json
import secrets
from typing import Any

from tests.cluster.releases import Release

NAME = "postgres"
URL = f"postgresql://nablahub@{NAME}:5432/postgres"
CLAIM = "state"


def objects(image: str) -> list[dict[str, Any]]:
    """Return a server with a password, and the claim that the pods of the service share.

    On a cluster of several nodes both pods of the service run on the node that has the claim.
    """
    labels = {"app": NAME}
    probe = {"exec": {"command": ["pg_isready", "-h", "127.0.0.1", "-U", "nablahub"]}}
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsUser": 1000, "runAsNonRoot": True, "fsGroup": 1000},
        "containers": [
            {
                "name": NAME, "image": image, "imagePullPolicy": "IfNotPresent",
                "env": [{"name": "PASSWORD_FILE", "value": "/secret/password"}],
                "ports": [{"containerPort": 5432}],
                "readinessProbe": {**probe, "periodSeconds": 1},
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "secret", "mountPath": "/secret"},
                ],
            }
        ],
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "secret", "secret": {"secretName": NAME}},
        ],
    }  # fmt: skip
    return [
        {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME},
            "stringData": {"password": secrets.token_urlsafe(24)},
        },
        {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME},
            "spec": {"selector": labels, "ports": [{"port": 5432}]},
        },
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]  # fmt: skip


def start(release: Release) -> None:
    """Start it in a release's namespace, which is made for it, and wait until it answers."""
    release.kubectl("create", "namespace", release.namespace)
    image = release.cluster.image("postgres")
    items = {"apiVersion": "v1", "kind": "List", "items": objects(image)}
    release.kubectl("apply", "--filename=-", given=json.dumps(items))
    release.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=180s")


def values(replicas: int) -> dict[str, Any]:
    """Return the chart's values for it."""
    database = {"url": URL, "existingSecret": NAME}
    return {
        "service": {
            "replicas": replicas, "database": database, "storage": {"existingClaim": CLAIM}
        }
    }  # fmt: skip
