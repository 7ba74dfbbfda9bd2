"""The pod that is sent to look whether a cluster's pods reach this machine: pure functions."""

from __future__ import annotations

import json
from typing import Any

from nablahub.core.kubenames import HUB_LABEL
from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners.kubernetes.names import APP
from nablahub.jobs.runners.kubernetes.pod import MAIN, PORT, SAFE, USER
from nablahub_hub.local.clusters import Ports

type Object = dict[str, Any]

#: Seconds until each side is reached by the other.
PATIENCE = 10.0
#: Seconds after which the cluster ends one whose hub was killed; the next look removes it.
_LIFE = 900
#: Asks each address, tells who asks it how that went, and leaves the same as its last words.
SCRIPT = """\
import http.server, json, os, socket, threading, time
wanted, patience = json.loads(os.environ["WANTED"]), float(os.environ["PATIENCE"])
asked = threading.Event()

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        asked.set()

    def log_message(self, *words):
        pass

server = http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()

def ask(host, port):
    with socket.create_connection((host, port), timeout=2) as there:
        there.sendall(b"GET /hub/api/ HTTP/1.0\\r\\n\\r\\n")
        return there.recv(4096).decode(errors="replace")

told, end = {}, time.monotonic() + patience
for name, (host, port) in wanted.items():
    while True:
        try:
            told[name] = {"said": ask(host, port)}
        except OSError as error:
            told[name] = {"error": str(error)}
        if "said" in told[name] or time.monotonic() > end:
            break
        time.sleep(0.2)
with open("/dev/termination-log", "w") as last:
    json.dump(told, last)
asked.wait(patience)
"""


def labels(settings: KubernetesSettings) -> dict[str, str]:
    """Return what finds such pods of a hub."""
    return {"app": APP, HUB_LABEL: settings.hub, "component": "reach"}


def reach_pod(settings: KubernetesSettings, name: str, ports: Ports) -> Object:
    """Return the pod that is sent to look: a pure function.

    Parameters
    ----------
    settings
        The cluster.
    name
        Of the pod.
    ports
        What it asks, by name.
    """
    container: Object = {
        "name": MAIN,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": ["python3", "-I", "-c", SCRIPT],
        "env": [
            {"name": "WANTED", "value": json.dumps(ports)},
            {"name": "PATIENCE", "value": str(PATIENCE)},
            {"name": "PORT", "value": str(PORT)},
        ],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "1", "memory": "128Mi"},
        },
        "securityContext": SAFE,
    }
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "activeDeadlineSeconds": _LIFE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if settings.service_account is not None:
        spec["serviceAccountName"] = settings.service_account
    if settings.pull_secrets:
        spec["imagePullSecrets"] = [{"name": each} for each in settings.pull_secrets]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels(settings)},
        "spec": spec,
    }
