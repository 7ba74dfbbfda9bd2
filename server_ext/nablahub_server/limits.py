"""When the hub is going to stop this server: told in time, so that nobody is surprised.

The spawner tells the server its limits by variables; the hub's culler keeps them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import httpx
from jupyter_server.auth.decorator import authorized
from tornado import web

from nablahub_server.owners import OwnersHandler

#: What the spawner sets: when the server was started (RFC 3339), and seconds.
STARTED: Final = "NABLAHUB_STARTED_AT"
LONGEST: Final = "NABLAHUB_MAX_SECONDS"
IDLE: Final = "NABLAHUB_IDLE_SECONDS"
#: The instance type's name.
TYPE: Final = "NABLAHUB_INSTANCE_TYPE"
#: People are told so many seconds before, or half a limit that is shorter than twice that.
WARNING_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Stop:
    """A moment at which the server will be stopped.

    Parameters
    ----------
    reason
        ``longest_run``: it comes whatever is done; ``idle``: it moves with each activity.
    at
        When, RFC 3339 in UTC.
    seconds_left
        Until then; not below 0, since the hub looks only now and then.
    limit_seconds
        The limit itself.
    instance_type
        Whose limit it is; empty when nobody said.
    near
        Whether it is time to tell people.
    """

    reason: Literal["longest_run", "idle"]
    at: str
    seconds_left: float
    limit_seconds: float
    instance_type: str
    near: bool


@dataclass(frozen=True)
class Limits:
    """The limits of this server.

    Parameters
    ----------
    started
        When it was started; None when nobody said.
    longest, idle
        Seconds; None for no limit.
    instance_type
        Whose limits they are.
    """

    started: datetime | None = None
    longest: float | None = None
    idle: float | None = None
    instance_type: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Limits:
        """Read what the spawner said; limits that are no numbers are none."""
        return cls(
            started=_moment(environment.get(STARTED, "")),
            longest=_seconds(environment.get(LONGEST, "")),
            idle=_seconds(environment.get(IDLE, "")),
            instance_type=environment.get(TYPE, ""),
        )

    def stops(self, now: datetime, active: datetime) -> list[Stop]:
        """Return when the server will be stopped, the next first.

        Parameters
        ----------
        now, active
            The time, and when somebody did something last.
        """
        found = []
        if self.longest is not None and self.started is not None:
            found.append(self._stop("longest_run", self.started, self.longest, now))
        if self.idle is not None:
            found.append(self._stop("idle", active, self.idle, now))
        return sorted(found, key=lambda stop: stop.at)

    def _stop(
        self, reason: Literal["longest_run", "idle"], since: datetime, limit: float, now: datetime
    ) -> Stop:
        at = since + timedelta(seconds=limit)
        left = max(0.0, (at - now).total_seconds())
        return Stop(
            reason=reason,
            at=at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            seconds_left=round(left, 1),
            limit_seconds=limit,
            instance_type=self.instance_type,
            near=left <= min(WARNING_SECONDS, limit / 2),
        )


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _seconds(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if found > 0 else None


class LimitsHandler(OwnersHandler):
    """``nablahub/limits``: when this server will be stopped; a ``POST`` keeps an idle one."""

    def initialize(  # type: ignore[override]  # more options than its base
        self, limits: Limits, environment: Mapping[str, str], **options: Any
    ) -> None:
        """Take the route's options."""
        super().initialize(**options)
        self.limits = limits
        self.environment = environment

    @web.authenticated
    @authorized
    def get(self) -> None:
        """Tell when the server will be stopped; the question itself is no activity."""
        self._tell()

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Count as activity, for the hub at once, which else hears of it only every few minutes."""
        now = datetime.now(UTC)
        self.settings["api_last_activity"] = now
        await self._tell_hub(now)
        self._tell()

    def _tell(self) -> None:
        active: datetime = self.application.last_activity()  # type: ignore[attr-defined]  # Jupyter's
        stops = self.limits.stops(datetime.now(UTC), active)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"stops": [asdict(stop) for stop in stops]}))

    async def _tell_hub(self, now: datetime) -> None:
        """Report the activity, as JupyterHub's own part of this server does from time to time.

        https://jupyterhub.readthedocs.io/en/stable/reference/rest-api.html#operation/post-users-activity
        """
        url = self.environment.get("JUPYTERHUB_ACTIVITY_URL", "")
        if not url:
            return
        name, at = self.environment.get("JUPYTERHUB_SERVER_NAME", ""), now.isoformat()
        token = self.environment.get("JUPYTERHUB_API_TOKEN", "")
        told = {"servers": {name: {"last_activity": at}}, "last_activity": at}
        try:
            answer = await self.client.post(
                url, json=told, headers={"Authorization": f"token {token}"}, timeout=10
            )
            answer.raise_for_status()
        except httpx.HTTPError as error:
            # It hears of it a little later by JupyterHub's own report.
            self.log.warning("NablaHub: the hub was not told of activity: %r", error)
