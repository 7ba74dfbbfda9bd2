"""What tasks have in a cluster, and its removal."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes import serving
from nablahub.jobs.runners.kubernetes.api import Api, ApiError
from nablahub.jobs.runners.kubernetes.names import TASK, object_name, selector

type Object = dict[str, Any]

#: What a task that ends has. Where the rights are for those alone, there is nothing else.
_OF_TASKS: Final = ("Job", "Secret")


class Leavings:
    """The objects of a hub's tasks.

    Parameters
    ----------
    api
        The cluster.
    hub
        The hub's label.
    """

    def __init__(self, api: Api, hub: str) -> None:
        self._api = api
        self._hub = hub
        #: Whether the cluster has Seldon Core's kind of objects.
        self.seldon = False

    async def tasks(self) -> set[TaskName]:
        """The tasks that have any."""
        found: set[TaskName] = set()
        for kind in self._kinds():
            for made in await self._list(kind):
                found.add(TaskName(made["metadata"].get("annotations", {}).get(TASK, "")))
        return found - {TaskName("")}

    async def remove(self, name: TaskName, folder: Path) -> None:
        """Remove those of a task; which ones it has is noted in its folder, while there is one."""
        kind = serving.kind_in(folder)
        kinds = _OF_TASKS if kind is None else (kind, *serving.ALONGSIDE)
        for each in kinds if folder.exists() else self._kinds():
            await self._delete(each, object_name(self._hub, name))

    def _kinds(self) -> tuple[str, ...]:
        found = ("Job", "Deployment", *serving.ALONGSIDE)
        return (*found, "SeldonDeployment") if self.seldon else found

    async def _list(self, kind: str) -> list[Object]:
        try:
            found, _ = await self._api.list(kind, selector(self._hub))
            # What another object owns goes with that.
            return [made for made in found if "ownerReferences" not in made["metadata"]]
        except ApiError as error:
            if kind in _OF_TASKS or error.status not in (403, 404):
                raise
            return []

    async def _delete(self, kind: str, name: str) -> None:
        try:
            await self._api.delete(kind, name)
        except ApiError as error:
            if kind in _OF_TASKS or error.status != 403:
                raise
