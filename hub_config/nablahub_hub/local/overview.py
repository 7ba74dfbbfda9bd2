"""What ``nablahub status`` shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nablahub.core import console
from nablahub.core.state import StateDir
from nablahub_hub.local import disks, lock, procfs, web
from nablahub_hub.local.config import LocalConfig


def look(state: StateDir) -> dict[str, Any]:
    """Return what runs of a state directory.

    ``running`` is true when an ``up`` holds it and every part answers.
    """
    config = LocalConfig.load(state)
    holder = lock.holder(state)
    found: dict[str, Any] = {
        "running": False,
        "state_dir": str(state.root),
        "url": (holder or {}).get("url") or (config.proxy_url if config else None),
        "pid": holder["pid"] if holder else None,
        "parts": [],
        "other_processes": 0,
        "disk": [asdict(disk) for disk in disks.look(state)],
    }
    if config is None:
        return found
    urls = {
        "traefik": f"{config.traefik_url}/ping",
        "hub": f"{config.hub_url}/hub/api/",
        "service": f"{config.service_url}/services/nablahub/health",
    }
    ours = list(procfs.processes(config.session))
    pids = procfs.parts(ours)
    for name in procfs.PARTS:
        found["parts"].append(
            {"name": name, "pid": pids.get(name), "answers": name in pids and _ok(urls[name])}
        )
    others = {p.pid for p in ours} - set(pids.values())
    found["other_processes"] = len(others - {found["pid"]})
    found["running"] = holder is not None and all(part["answers"] for part in found["parts"])
    return found


def show(found: dict[str, Any]) -> None:
    """Print it for people."""
    taken = disks.fields([disks.Disk(**disk) for disk in found["disk"]])
    if found["pid"] is None and not any(part["pid"] for part in found["parts"]):
        console.emit_fields({"state": "■ Stopped", "state dir": found["state_dir"], **taken})
        return
    state = "● Running" if found["running"] else "✗ Error"
    console.emit_fields(
        {
            "state": state,
            "url": found["url"],
            "state dir": found["state_dir"],
            "supervisor": found["pid"] or "none: run `nablahub up` to take these over",
            **{
                part["name"]: f"process {part['pid']}, "
                + ("answers" if part["answers"] else "does not answer")
                for part in found["parts"]
            },
            "others": f"{found['other_processes']} processes of servers and jobs",
            **taken,
        }
    )


def _ok(url: str) -> bool:
    try:
        return web.request("GET", url, timeout=3.0).status == 200
    except web.HTTP_ERRORS:
        return False
