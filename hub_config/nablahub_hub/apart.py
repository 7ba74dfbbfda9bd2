"""A hub whose service runs elsewhere, such as in a pod of its own."""

from __future__ import annotations

from traitlets.config import Config

from nablahub.core.errors import NablaError
from nablahub_hub import adding
from nablahub_hub.scopes import SERVICE, roles
from nablahub_hub.settings import NablaHub


class NoServiceToken(NablaError):
    """A service on another machine was named without its token."""

    code = "service_token_missing"
    title = "The service's token is missing"


def install(c: Config, settings: NablaHub) -> None:
    """Add the service, its pages, scopes and roles; addresses, proxy and sign-in stay.

    The spawner stays as well unless ``c.NablaHub.spawner`` is ``kubernetes``: servers are then pods
    of instance types.

    Raises
    ------
    NoServiceToken
        There is a URL and no token.
    """
    if not settings.service_token:
        raise NoServiceToken(
            "c.NablaHub.service_url names a service on another machine, and "
            "c.NablaHub.service_token is empty.",
            hint="Make one with `openssl rand -hex 32` and set it as c.NablaHub.service_token.",
        )
    hub = c.JupyterHub
    adding.add_pages(hub)
    services = [adding.service_entry(settings.service_url, settings.service_token)]
    ours = settings.spawner == "kubernetes" and settings.sandboxed_servers
    culler = settings.idle_culler or ours
    if culler:
        services.append(adding.culler_entry(settings, {}))
    adding.extend(hub, "services", services)
    adding.add_roles(hub, roles(None, culler=culler, supervised=False))
    if ours:
        _spawner(c, settings)


def _spawner(c: Config, settings: NablaHub) -> None:
    # Only here: its libraries are an extra, and slow to import.
    from nablahub_spawner.kubernetes.spawner import NablaKubeSpawner

    state = settings.state.make()
    spawner = c.NablaSpawner
    spawner.state_dir = str(state.root)
    spawner.service_url = f"{settings.service_url}/services/{SERVICE}"
    spawner.default_instance_type = settings.default_instance_type
    spawner.idle_timeout = settings.idle_timeout if settings.idle_culler else 0
    spawner.other_idle_timeout = adding.others_idle_timeout(c.JupyterHub)
    spawner.instance_types_file = settings.instance_types_file or str(state.instance_types)
    c.JupyterHub.spawner_class = NablaKubeSpawner
