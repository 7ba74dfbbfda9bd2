"""Operations on the cache of materialised versions; for administrators."""

from __future__ import annotations

from datetime import UTC, datetime

from nablahub.core.errors import Forbidden
from nablahub.core.operations import Call, StreamCall, at_leader, operation, stream
from nablahub.datasets.keeping import Keeping
from nablahub.datasets.ledger import Tree
from nablahub.datasets.service import DatasetService
from nablahub.datasets.threads import blocking
from nablahub.mounts.errors import ClusterCache
from nablahub.mounts.types import (
    CachedTree,
    CacheList,
    CheckedTree,
    InUse,
    Pruned,
    PruneQuery,
    UsersAsk,
    VerifyQuery,
)

#: So many damaged files of a tree are named.
SHOWN = 100


def _keeping(call: StreamCall) -> Keeping:
    """Return the cache, for an administrator of a hub whose service has it."""
    if not call.who.admin:
        raise Forbidden("Only an administrator of the hub looks into the cache.")
    if call.context.settings.runner == "kubernetes" and not list(
        call.context.settings.state.cache.glob("[!.]*")
    ):
        raise ClusterCache
    return call.get(DatasetService).building.keeping


def _wire(tree: Tree, users: dict[str, list[str]]) -> CachedTree:
    return CachedTree(
        place=tree.place, bytes=tree.size, used_at=datetime.fromtimestamp(tree.used_at, UTC),
        users=users.get(tree.place, []),
    )  # fmt: skip


@at_leader
@stream("GET", "/cache", scope="cache:read")
async def list_cache(call: StreamCall) -> CacheList:
    """List the materialised versions on the hub's machine, the longest unused first."""
    keeping = _keeping(call)
    trees, users = await blocking(keeping.trees), await blocking(keeping.users)
    return CacheList(
        items=[_wire(tree, users) for tree in trees], bytes=sum(tree.size for tree in trees),
        limit=keeping.limit,
    )  # fmt: skip


@operation("POST", "/cache/users", scope="cache:deliver", read_only=True)
def ask_users(call: Call, body: UsersAsk) -> InUse:
    """Tell which versions of the cluster's cache are read: the pod that asks keeps those."""
    datasets = call.get(DatasetService)
    withdrawn = datasets.public.withdrawn(call.session, body.places)
    users = datasets.building.keeping.users_of(call.session).keys() - set(withdrawn)
    return InUse(items=[place for place in body.places if place in users], withdrawn=withdrawn)


@at_leader
@stream("POST", "/cache/prune", scope="cache:write", query=PruneQuery)
async def prune_cache(call: StreamCall) -> Pruned:
    """Take versions that nobody reads out of the cache until the rest is small enough."""
    keeping, asked = _keeping(call), call.query
    limit = asked.to if asked.to is not None else keeping.limit
    gone: list[Tree] = []
    before = sum(tree.size for tree in await blocking(keeping.trees))
    if limit is not None:
        gone = await blocking(keeping.prune, limit, dry_run=asked.dry_run)
    freed = sum(tree.size for tree in gone)
    return Pruned(
        items=[_wire(tree, {}) for tree in gone], bytes=freed, left=before - freed, limit=limit,
        dry_run=asked.dry_run,
    )  # fmt: skip


@at_leader
@stream(
    "POST", "/cache/verify", scope="cache:write", query=VerifyQuery,
    produces="application/x-ndjson",
)  # fmt: skip
async def verify_cache(call: StreamCall) -> None:
    """Read every file of the cache and name those that are not as they were stored.

    A line of JSON (a `CheckedTree`) comes after each tree.
    """
    found = _keeping(call).inspect(repair=call.query.repair)
    call.set_header("Content-Type", "application/x-ndjson")
    while (each := await blocking(next, found, None)) is not None:
        line = CheckedTree(
            place=each.tree.place, files=each.files, damaged=each.damaged[:SHOWN],
            count=len(each.damaged), users=each.users, repaired=each.repaired,
        )  # fmt: skip
        await call.write(line.model_dump_json().encode() + b"\n")
