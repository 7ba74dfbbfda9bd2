"""The spawner: a single-user server of an instance type, as a pod."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from jupyterhub.utils import url_path_join
from kubernetes_asyncio.client import ApiException
from kubespawner import KubeSpawner
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from nablahub.core import kubenames
from nablahub.core.identity import CACHE, MOUNTS, NAMES, PUBLIC
from nablahub.core.instances import InstanceType
from nablahub.core.nodes import never
from nablahub_spawner.common import NablaSpawner
from nablahub_spawner.failures import SpawnFailed
from nablahub_spawner.jupyter import DATASETS, mount_variables
from nablahub_spawner.kubernetes import objects, reasons
from nablahub_spawner.kubernetes.claims import claims_variable
from nablahub_spawner.kubernetes.cluster import Cluster
from nablahub_spawner.kubernetes.settings import PodSettings
from nablahub_spawner.kubernetes.watching import AWAY, Watching
from nablahub_spawner.news import News
from nablahub_spawner.teams import Team

#: Variables that let their holder act as the user.
SECRET_VARIABLES = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN")
#: JupyterHub's own deadline is ``start_timeout``, and counts against the hub: ours comes before.
OUR_SHARE = 0.95
#: Seconds between two looks whether a server that was started answers.
LOOK_EVERY = 0.1


class NablaKubeSpawner(Watching, PodSettings, NablaSpawner, KubeSpawner):  # type: ignore[misc]  # KubeSpawner ships no types
    """Starts single-user servers of an instance type as pods of a Kubernetes namespace.

    Pods run as nobody in particular (uid 1000, no capabilities, no token of the cluster's), see
    the user's home, ``/storage`` and ``/teams/<group>``, and get what their instance type says.
    What can never start fails within seconds and says why; what waits says what for.
    """

    giver = "The cluster"
    _warned = False

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.pvc_name = kubenames.home(
            self.hub_name, self.user.name, self.name if self.home_per_server else None
        )
        self._take_names()
        if not NablaKubeSpawner._warned and (unread := self.unread()):
            NablaKubeSpawner._warned = True
            self.log.warning("These settings have no effect on NablaHub's pods: %s", unread)

    def _take_names(self) -> None:
        self.pod_name = self.owner.name
        self.dns_name = self.dns_name_template.format(namespace=self.namespace, name=self.pod_name)

    def clear_state(self) -> None:
        """Forget a server that has ended; its home's name is kept."""
        super().clear_state()
        self._take_names()

    @property
    def owner(self) -> objects.Owner:
        """Whose server it is."""
        return objects.Owner(self.hub_name, self.user.name, self.name)

    @property
    def cluster(self) -> Cluster:
        """The namespace's objects."""
        return Cluster(self.api, self.namespace, self.log)

    # -- the choice -------------------------------------------------------------------------------

    async def misfits(self, types: Mapping[str, InstanceType]) -> dict[str, str | None]:
        """Return for each type why no node can ever give it; None when one can."""
        if self.autoscaled:
            return dict.fromkeys(types)
        common: dict[str, Any] = {
            "cpu_request_share": self.cpu_request_share,
            "node_selector": self.node_selector,
            "tolerations": self._sorted_dict_values(self.tolerations),
        }
        how = json.dumps(common, sort_keys=True, default=str)
        return await self.cluster.misfits(types, how, partial(never, **common))

    # -- what is made -----------------------------------------------------------------------------

    def place(self) -> objects.Place:
        """Return what this hub says of all pods."""
        labels = {**self._expand_all(self.extra_labels), **self.common_labels}
        return objects.Place(
            labels=labels,
            annotations=self._expand_all(self.extra_annotations),
            pod_labels=self._build_pod_labels({}),
            node_selector=self.node_selector,
            tolerations=tuple(self._sorted_dict_values(self.tolerations)),
            cpu_request_share=self.cpu_request_share,
            volumes=tuple(self._expand_all(self._sorted_dict_values(self.volumes))),
            volume_mounts=tuple(self._expand_all(self._sorted_dict_values(self.volume_mounts))),
            init_containers=tuple(self._expand_all(self._sorted_dict_values(self.init_containers))),
            pod=self._expand_all(self.extra_pod_config),
            container=self.extra_container_config,
        )

    def notebook(self, teams: list[Team]) -> objects.Notebook:
        """Return what runs in the pod of a user of those teams."""
        claims = (self._home(), *(self._storage(team) for team in teams))
        env = {**self.get_env(), **self._own_variables(), **claims_variable(claims)}
        secrets = {name: str(env.pop(name)) for name in SECRET_VARIABLES if name in env}
        pull = [s["name"] if isinstance(s, dict) else s for s in self.image_pull_secrets]
        return objects.Notebook(
            image=self.image,
            pull_policy=self.image_pull_policy or "IfNotPresent",
            pull_secrets=tuple(pull),
            command=(*self.cmd, *self.get_args()) if self.cmd else (),
            port=self.port,
            env={n: v if isinstance(v, dict) else str(v) for n, v in env.items()},
            secret_env=secrets,
            env_secrets=tuple(self.env_secrets),
            claims=claims,
            existing=tuple(self._existing(teams)),
            # The server makes the links that it shows.
            own={MOUNTS: DATASETS} if self.dataset_cache_claim else {},
        )

    def _own_variables(self) -> dict[str, str]:
        home = self.owner.home_inside
        return {
            **self.limit_variables(),
            "NABLAHUB_URL": self.pod_service_url or self.service_url,
            "HOME": home,
            "USER": self.user.name,
            "LOGNAME": self.user.name,
            "JUPYTERHUB_ROOT_DIR": self.notebook_dir or home,
            **(mount_variables(MOUNTS, CACHE, "claim") if self.dataset_cache_claim else {}),
        }

    def _home(self) -> objects.Claim:
        return objects.Claim(
            name=self.pvc_name,
            path=self.owner.home_inside,
            size=self.storage_capacity,
            access_modes=tuple(self.storage_access_modes),
            storage_class=self.storage_class,
            annotations={"hub.jupyter.org/username": self.user.name},
        )

    def _storage(self, team: Team) -> objects.Claim:
        folder = kubenames.folder(team.name)
        return objects.Claim(
            name=kubenames.storage(self.hub_name, team.id),
            path=objects.STORAGE if team.private else f"{objects.TEAMS}/{folder}",
            size=self.team_storage_capacity,
            access_modes=tuple(self.team_storage_access_modes),
            storage_class=self.team_storage_class,
            annotations={objects.TEAM: team.id, "nablahub.org/team-name": team.name},
        )

    def _existing(self, teams: list[Team]) -> list[objects.Existing]:
        found = [
            objects.Existing("secret", name, path)
            for name, path in sorted(self.mounted_secrets.items())
        ]
        if self.dataset_cache_claim:
            claim = self.dataset_cache_claim
            found.append(objects.Existing("claim", claim, f"{CACHE}/{PUBLIC}", sub_path=PUBLIC))
            # Versions, and the names that people know them by: links into the former.
            found += [
                objects.Existing("claim", claim, path, sub_path=sub_path)
                for team in teams
                for path, sub_path in (
                    (f"{CACHE}/{team.id}", team.id),
                    (f"{NAMES}/{kubenames.folder(team.name)}", f".names/{team.id}"),
                )
            ]
        return found

    def _made_beside(self) -> list[objects.Claim]:
        """Return the claims that are made but shown in parts only."""
        if not self.dataset_cache_claim:
            return []
        return [
            objects.Claim(
                name=self.dataset_cache_claim,
                path=CACHE,
                size=self.dataset_cache_capacity,
                access_modes=tuple(self.team_storage_access_modes),
                storage_class=self.team_storage_class,
            )
        ]

    # -- start ------------------------------------------------------------------------------------

    async def _start(self) -> str:
        """Start the server; returns its URL once it answers."""
        self._news = News()
        patience = asyncio.timeout(self.start_timeout * OUR_SHARE)
        try:
            async with patience:
                return await self._bring_up()
        except TimeoutError:
            if not patience.expired():
                raise
            last = self._news.last or "nothing was heard of it."
            minutes = round(self.start_timeout / 60)
            raise SpawnFailed(
                f"The server did not start within {minutes} minutes. The last word: {last}",
                "Try again later, or choose another instance type.",
                reason="timeout",
            ) from None
        finally:
            self._news.end()

    async def _bring_up(self) -> str:
        if self.internal_ssl:
            raise SpawnFailed(
                "Internal SSL is not supported for servers on Kubernetes.",
                "Tell an administrator: c.JupyterHub.internal_ssl must be off.",
                reason="settings",
            )
        kind = await self.choose(self.user_options)
        try:
            await asyncio.gather(self._start_watching_pods(), self._start_watching_events())
        except AWAY as error:
            raise _failed(reasons.AWAY) from error
        owner, place = self.owner, self.place()
        notebook = self.notebook(await self.teams())
        pod = objects.pod(kind, notebook, owner, place)
        known = self._known_events()
        try:
            await self.cluster.check_quota(pod)
            await asyncio.gather(
                *(
                    self.cluster.make_claim(objects.claim(wanted, owner.hub, place))
                    for wanted in (*notebook.claims, *self._made_beside())
                )
            )
            self._pvc_exists = True
            await self.cluster.put_secret(objects.secret(notebook, owner, place))
            uid = await self.cluster.make_pod(pod, self._remove_old)
            await self.cluster.own(owner.name, uid)
        except ApiException as error:
            await self.cluster.remove_secret(owner.name)
            verdict = reasons.refused(error.status, _words(error))
            if verdict is None:
                raise
            raise _failed(verdict) from error
        except AWAY as error:
            raise _failed(reasons.AWAY) from error
        claims = {claim.name for claim in notebook.claims}
        return await self._wait(kind, uid, known, claims)

    async def _wait(
        self, kind: InstanceType, uid: str, known: dict[str, str], claims: set[str]
    ) -> str:
        """Return the server's URL when it answers; SpawnFailed when it never will."""
        answering: asyncio.Task[None] | None = None
        seen = False
        try:
            while True:
                changed = self._bell.next
                pod = self.pod_reflector.pods.get(f"{self.namespace}/{self.pod_name}")
                if pod is None and seen:
                    raise _failed(reasons.REMOVED)
                if pod is not None and pod["metadata"]["uid"] == uid:
                    seen = True
                    verdict = reasons.judge(
                        pod, self._news_of(uid, known, claims), kind, grows=self.autoscaled
                    )
                    if isinstance(verdict, reasons.Terminal):
                        await self._remove_old()
                        raise _failed(verdict)
                    if isinstance(verdict, reasons.Waiting):
                        self.tell(verdict.sentence)
                    elif answering is None:
                        self.tell("The server's container runs; JupyterLab is starting")
                        answering = asyncio.create_task(self._answers(self._get_pod_url(pod)))
                if answering is not None and answering.done():
                    await answering
                    assert pod is not None
                    self.pod_id = uid
                    return str(self._get_pod_url(pod))
                await _first(changed, answering)
        finally:
            if answering is not None:
                answering.cancel()

    async def _answers(self, url: str) -> None:
        """Return when the server answers, whatever it says."""
        address = url_path_join(url, self.server.base_url, "api")
        client = AsyncHTTPClient()
        while True:
            try:
                await client.fetch(address, request_timeout=5, follow_redirects=False)
            except HTTPClientError as error:
                if error.code not in (502, 503, 504, 599):
                    return
            except OSError:
                pass
            else:
                return
            await asyncio.sleep(LOOK_EVERY)

    def _known_events(self) -> dict[str, str]:
        """Return what events there are already: those of an earlier start say nothing of this."""
        return {
            event["metadata"]["uid"]: event["metadata"]["resourceVersion"]
            for event in self.event_reflector.resources.values()
        }

    def _news_of(self, uid: str, known: dict[str, str], claims: set[str]) -> list[dict[str, Any]]:
        found = []
        for event in self.event_reflector.resources.about(uid, *claims):
            about, meta = event["involvedObject"], event["metadata"]
            new = known.get(meta["uid"]) != meta["resourceVersion"]
            if new and (about.get("uid") == uid or about.get("name") in claims):
                found.append(event)
        return sorted(found, key=_when)

    async def _remove_old(self) -> None:
        await super().stop(now=True)

    async def stop(self, now: bool = False) -> None:
        """End the server; returns when its pod is gone. Its claims stay."""
        self.note_end()
        await super().stop(now=now)
        await self.cluster.remove_secret(self.pod_name)

    async def delete_forever(self) -> None:
        """Delete the home where ``delete_pvc`` says so, unless other servers use it."""
        if not self.name or self.home_per_server:
            await super().delete_forever()


async def _first(changed: asyncio.Event, task: asyncio.Task[None] | None) -> None:
    """Return when something has changed, or the task is done."""
    if task is None:
        await changed.wait()
        return
    ring = asyncio.create_task(changed.wait())
    try:
        await asyncio.wait((ring, task), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ring.cancel()


def _when(event: dict[str, Any]) -> str:
    """Return when an event was seen last; which of the fields says so depends on who tells it."""
    return str(
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
    )


def _words(error: ApiException) -> str:
    """Return what the API said, without its wrapping."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _failed(verdict: reasons.Terminal) -> SpawnFailed:
    return SpawnFailed(verdict.sentence, verdict.remedy, reason=verdict.reason)
