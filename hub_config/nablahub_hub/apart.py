"""A hub whose service runs elsewhere, such as in a pod of its own."""

from __future__ import annotations

from traitlets.config import Config

from nablahub.core.errors import NablaError
from nablahub_hub import adding
from nablahub_hub.scopes import roles
from nablahub_hub.settings import NablaHub


class NoServiceToken(NablaError):
    """A service on another machine was named without its token."""

    code = "service_token_missing"
    title = "The service's token is missing"


def install(c: Config, settings: NablaHub) -> None:
    """Add the service, its pages, scopes and roles; addresses, proxy, sign-in and spawner stay.

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
    if settings.idle_culler:
        services.append(adding.culler_entry(settings, {}))
    adding.extend(hub, "services", services)
    adding.add_roles(hub, roles(None, culler=settings.idle_culler, supervised=False))
