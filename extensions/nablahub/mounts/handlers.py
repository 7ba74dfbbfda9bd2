"""Operations on mounts."""

from __future__ import annotations

from nablahub.core.operations import Call, operation
from nablahub.core.paging import Page
from nablahub.mounts.service import MountService
from nablahub.mounts.types import Mount, MountCreate, MountDelete, MountQuery


@operation("GET", "/mounts", scope="mounts:read", query=MountQuery)
def list_mounts(call: Call) -> Page[Mount]:
    """List the versions and folders of buckets that your servers show."""
    items, following = call.get(MountService).list(call.session, call.who, call.query)
    return Page(items=items, next=following)


@operation("POST", "/mounts", scope="mounts:write", status=201)
def create_mount(call: Call, body: MountCreate) -> Mount:
    """Let a server of yours show a version or a bucket; it is there when the state is Ready."""
    return call.get(MountService).mount(call.session, call.who, body)


@operation("GET", "/mounts/{mount}", scope="mounts:read")
def get_mount(call: Call) -> Mount:
    """Get a mount."""
    service = call.get(MountService)
    return service.as_wire(call.session, service.row(call.session, call.who, call.path["mount"]))


@operation("DELETE", "/mounts/{mount}", scope="mounts:write", query=MountDelete)
def delete_mount(call: Call) -> None:
    """Show it no more; a version may leave the cache then, a bucket gets what was written first.

    The mount of a bucket is there until that is done. When it is still there with no `todo`,
    `unsent` tells why.
    """
    service = call.get(MountService)
    row = service.row(call.session, call.who, call.path["mount"])
    service.unmount(call.session, row, discard=call.query.discard)


@operation("POST", "/mounts/{mount}/send", scope="mounts:write", status=202)
def send_mount(call: Call) -> Mount:
    """Write what was changed to the bucket; it is done when there is no `todo` any more."""
    service = call.get(MountService)
    row = service.row(call.session, call.who, call.path["mount"])
    service.send(call.session, row)
    return service.as_wire(call.session, row)
