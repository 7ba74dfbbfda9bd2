"""The service in a process of its own, told by lines what to do.

Each line on its input is a JSON list of a verb and its arguments; each answer is a line of JSON.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from nablahub.core.errors import NablaError
from nablahub.core.s3 import S3Store
from nablahub.core.times import now
from nablahub.datasets import garbage, uploads
from nablahub.datasets.building import Building
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import DatasetRow, GarbageRow, UploadRow, VersionRow
from tests.crash.data.acts import Countdown
from tests.support.service import RunningService
from tests.unit.datasets.hub import EXTENSIONS


class Commands:
    """What the harness may ask for, beside the API."""

    def __init__(self, service: RunningService, countdown: Countdown) -> None:
        self._countdown = countdown
        self._datasets = service.service.context.get(DatasetService)
        self._settings = service.settings

    @property
    def _building(self) -> Building:
        return self._datasets.building

    def arm(self, at: int) -> None:
        """Be killed at an act; 0: only count."""
        self._countdown.arm(at)

    def count(self) -> int:
        """Return how many acts there were."""
        return self._countdown.disarm()

    def materialise(self, version: str) -> str:
        """Make the tree of a version."""
        return str(self._datasets.materialise(version))

    def purge(self, dataset: str) -> bool:
        """Let the day of a dataset's condemned versions come, and take them away."""

        def work(session: Session) -> None:
            rows = session.scalars(select(VersionRow).filter_by(dataset_id=dataset))
            for row in rows:
                if row.purge_at is not None:
                    row.purge_at = now() - timedelta(seconds=1)

        self._building.write(work)
        left = self._building.purge(dataset)
        self._building.collect_now(self._space(dataset))
        return left

    def _space(self, dataset: str) -> str:
        return self._building.read(lambda s: s.get_one(DatasetRow, dataset).space)

    def clear(self, dataset: str) -> dict[str, list[str]]:
        """Give up a dataset's uploads, sweep, and return what no row refers to then."""
        space = self._space(dataset)

        def end(session: Session) -> None:
            for row in session.scalars(select(UploadRow).filter_by(dataset_id=dataset)).all():
                uploads.end(session, space, row)

        self._building.write(end)
        self._building.sweeping.remote(space, now() + timedelta(minutes=1))
        self._building.collect_now(space)
        store = self._datasets.store(space)
        lost = self._building.read(partial(garbage.orphans, store=store, team_id=space))
        if isinstance(store, S3Store):
            lost += [f"begun {begun.key}" for begun in store.transfers.begun()]
        else:
            lost += list(store.keys(".writing"))
        parts = self._datasets.parts(space).root
        lost += [str(file) for file in parts.rglob("*") if file.is_file()]
        rows = self._building.read(lambda s: list(s.scalars(select(GarbageRow.name))))
        return {"lost": lost, "waiting": rows}


def main(state: str, settings: str) -> None:
    """Serve until the input ends."""
    countdown = Countdown()
    for name in ("put", "read", "size", "remove_all", "adopt", "create"):
        setattr(S3Store, name, countdown.around(getattr(S3Store, name)))
    service = RunningService(Path(state), EXTENSIONS, **json.loads(settings)).start()
    engine = service.service.database.engine
    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(engine, name, countdown.tick)
    commands = Commands(service, countdown)
    print("null", flush=True)
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        try:
            answer = getattr(commands, verb)(*arguments)
        except NablaError as error:  # A store that is away, mostly.
            answer = {"refused": str(error)}
        print(json.dumps(answer), flush=True)
    service.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
