"""The wheel holds what it must, and runs in an empty environment outside the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
import uv

ROOT = Path(__file__).resolve().parents[2]
ROOTS = {
    "nablahub": "extensions",
    "nablahub_spawner": "spawner",
    "nablahub_hub": "hub_config",
    "nablahub_server": "server_ext",
}
BUILT_LAB = ROOT / "labextension/nablahub_lab/labextension"
DATA = "data/share/jupyter/labextensions/@nablahub/lab"


def clean_environment() -> dict[str, str]:
    """Return an environment that knows nothing of the checkout but where jobs' environments are."""
    dropped = ("PYTHON", "NABLAHUB_", "JUPYTER", "VIRTUAL_ENV", "PIP_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    if "NABLAHUB_ENVIRONMENTS_DIR" in os.environ:
        env["NABLAHUB_ENVIRONMENTS_DIR"] = os.environ["NABLAHUB_ENVIRONMENTS_DIR"]
    env["UV_COMPILE_BYTECODE"] = "1"
    return env


def build(source: Path, kind: str) -> Path:
    """Build a ``wheel`` or an ``sdist`` of a tree and return the file."""
    out = source / f"{kind}s"
    done = subprocess.run(
        [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(out), "."],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy: the checkout is left alone, and old build folders out."""
    assert BUILT_LAB.is_dir(), "`make lab` builds the Lab extension first"
    source = tmp_path_factory.mktemp("source") / "the tree"
    ignore = shutil.ignore_patterns("__pycache__", "node_modules", "*.egg-info", "src")
    for name in (*ROOTS.values(), "labextension"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    return build(source, "wheel")


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_file_of_the_packages_is_in_it(names: set[str]) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--", *(f"{root}/{name}" for name, root in ROOTS.items())],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tracked.returncode == 0 and tracked.stdout:
        files = tracked.stdout.splitlines()
    else:  # a tree without git
        files = [
            p.relative_to(ROOT).as_posix()
            for name, root in ROOTS.items()
            for p in (ROOT / root / name).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts
        ]
    expected = {path.split("/", 1)[1] for path in files if (ROOT / path).exists()}
    assert "nablahub/projects/migrations/projects_0001.py" in expected
    assert "nablahub/core/locks/default.txt" in expected
    assert sorted(expected - names) == []


def test_it_holds_the_lab_extension_and_its_switch(names: set[str]) -> None:
    inside = {name.partition(".data/")[2] for name in names if ".data/" in name}
    lab = {p.relative_to(BUILT_LAB).as_posix() for p in BUILT_LAB.rglob("*") if p.is_file()}
    assert "package.json" in lab
    assert sorted({f"{DATA}/{path}" for path in lab} - inside) == []
    assert "data/etc/jupyter/jupyter_server_config.d/nablahub_server.json" in inside


def test_it_holds_nothing_else(names: set[str]) -> None:
    tops = {name.partition("/")[0].partition("-")[0] for name in names}
    assert tops == set(ROOTS)
    strange = [
        n for n in names if "test" in n.lower().split("/")[1] or n.endswith((".pyc", ".sqlite"))
    ]
    assert not strange
    for package in ROOTS:
        assert f"{package}/py.typed" in names


def test_an_sdist_makes_the_same_wheel(wheel: Path, names: set[str], tmp_path: Path) -> None:
    shutil.unpack_archive(build(wheel.parents[1], "sdist"), tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    with zipfile.ZipFile(build(tree, "wheel")) as archive:
        again = set(archive.namelist())
    assert sorted(names ^ again) == []


def test_its_metadata_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(info).decode())
        entries = archive.read(info.replace("METADATA", "entry_points.txt")).decode()
    extras = set(metadata.get_all("Provides-Extra") or [])
    assert {"hub", "server", "serving", "kubernetes", "dev"} <= extras
    assert metadata["License-Expression"] == "BSD-3-Clause"
    light = {
        line.partition(">")[0]
        for line in metadata.get_all("Requires-Dist") or []
        if "extra ==" not in line
    }
    assert light == {"click", "httpx", "pathspec", "pydantic", "rich", "ruamel.yaml"}
    assert "nablahub = nablahub.cli:main" in entries
    for line in ("projects = nablahub.projects.extension:extension", "local = nablahub_hub."):
        assert line in entries


def install(environment: Path, what: str) -> Path:
    """Make an environment with one distribution in it and return its folder of programs."""
    tool, env = uv.find_uv_bin(), clean_environment()
    base = getattr(sys, "_base_executable", sys.executable)
    for words in (
        ["venv", "--python", base, str(environment)],
        ["pip", "install", "--python", str(environment / "bin" / "python"), what],
    ):
        done = subprocess.run(
            [tool, "-q", *words], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return environment / "bin"


def test_the_light_client_starts_without_the_hubs_libraries(wheel: Path, tmp_path: Path) -> None:
    programs = install(tmp_path / "light", str(wheel))
    env = {**clean_environment(), "HOME": str(tmp_path)}
    helped = subprocess.run(
        [programs / "nablahub", "--help"], cwd=tmp_path, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert helped.returncode == 0, helped.stderr
    assert "workflows" in helped.stdout
    for noun in ("projects", "datasets", "models", "jobs", "workflows", "deployments"):
        asked = subprocess.run(
            [programs / "nablahub", noun, "list", "--json"], cwd=tmp_path, env=env,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert asked.returncode == 1, asked.stderr
        assert asked.stdout, asked.stderr
        assert json.loads(asked.stdout)["error"]["code"] == "no_hub"
    started = subprocess.run(
        [programs / "nablahub", "up", "--port", "0"], cwd=tmp_path, env=env, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert started.returncode == 1
    assert "pip install 'nablahub[hub]'" in started.stderr
    assert "Traceback" not in started.stderr


@pytest.mark.hub
@pytest.mark.timeout(1800)
def test_the_demo_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    programs = install(tmp_path / "an environment", f"{wheel}[hub,server]")
    state = tmp_path / "its state"
    env = {**clean_environment(), "HOME": str(tmp_path)}
    done = subprocess.run(
        [programs / "nablahub", "demo", "--exit", "--json", "--state-dir", str(state), "--port",
         "0"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    wanted = {
        "project", "dataset_version", "run", "output_version", "model_version", "deployment",
        "endpoint", "prediction", "urls", "seconds",
    }  # fmt: skip
    assert wanted <= set(told)
    assert told["prediction"] is not None
    assert str(ROOT) not in done.stdout
