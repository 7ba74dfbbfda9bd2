"""The order of imports is held by a machine: a planted upward import is found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    command = "import sys; sys.path[:0] = sys.argv[1:]; "
    command += "from importlinter.cli import lint_imports; "
    command += "sys.exit(lint_imports('pyproject.toml', no_cache=True))"
    roots = [str(root / name) for name in ("extensions", "spawner", "hub_config", "server_ext")]
    return subprocess.run(
        [sys.executable, "-P", "-c", command, *roots],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_house_stands_and_an_upward_import_turns_it_red(tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in ("extensions", "spawner", "hub_config", "server_ext"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    good = lint(tmp_path)
    assert good.returncode == 0, good.stdout
    planted = tmp_path / "extensions/nablahub/core/times.py"
    planted.write_text(planted.read_text() + "\nfrom nablahub.projects import types\n")
    bad = lint(tmp_path)
    assert bad.returncode == 1
    assert "nablahub.core is not allowed to import nablahub.projects" in bad.stdout
