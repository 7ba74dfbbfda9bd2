"""Client, service or S3 is killed at seeded moments of whatever is done with data.

A seed stands for an operation, a victim and a moment: ``pytest tests/crash/data -m '' -k
'killed[57]'`` repeats that of seed 57. The moment is an act of the victim (see
:mod:`tests.crash.data.acts`), for the S3 a request, drawn among those that the operation took when
nobody was killed.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.crash.data.cases import OPERATIONS, Case, Moment, clean, moment
from tests.crash.data.stand import Stand, standing
from tests.unit.datasets.builders import read

SLOW = range(136)
#: The service, during a commit.
ALWAYS = (13,)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("stand")) as made:
        yield made


class Acts:
    """How many acts of whom an operation takes, counted when it is first needed.

    Parameters
    ----------
    folder : pathlib.Path
        Where processes that run tests side by side tell each other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, stand: Stand, found: Moment) -> dict[str, int]:
        """Return the acts of client, service and S3."""
        file = self._folder / f"{found.operation}-{found.kind}.json"
        if not file.exists():
            counted = measure(stand, found)
            made = Path(tempfile.mkstemp(dir=self._folder)[1])
            made.write_text(json.dumps(counted))
            made.replace(file)
        counts: dict[str, int] = json.loads(file.read_text())
        return counts


@pytest.fixture(scope="module")
def acts(tmp_path_factory: pytest.TempPathFactory) -> Acts:
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "acts"
    folder.mkdir(exist_ok=True)
    return Acts(folder)


def make(stand: Stand, found: Moment, random: Random) -> Case:
    folder = Path(tempfile.mkdtemp("", f"{found.seed}-", stand.root))
    made = OPERATIONS[found.operation][0](stand, found.kind, random, folder)
    made.prepare()
    return made


def measure(stand: Stand, found: Moment) -> dict[str, int]:
    """Do it undisturbed and return how many acts there were of client, service and S3."""
    case = make(stand, found, Random(found.operation))
    service = stand.service(found.kind)
    service.ask("arm", 0)
    stand.store.arm(0)
    done = case.act()
    assert done.code == 0, done.said
    counted = {
        "client": done.said.get("acts", 0), "service": service.ask("count"),
        "s3": stand.store.count(),
    }  # fmt: skip
    finished(case)
    return counted


def trees(case: Case) -> list[dict[str, bytes]]:
    """Read every version that is seen, by a client that has nothing, byte for byte."""
    found = []
    for version in sorted(case.api.versions(case.dataset), key=lambda v: v.number):
        target = Path(tempfile.mkdtemp(dir=case.folder)) / "back"
        case.api.download(version.id, target)
        found.append(read(target))
    return found


def finished(case: Case) -> None:
    """Everything is there, whole and well, and nothing else is kept."""
    case.check()
    found = trees(case)
    for files in case.final:
        assert files in found
    assert all(files in case.allowed for files in found)
    if len(case.final) > 1 or len(case.allowed) == 1:
        assert len(found) >= len(case.final)
    for version in case.api.versions(case.dataset):
        verified = case.api.verify(version.id)
        assert verified.done
        assert verified.damaged == []
    left = case.stand.service(case.kind).insist("clear", case.dataset)
    assert left == {"lost": [], "waiting": []}
    assert trees(case) == found
    case.api.delete(case.dataset)
    clean(case.folder)


def parts_sent_twice(stand: Stand, mark: int) -> list[str]:
    """Which parts of which objects arrived more than once."""
    arrived = Counter(
        (part.key, part.query["uploadId"][0], part.query["partNumber"][0])
        for part in stand.store.since(mark)
        if part.is_part and part.status == 200
    )
    return [f"{key} part {number}" for (key, _, number), times in arrived.items() if times > 1]


def packs_sent_twice(case: Case, mark: int) -> list[str]:
    """Which packs the service took more than once."""
    taken = Counter(
        put.key
        for put in case.stand.service(case.kind).gate.since(mark)
        if put.method == "PUT" and "/packs/" in put.key and put.status == 204
    )
    return [key for key, times in taken.items() if times > 1]


@pytest.mark.parametrize(
    "seed",
    [pytest.param(s, marks=[] if s in ALWAYS else pytest.mark.slow, id=str(s)) for s in SLOW],
)
def test_killed(stand: Stand, acts: Acts, seed: int) -> None:
    found = moment(seed)
    count = max(acts.of(stand, found)[found.victim], 1)
    random = Random(seed)
    at = random.randint(1, count)
    print(f"seed {found}: act {at} of {count}")
    case = make(stand, found, random)
    service = stand.service(found.kind)
    deaths, kills = service.deaths, stand.kills
    stored, passed = len(stand.store.passed), len(service.gate.passed)
    if found.victim == "service":
        service.ask("arm", at)
    elif found.victim == "s3":
        stand.store.arm(at, stand.kill_s3, after=random.random() < 0.5)
    done = case.act(at if found.victim == "client" else 0)
    print(f"ended with {done}, {service.deaths - deaths} + {stand.kills - kills} killed")
    if found.victim == "service":
        service.insist("count")
    stand.store.count()
    stand.revived()
    assert all(files in case.allowed for files in trees(case))
    for _ in range(3):  # An answer that was lost with the victim is asked for again.
        done = case.act()
        if done.code == 0:
            break
    assert done.code == 0, done.said
    finished_after(case, stored, passed)


def finished_after(case: Case, stored: int, passed: int) -> None:
    """As :func:`finished`, and nothing was sent again that had arrived."""
    assert parts_sent_twice(case.stand, stored) == []
    assert packs_sent_twice(case, passed) == []
    finished(case)
