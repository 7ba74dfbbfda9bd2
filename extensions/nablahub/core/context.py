"""What every service is built from."""

from __future__ import annotations

import functools
from typing import Any, cast

from nablahub.core.database import Database
from nablahub.core.events import EventBus
from nablahub.core.instances import LiveCatalogue, Machine
from nablahub.core.lease import Lease
from nablahub.core.reconcile import Reconciler
from nablahub.core.settings import Settings


class Context:
    """Settings, database, lease, events, reconciler, instance types, and the services built so far.

    Parameters
    ----------
    settings : Settings
        What the service was told.
    database : Database
        Its only database.
    address : str
        Where other processes of the service reach this one.
    """

    def __init__(self, settings: Settings, database: Database, address: str = "") -> None:
        self.settings = settings
        self.database = database
        self.lease = Lease(database, address)
        self.events = EventBus(database, keep=settings.event_retention)
        self.reconciler = Reconciler(self.lease)
        self.instances = LiveCatalogue(settings.instance_types, settings.state.kept_instance_types)
        self._services: dict[type[Any], Any] = {}

    @functools.cached_property
    def machine(self) -> Machine | None:
        """The machine that jobs run on; None for a cluster, which decides itself what fits."""
        return None if self.settings.runner == "kubernetes" else Machine.detect()

    def get[T](self, kind: type[T]) -> T:
        """Return the service of that class; KeyError when its extension is not installed."""
        return cast("T", self._services[kind])

    def add(self, service: object) -> None:
        """Make a service known by its class; ValueError when there is one already."""
        if type(service) in self._services:
            raise ValueError(f"{type(service).__name__} was built twice")
        self._services[type(service)] = service

    @property
    def services(self) -> list[Any]:
        """All services, in the order they were built in."""
        return list(self._services.values())
