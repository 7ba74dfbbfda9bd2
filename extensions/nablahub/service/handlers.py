"""Operations that belong to no concept: who am I, what happens, is it well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from nablahub.core.events import Event
from nablahub.core.operations import Call, StreamCall, last_event_id, operation, stream
from nablahub.projects.service import ProjectService
from nablahub.service.openapi import release
from nablahub.service.types import EventQuery, Health, WhoAmI


@operation("GET", "/whoami", scope="whoami:read")
def whoami(call: Call) -> WhoAmI:
    """Say whom the token stands for."""
    who = call.who
    return WhoAmI(
        name=who.name, kind=who.kind, admin=who.admin, scopes=sorted(who.scopes),
        team_ids=sorted(who.team_ids),
    )  # fmt: skip


@stream("GET", "/health", scope=None, root=True, produces="application/json")
async def health(call: StreamCall) -> Health:
    """Say that the service answers."""
    return Health(status="ok", version=release())


@stream("GET", "/events", scope="events:read", query=EventQuery, produces="text/event-stream")
async def events(call: StreamCall) -> None:
    """Hear of changes as they happen (server-sent events).

    Send `Last-Event-ID` to get what came after it first. Each event's data is
    `{"kind", "id", "type", "project", "at", "data"}`; a comment line comes each 15 s.
    """
    asked: EventQuery = call.query
    if asked.project is not None:
        project = asked.project
        await call.db_read(lambda s: call.get(ProjectService).row(s, call.who, project))
    resumed = last_event_id(call.request_headers)
    after = asked.after if resumed is None else resumed
    bus = call.context.events
    if after is None:
        after = await bus.last_seq()
    call.set_header("X-Accel-Buffering", "no")
    await call.write(f": listening after {after}\n\n".encode())
    await _forward(call, bus.listen(after))


async def _forward(call: StreamCall, source: AsyncIterator[Event]) -> None:
    async with aclosing(call.living(source)) as found:
        async for event in found:
            if _concerns(call, event):
                await call.sse(event.as_dict(), seq=str(event.seq))


def _concerns(call: StreamCall, event: Event) -> bool:
    asked: EventQuery = call.query
    if event.team_id not in call.who.team_ids:
        return False
    wanted = asked.project or call.who.project_id
    return wanted is None or event.project_id in (wanted, None)
