"""Operations on mounts."""

from __future__ import annotations

from nablahub.core.operations import Call, operation
from nablahub.core.paging import Page
from nablahub.mounts.service import MountService
from nablahub.mounts.types import Mount, MountCreate, MountQuery


@operation("GET", "/mounts", scope="mounts:read", query=MountQuery)
def list_mounts(call: Call) -> Page[Mount]:
    """List the versions that your servers show."""
    items, following = call.get(MountService).list(call.session, call.who, call.query)
    return Page(items=items, next=following)


@operation("POST", "/mounts", scope="mounts:write", status=201)
def create_mount(call: Call, body: MountCreate) -> Mount:
    """Let a server of yours show a version; it is there when the mount's state is Ready."""
    return call.get(MountService).mount(call.session, call.who, body)


@operation("GET", "/mounts/{mount}", scope="mounts:read")
def get_mount(call: Call) -> Mount:
    """Get a mount."""
    service = call.get(MountService)
    return service.as_wire(call.session, service.row(call.session, call.who, call.path["mount"]))


@operation("DELETE", "/mounts/{mount}", scope="mounts:write")
def delete_mount(call: Call) -> None:
    """Show a version no more; it may leave the cache then."""
    service = call.get(MountService)
    service.unmount(call.session, service.row(call.session, call.who, call.path["mount"]))
