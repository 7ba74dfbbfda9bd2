"""The pages build without a warning; what they promise of files and targets is there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md",
    *sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts),
]  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.timeout(600)
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d",
         str(tmp_path / "trees"), str(DOCS), str(tmp_path / "html")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    built = {p.relative_to(tmp_path / "html").with_suffix(".md") for p in tmp_path.rglob("*.html")}
    assert {p.relative_to(DOCS) for p in PAGES if p.is_relative_to(DOCS)} <= built
    assert "<title id=" in (tmp_path / "html" / "architecture.html").read_text()


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_to_files_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file = target.partition("#")[0]
        if file and "://" not in file:
            assert (path.parent / file).exists(), f"{path.name} links to {target}"


def test_the_readme_lists_the_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*?## ", (ROOT / "Makefile").read_text(), re.M))
    told = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert targets - {"help"} == told - {"help"}


def test_the_picture_says_in_words_what_it_shows() -> None:
    root = ElementTree.parse(DOCS / "architecture.svg").getroot()
    named = root.attrib["aria-labelledby"].split()
    words = {e.attrib["id"]: e.text or "" for e in root if e.tag in (f"{SVG}title", f"{SVG}desc")}
    assert root.attrib["role"] == "img"
    assert all(len(words[name]) > 10 for name in named)


def test_the_changelog_tells_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "CHANGELOG.md").read_text()
    heading = "Unreleased" if ".dev" in project["version"] else project["version"]
    (section,) = re.findall(
        rf"^## \[{re.escape(heading)}\].*?\n(.*?)(?=^## |\Z)", text, re.M | re.S
    )
    assert re.search(r"^- ", section, re.M)
