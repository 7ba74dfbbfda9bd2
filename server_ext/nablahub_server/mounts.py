"""Versions in ``/datasets``: there again after a restart, and told to be in use while it runs."""

from __future__ import annotations

import logging
import threading
from typing import Final

from nablahub.core.errors import NablaError
from nablahub.core.transport import Transport
from nablahub.mounts.api import MountsAPI
from nablahub.mounts.view import View
from nablahub_server.upstream import Upstream

#: The service forgets in days, not hours, that a server uses what it has mounted.
EVERY_SECONDS: Final = 3600.0
#: The service may be starting just now.
SOON_SECONDS: Final = 30.0


def keep(upstream: Upstream, log: logging.Logger) -> threading.Thread | None:
    """Show in a thread what was mounted, now and each hour; None when this server mounts nothing.

    Parameters
    ----------
    upstream
        The service.
    log
        Told what could not be mounted.
    """
    if View.here() is None or not upstream.url:
        return None
    thread = threading.Thread(target=_keep, args=(upstream, log), name="mounts", daemon=True)
    thread.start()
    return thread


def _keep(upstream: Upstream, log: logging.Logger) -> None:
    asleep = threading.Event()
    while True:
        wait = EVERY_SECONDS
        hub = Transport(upstream.url, upstream.token)
        try:
            for problem in MountsAPI(hub).restore():
                log.warning("NablaHub: %s", problem)
        except (NablaError, OSError) as error:
            log.warning("NablaHub: what was mounted is not known yet: %s", error)
            wait = SOON_SECONDS
        finally:
            hub.close()
        asleep.wait(wait)
