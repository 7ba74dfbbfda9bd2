"""Runs the datasets' service without HTTP in a process of its own, which may kill itself.

``python -m tests.unit.datasets.child STATE VERB …``; a number in ``KILL_AT`` makes it send itself
SIGKILL at the n-th file system call or SQL statement of the verb.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from nablahub.core.extension import load
from nablahub.core.settings import Settings
from nablahub.core.state import StateDir
from nablahub.core.times import now
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import versions_of
from nablahub.service.app import Service
from nablahub.teams.store import TeamRow

EXTENSIONS = [
    load(f"nablahub.{name}.extension:extension")
    for name in ("teams", "projects", "storage", "datasets")
]
WATCHED = ("open", "os.", "shutil.")


class Countdown:
    """Counts what the process does to files and the database, and kills it in time."""

    def __init__(self, at: int) -> None:
        self.at, self.count, self.armed = at, 0, False

    def tick(self, *_: Any, **__: Any) -> None:
        """Count one act."""
        if self.armed:
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, name: str, _arguments: Any) -> None:
        """Take Python's own word for what is done to files."""
        if name.startswith(WATCHED):
            self.tick()


def make(root: Path) -> Service:
    """Build the service of a state folder."""
    state = StateDir(root).make()
    settings = Settings(
        state_dir=state.root, public_url="http://127.0.0.1:1", hub_api_url="http://127.0.0.1:1"
    )
    return Service(settings, EXTENSIONS)


def setup(service: Service) -> str:
    """Make a team with a dataset and return the dataset's id."""

    def work(session: Session) -> str:
        datasets = service.context.get(DatasetService)
        session.add(TeamRow(id="te1", kind="private", name="alice", created_at=now()))
        session.flush()
        return datasets.get_or_create(session, "te1", None, "data", "alice").id

    return service.database.write_sync(work)


def look(service: Service, dataset: str) -> dict[str, Any]:
    """Clean up as a starting service does; return what is in each version and in the store."""
    datasets = service.context.get(DatasetService)
    datasets.building.sweeping.at_start()
    service.database.write_sync(datasets.resume)
    datasets.building.collect_now("te1")
    rows = service.database.read_sync(lambda s: list(s.scalars(versions_of(dataset))))
    versions = {}
    for row in rows:
        tree = datasets.materialise(row.id)
        files = {str(p.relative_to(tree)): p for p in tree.rglob("*") if p.is_file()}
        versions[row.id] = {name: path.read_bytes().hex() for name, path in files.items()}
    objects = service.settings.state.objects
    stored = sorted(str(p.relative_to(objects)) for p in objects.rglob("*") if p.is_file())
    return {"versions": versions, "stored": stored}


def main(root: str, verb: str, *arguments: str) -> None:
    """Do one thing and print what came of it as JSON."""
    service = make(Path(root))
    countdown = Countdown(int(os.environ.get("KILL_AT", "0")))
    sys.addaudithook(countdown.audit)
    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(service.database.engine, name, countdown.tick)
    countdown.armed = True
    result: Any = None
    match verb:
        case "setup":
            result = setup(service)
        case "look":
            result = look(service, *arguments)
        case "commit":
            dataset, tree, key = arguments
            result = service.context.get(DatasetService).commit_tree(
                dataset, Path(tree), key=key, author="alice", source="run 1"
            )
        case "prune":
            gone = service.context.get(DatasetService).building.keeping.prune(0)
            result = [tree.place for tree in gone]
        case "materialise":
            result = str(service.context.get(DatasetService).materialise(arguments[0]))
    countdown.armed = False
    print(json.dumps({"result": result, "acts": countdown.count}))
    service.database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
