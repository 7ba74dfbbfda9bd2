"""Numbers for Prometheus, on a port of their own: they are not for everybody who has an account."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session
from tornado import web

from nablahub.core.errors import NablaError

if TYPE_CHECKING:
    from nablahub.core.context import Context

#: What a request is counted under that no operation answers.
NO_ROUTE = "none"


@runtime_checkable
class Counts(Protocol):
    """A service that can say how many of its things are in which state."""

    def count_states(self, session: Session) -> Mapping[str, Mapping[str, int]]:
        """Return state → number, by the plural noun, such as ``runs``."""
        ...


class Metrics:
    """What is measured of one process.

    Parameters
    ----------
    context : Context
        Its services, its database, its reconciler.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._requests = Counter(
            "nablahub_requests", "Requests answered", ("method", "route", "code"),
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "nablahub_request_seconds", "Time until a request was answered, streams left out",
            ("method", "route"), registry=self._registry,
        )  # fmt: skip
        self._states: Mapping[str, Mapping[str, int]] | None = None
        self._registry.register(_Now(self))

    def answered(self, method: str, route: str, code: int, seconds: float | None) -> None:
        """Count a request; ``seconds`` is None for a stream, whose length tells nothing."""
        self._requests.labels(method, route, str(code)).inc()
        if seconds is not None:
            self._seconds.labels(method, route).observe(seconds)

    async def text(self) -> bytes:
        """Return the page that Prometheus reads.

        Where the database does not answer, what is counted in it is left out.
        """
        try:
            self._states = await self._context.database.read(self._count)
        except NablaError:
            self._states = None
        return await asyncio.to_thread(generate_latest, self._registry)

    def _count(self, session: Session) -> dict[str, Mapping[str, int]]:
        counts = (s.count_states(session) for s in self._context.services if isinstance(s, Counts))
        return {noun: states for found in counts for noun, states in found.items()}

    def now(self) -> Iterable[GaugeMetricFamily]:
        """Yield what is looked up when it is asked for."""
        reconciler = self._context.reconciler
        for name, words, value in (
            ("leader", "Whether this process leads", self._context.lease.held),
            ("database_up", "Whether the database answers", self._states is not None),
            ("reconcile_lag_seconds", "How long the next step has been waiting", reconciler.lag),
            ("reconcile_waiting", "Steps that wait for their turn", reconciler.waiting),
        ):
            yield GaugeMetricFamily(f"nablahub_{name}", words, value=float(value))
        for noun, states in (self._states or {}).items():
            family = GaugeMetricFamily(
                f"nablahub_{noun}", f"The {noun} there are", labels=["state"]
            )
            for state, number in states.items():
                family.add_metric([state], number)
            yield family

    def application(self) -> web.Application:
        """Return what answers on the port of the metrics."""
        metrics = self

        class Page(web.RequestHandler):
            async def get(self) -> None:
                self.set_header("Content-Type", CONTENT_TYPE_LATEST)
                self.finish(await metrics.text())

        return web.Application([("/metrics", Page)], log_function=lambda _: None)


class _Now(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._metrics.now()

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: what is counted is not known before it is."""
        return ()
