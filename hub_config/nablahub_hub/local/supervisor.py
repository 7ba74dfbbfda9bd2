"""Keeps Traefik, the hub and the service of one state directory alive, and ends them together."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nablahub.core.errors import NablaError
from nablahub.core.pids import gone, send
from nablahub.core.state import StateDir
from nablahub_hub import links
from nablahub_hub.local import clusters, files, leftovers, lock, procfs, web
from nablahub_hub.local.child import Child
from nablahub_hub.local.config import LocalConfig, choose, ensure_secrets, write_private
from nablahub_hub.local.options import Options

#: Deaths before it ever answered, after which starting is given up.
HOPELESS = 3
#: Seconds the hub has to stop the servers of its users.
SERVERS_PATIENCE = 15.0
#: Seconds until the service must answer through the public port, once it answers by itself.
ROUTE_PATIENCE = 60.0
#: Seconds a process has to end by itself.
PATIENCE = 8.0


class StartFailed(NablaError):
    """One of the three processes does not come up."""

    code = "start_failed"
    title = "The hub could not be started"


@dataclass
class Supervisor:
    """One ``up``.

    Parameters
    ----------
    state : StateDir
        Whose processes; its lock is held by the caller.
    options : Options
        How.
    say : callable
        Told what happens, a sentence each.
    """

    state: StateDir
    options: Options
    say: Callable[[str], None]
    children: dict[str, Child] = field(default_factory=dict)
    config: LocalConfig = field(init=False)
    public_url: str = ""
    seconds: float = 0.0
    links: bool = True

    async def start(self, started: Callable[[str], None] = lambda _name: None) -> None:
        """Bring everything up and return when all of it answers.

        Parameters
        ----------
        started : callable
            Told the name of each part that answers.

        Raises
        ------
        PortTaken
            When the public port belongs to another program.
        BadConfiguration, BadSetting
            When the user's own configuration cannot be used.
        ClusterUnfit
            When work is to run on a cluster that cannot be used from here.
        StartFailed
            When a part ends again and again before it answers.
        """
        begun = time.monotonic()
        options = self.options
        flags = options.flags
        settings = await options.settings(self.state)
        clusters.check_address(settings)
        ensure_secrets(self.state)
        self.config = choose(
            self.state,
            port=settings.port or None if options.port is None else options.port,
            next_free=options.next_free,
            ours=self._ours,
            say=self.say,
            hub_host=settings.hub_address,
            service=(settings.service_address, settings.service_port),
        )
        if found := await clusters.check(settings, self.config.for_pods, self.say):
            self.say(f"The cluster: {found}.")
        self.public_url = settings.public(self.config)
        for spec in (
            files.traefik_spec(self.state, self.config, settings),
            files.hub_spec(self.state, self.config, options.config, settings, **flags),
            files.service_spec(self.state, self.config, settings),
        ):
            self.children[spec.name] = Child(spec, self.config.session, self.say)
        await asyncio.gather(*(child.start() for child in self.children.values()))
        await asyncio.gather(*(self._answered(child, started) for child in self.children.values()))
        await self._routed()
        await asyncio.to_thread(self._write_client)
        self.seconds = time.monotonic() - begun
        self.links = await asyncio.to_thread(self._has_links)
        told = {"url": self.public_url, "seconds": self.seconds, "links": self.links}
        lock.publish(self.state, told)

    def sign_in_link(self) -> str | None:
        """Return a fresh one-time link; None when the hub signs people in otherwise."""
        if not self.links:
            return None
        return links.make(self.state, self.public_url, self.config.owner)

    def _has_links(self) -> bool:
        """Whether the hub knows one-time links: a configuration of one's own may not."""
        if self.options.config is None:
            return True
        return web.request("GET", f"{self.config.hub_url}{links.PATH}/-").status != 404

    async def stop(self) -> None:
        """End every process of the state directory, servers and jobs included."""
        if not hasattr(self, "config"):
            return
        hub = self.children.get("hub")
        if hub is not None and hub.pid is not None:
            await self._stop_servers(hub)
        ends = [child.end(PATIENCE) for child in self.children.values()]
        await asyncio.gather(*ends)
        await leftovers.end_all(self.state, self.config.session)
        for child in self.children.values():
            child.release()  # only now: no job is left that could take a port
        self.state.client.unlink(missing_ok=True)

    async def _stop_servers(self, hub: Child) -> None:
        """Let the hub stop its users' servers, so that its database says so, and end."""
        pid = hub.pid
        await hub.forget()
        if pid is None:
            return
        if not await _ask_to_shut_down(self.state, self.config):
            send(pid, signal.SIGTERM)
        if not await gone(pid, SERVERS_PATIENCE):
            await procfs.end([pid], patience=0.5)

    def _ours(self, port: int) -> bool:
        config = LocalConfig.load(self.state)
        inodes = procfs.holders(port)
        return config is not None and any(
            procfs.holds(found.pid, inodes) for found in procfs.processes(config.session)
        )

    async def _answered(self, child: Child, started: Callable[[str], None]) -> None:
        ready = asyncio.create_task(child.ready())
        while not ready.done():
            await asyncio.wait([ready], timeout=0.2)
            if child.deaths >= HOPELESS and not ready.done():
                ready.cancel()
                raise StartFailed(
                    f"The {child.spec.name} ended {child.deaths} times before it answered. "
                    f"The end of its log ({child.spec.log}):\n{child.last_words()}",
                    hint="`nablahub doctor` looks for what is missing on this machine.",
                )
        started(child.spec.name)

    async def _routed(self) -> None:
        """Wait for the service's route: the hub gives it to Traefik a moment after it answers."""
        url = f"{self.config.proxy_url}/services/nablahub/health"
        try:
            async with asyncio.timeout(ROUTE_PATIENCE):
                await web.until_answers(url)
        except TimeoutError:
            raise StartFailed(
                f"The service answers, but not at {url}: the hub gave the proxy no route to it.",
                hint=f"See {self.state.logs / 'hub.log'}.",
            ) from None

    def _write_client(self) -> None:
        """Leave the URL and a token of the owner for the command line on this machine."""
        known = _read(self.state.client)
        kept = self.state.secrets / "client_token"
        token = kept.read_text().strip() if kept.exists() else ""
        api = f"{self.config.hub_url}/hub/api"
        if not token or web.request("GET", f"{api}/user", token=token).status != 200:
            fresh = self._new_token(api)
            if fresh is None:
                return
            token = fresh
            write_private(kept, token + "\n")
        content = {
            "url": f"{self.config.proxy_url}/services/nablahub",
            "token": token,
            "user": self.config.owner,
        }
        if content != known:
            write_private(self.state.client, json.dumps(content) + "\n")

    def _new_token(self, api: str) -> str | None:
        answer = web.request(
            "POST",
            f"{api}/users/{self.config.owner}/tokens",
            token=self.state.secret("up_token"),
            body={"note": "nablahub command line on this machine"},
        )
        if answer.status in (403, 404) and self.options.config is not None:
            return None  # a configuration whose authenticator does not know the owner
        if answer.status not in (200, 201):
            raise StartFailed(
                f"The hub gave no token for the command line: it answered {answer.status} "
                f"{answer.body.decode(errors='replace')[:300]}",
                hint=f"See {self.state.logs / 'hub.log'}.",
            )
        return str(answer.json()["token"])


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


async def until_told() -> None:
    """Return at SIGINT, SIGTERM or SIGHUP."""
    loop = asyncio.get_running_loop()
    told = loop.create_future()

    def tell() -> None:
        if not told.done():
            told.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, tell)
    await told


async def end_orphans(state: StateDir, config: LocalConfig) -> bool:
    """End what a killed ``up`` left: first the servers by the hub's own hand, then the parts.

    Returns whether there was anything.
    """
    parts = procfs.parts(procfs.processes(config.session))
    if "hub" in parts:
        await _ask_to_shut_down(state, config)
        await gone(parts["hub"], SERVERS_PATIENCE)
    await procfs.end(parts.values(), patience=PATIENCE)
    return bool(parts)


async def _ask_to_shut_down(state: StateDir, config: LocalConfig) -> bool:
    try:
        answer = await asyncio.to_thread(
            web.request,
            "POST",
            f"{config.hub_url}/hub/api/shutdown",
            token=state.secret("up_token"),
            body={"servers": True, "proxy": False},
        )
    except web.HTTP_ERRORS:
        return False
    return answer.status == 202
