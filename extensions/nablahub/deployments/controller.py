"""Closes the gap between what a deployment is to be and what it is."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.events import Event
from nablahub.core.times import now
from nablahub.deployments import keys, routes
from nablahub.deployments.kept import KeptRoutes
from nablahub.deployments.probe import Outcome, Prober
from nablahub.deployments.rollout import PROBING, Place, Rollout, View
from nablahub.deployments.servers import KIND, Servers
from nablahub.deployments.store import DeploymentRow, ServerRow, servers, spec
from nablahub.deployments.store import keys as keys_of
from nablahub.deployments.traffic import route_of

log = logging.getLogger(__name__)
KEYS_KIND: Final = "deployment-keys"
KEPT_KIND: Final = "deployment-routes"
#: A server that doesn't answer so many health checks in turn is taken for hung.
HEALTH_CHECKS: Final = 3
#: How soon to ask again a server that is loading, or an address that doesn't answer yet.
SOON: Final = 0.05


class Controller:
    """Takes each deployment a step further when it is woken.

    A step is: one transaction that looks and acts (:mod:`nablahub.deployments.rollout`), then the
    files that follow from the rows, then questions to the servers, whose answers are stored and
    lead to the next step. It can be ended anywhere: the rows say where to go on.
    """

    def __init__(self, context: Context, jobs: Servers) -> None:
        self._context = context
        self._database = context.database
        self._state = context.settings.state
        self._jobs = jobs
        self._prober: Prober | None = None
        self._written: set[str] = set()
        self._unanswered: dict[tuple[str, Place], int] = {}
        self._kept = KeptRoutes(context.settings)
        self._routes_lock = asyncio.Lock()
        self._keys_lock = asyncio.Lock()
        context.reconciler.register(KIND, self.step)
        context.reconciler.register(KEYS_KIND, self.write_keys)
        context.reconciler.register(KEPT_KIND, self._keep)

    async def lead(self) -> None:
        """Write the routes that the rows say."""
        await self._publish()

    async def stop(self) -> None:
        """Close the prober."""
        if self._prober is not None:
            await self._prober.close()

    @property
    def prober(self) -> Prober:
        """The prober of this process."""
        if self._prober is None:
            self._prober = Prober()
        return self._prober

    async def write_keys(self, deployment_id: str) -> None:
        """Write a deployment's file of key hashes from the rows."""

        def write(session: Session) -> bool:
            row = session.get(DeploymentRow, deployment_id)
            if row is None:
                return False
            found = session.scalars(keys_of(deployment_id)).all() if not row.deleted else ()
            keys.write(self._state.keys / deployment_id, found, self.prober.key)
            return True

        # Two writers at a time could leave the older content, with a revoked key in it.
        async with self._keys_lock:
            if await self._database.read(write):
                self._written.add(deployment_id)
                self._jobs.keys_changed(deployment_id)

    async def step(self, deployment_id: str) -> float | None:
        """Take a deployment one step further; return the seconds until the next look."""
        if deployment_id not in self._written:
            # Before its first server starts, and with this process's probe key.
            await self.write_keys(deployment_id)
        view = await self._database.write(lambda s: self._advance(s, deployment_id))
        if view is None:
            return None
        await self._publish()
        if view.gone:
            self._written.discard(deployment_id)
            await asyncio.to_thread(keys.remove, self._state.keys / deployment_id)
            self._jobs.keys_changed(deployment_id)
            await self._database.write(lambda s: _forget(s, self._jobs, deployment_id))
            return None
        if view.starting and await self._ask_ready(view):
            return 0.0
        if view.probe != "none":
            return await self._try(view)
        if view.starting:
            return min(view.delay or SOON, 4 * SOON)
        if not self._jobs.several:  # On a cluster the kubelet asks, and ends what hangs.
            await self._check_health(view)
        return view.delay

    def _advance(self, session: Session, deployment_id: str) -> View | None:
        row = session.get(DeploymentRow, deployment_id)
        if row is None:
            return None
        before = (row.state, row.reason, row.message, row.ready_replicas, row.serving_version)
        at = now()
        view = Rollout(session, self._jobs, row, at).advance()
        after = (row.state, row.reason, row.message, row.ready_replicas, row.serving_version)
        if before != after and not row.deleted:
            row.updated_at = at
            self._tell(session, row)
        return view

    def _tell(self, session: Session, row: DeploymentRow) -> None:
        data = {"name": row.name, "state": row.state, "message": row.message}
        event = Event(KIND, row.id, "changed", row.team_id, row.project_id, data)
        self._context.events.emit(session, event)

    async def _publish(self) -> None:
        """Write Traefik's file from the rows of all deployments, when it would differ."""

        def all_routes(session: Session) -> list[routes.Route]:
            rows = session.scalars(select(DeploymentRow).order_by(DeploymentRow.id)).all()
            several = self._jobs.several
            found = (route_of(session, row, several=several) for row in rows)
            secret = self.prober.canary_secret
            return [replace(route, canary_secret=secret) for route in found if route is not None]

        ours = self._context.settings.own_url
        async with self._routes_lock:
            found = await self._database.read(all_routes)
            wanted = routes.build(found, otherwise=ours)
            await asyncio.to_thread(routes.write, self._state.deployments_routes, wanted)
            everybodys = [replace(route, canary=None) for route in found]
            kept = routes.build(everybodys, otherwise=ours, priority=routes.KEPT_PRIORITY)
            if self._kept.want(kept):
                self._context.reconciler.wake_now(KEPT_KIND, "routes")

    async def _keep(self, _: str) -> None:
        await self._kept.write()

    async def _ask_ready(self, view: View) -> bool:
        """Ask the servers that are loading; return whether one of them is ready now."""
        asked = [self.prober.ready(server.address, view.name) for server in view.starting]
        answers = await asyncio.gather(*asked)
        ready = [s for s, answer in zip(view.starting, answers, strict=True) if answer]
        if ready:
            await self._database.write(lambda s: _mark_ready(s, view.deployment_id, ready))
        return bool(ready)

    async def _check_health(self, view: View) -> None:
        """End a server that is ready and has stopped answering; another takes its place."""
        asked = [self.prober.ready(place.address, view.name) for place in view.ready]
        hung: list[Place] = []
        for place, answered in zip(view.ready, await asyncio.gather(*asked), strict=True):
            count = self._unanswered.pop((view.deployment_id, place), 0) + 1
            if not answered and count >= HEALTH_CHECKS:
                hung.append(place)
            elif not answered:
                self._unanswered[view.deployment_id, place] = count
        if hung:
            log.warning("deployment %s: %d servers hang", view.deployment_id, len(hung))
            await self._database.write(lambda s: self._end_hung(s, view.deployment_id, hung))

    def _end_hung(self, session: Session, deployment_id: str, hung: list[Place]) -> None:
        for place in hung:
            row = session.get(ServerRow, (deployment_id, place.fingerprint, place.replica))
            if row is not None and (row.attempt, row.state) == (place.attempt, "ready"):
                row.state = "starting"
                row.message = f"It did not answer {HEALTH_CHECKS} health checks in turn."
                self._jobs.stop(session, row.job_id)
        self._context.reconciler.wake(session, KIND, deployment_id)

    async def _try(self, view: View) -> float | None:
        """Try a sample through the proxy, and store what came of it."""
        address = routes.endpoint(self._context.settings.local_url, view.deployment_id)
        outcome = await self.prober.sample(
            address, view.name, view.version, canary=view.probe == "canary", given=view.sample
        )

        def record(session: Session) -> None:
            row = session.get(DeploymentRow, view.deployment_id)
            if row is not None and not row.deleted:
                _record(session, row, view, outcome)

        await self._database.write(record)
        if outcome.answered:
            return 0.0
        # A Traefik that reads our file has the route at once, one that asks for it a moment later.
        return SOON if view.probe == "canary" and not self._jobs.several else 5 * SOON


def _mark_ready(session: Session, deployment_id: str, ready: list[Place]) -> None:
    for server in ready:
        row = session.get(ServerRow, (deployment_id, server.fingerprint, server.replica))
        # It may have died, or been started again, since it was asked.
        if row is None or (row.attempt, row.state) != (server.attempt, "starting"):
            continue
        row.state, row.since, row.message = "ready", now(), ""


def _record(session: Session, row: DeploymentRow, view: View, outcome: Outcome) -> None:
    """Store what came of a sample; the next step acts on it."""
    target = spec(session, row.id, view.version)
    if view.probe == "canary":
        if row.spec_version != view.version or target.verdict != "pending":
            return
        if outcome.answered:
            target.verdict, target.message = "proved", ""
            if outcome.sample is not None:
                target.sample = json.dumps(outcome.sample)
            row.previous_version = row.serving_version
            row.serving_version = target.number
        elif target.probing_since is not None and now() - target.probing_since > PROBING:
            target.verdict, target.message = "failed", outcome.message
        else:
            target.message = outcome.message
    elif row.serving_version == view.version and target.verdict == "proved":
        target.message = outcome.message
        if outcome.answered:
            target.verdict = "healthy"
            row.previous_version = None


def _forget(session: Session, jobs: Servers, deployment_id: str) -> None:
    """Remove the rows of a deployment whose servers have all ended."""
    row = session.get(DeploymentRow, deployment_id)
    ended = all(server.state == "gone" for server in servers(session, deployment_id))
    if row is not None and row.deleted and ended:
        jobs.forget(session, deployment_id)
        session.delete(row)
