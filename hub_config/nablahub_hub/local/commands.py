"""``nablahub up``, ``down``, ``status`` and ``doctor``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import webbrowser
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console

from nablahub.core import console
from nablahub.core.environments import Environments
from nablahub.core.errors import NablaError
from nablahub.core.pids import gone, send
from nablahub.core.settings import Settings
from nablahub.core.state import StateDir, default_state_dir
from nablahub_hub import links
from nablahub_hub.local import doctor as checks
from nablahub_hub.local import leftovers, lock, overview
from nablahub_hub.local.builds import tell_builds
from nablahub_hub.local.config import LocalConfig
from nablahub_hub.local.options import Options
from nablahub_hub.local.place import is_named, refuse_inside_server
from nablahub_hub.local.supervisor import Supervisor, end_orphans, until_told

#: Seconds a second ``up`` waits for the first to be ready, and ``down`` for it to end.
ATTACH_PATIENCE = 120.0
DOWN_PATIENCE = 90.0


class NotRunning(NablaError):
    """No hub runs for that state directory."""

    code = "not_running"
    title = "No hub runs"


def state_option[F: Callable[..., Any]](function: F) -> F:
    """Add ``--state-dir``, handed over as ``state``."""
    return click.option(
        "--state-dir",
        "state",
        type=click.Path(file_okay=False, path_type=Path),
        default=None,
        help="Folder that holds everything the hub keeps.  [default: ~/.local/share/nablahub]",
        callback=lambda _ctx, _param, value: StateDir(
            value.expanduser().absolute() if value else default_state_dir()
        ),
    )(function)


def port_option[F: Callable[..., Any]](function: F) -> F:
    """Add ``--port``."""
    return click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=None,
        help="Public port; 0 takes any free one.  "
        "[default: the configuration's, else the last one, else 8000]",
    )(function)


def unsandboxed_option[F: Callable[..., Any]](function: F) -> F:
    """Add ``--unsandboxed``."""
    return click.option(
        "--unsandboxed",
        is_flag=True,
        help="Let servers and jobs run without a sandbox where there is none, knowingly.",
    )(function)


def cluster_options[F: Callable[..., Any]](function: F) -> F:
    """Add ``--runner`` and ``--advertise``."""
    for option in (
        click.option(
            "--advertise",
            metavar="ADDRESS",
            default=None,
            help="IPv4 address of this machine at which a cluster's pods reach it.",
        ),
        click.option(
            "--runner",
            type=click.Choice(["process", "kubernetes"]),
            default=None,
            help="What runs servers and jobs: processes of this machine, or the pods of the "
            "cluster that KUBECONFIG names (with --advertise).",
        ),
    ):
        function = option(function)
    return function


def config_option[F: Callable[..., Any]](function: F) -> F:
    """Add ``--config``."""
    return click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        default=None,
        help="A jupyterhub_config.py of your own that calls nablahub_hub.install(c).",
    )(function)


@click.command()
@state_option
@port_option
@unsandboxed_option
@config_option
@cluster_options
@click.option("--open", "open_browser", is_flag=True, help="Open the sign-in link in a browser.")
@console.json_option
@console.guarded
def up(state: StateDir, *, open_browser: bool, as_json: bool, **given: Any) -> None:
    """Bring the hub up and keep it up until Ctrl-C.

    A second `up` of the same state directory prints a sign-in link to the first.
    """
    refuse_inside_server(state)
    options = Options(**given, named=is_named())
    make(state)
    with lock.held(state) as mine:
        if mine:
            asyncio.run(_supervise(state, options, open_browser=open_browser, as_json=as_json))
            return
    told = asyncio.run(attach(state))
    local = LocalConfig.load(state)
    link = links.make(state, told["url"], local.owner) if local and told["links"] else None
    _tell(told["url"], link, state, as_json=as_json, attached=True, pid=told["pid"])
    if open_browser:
        webbrowser.open(link or told["url"])


@click.command()
@state_option
@console.json_option
@console.guarded
def down(state: StateDir, *, as_json: bool) -> None:
    """End every process of the hub: its own, its users' servers and its jobs."""
    refuse_inside_server(state)
    ended = asyncio.run(_down(state))
    if as_json:
        console.emit_json({"state_dir": str(state.root), "was_running": ended})
    else:
        console.stderr().print("The hub is down." if ended else "No hub was running.")


@click.command()
@state_option
@console.json_option
@console.guarded
def status(state: StateDir, *, as_json: bool) -> None:
    """Show what of the hub runs (exit code 1 when it is not up)."""
    refuse_inside_server(state)
    found = overview.look(state)
    if as_json:
        console.emit_json(found)
    else:
        overview.show(found)
    if not found["running"]:
        sys.exit(console.EXIT_FAILED)


@click.command()
@state_option
@port_option
@config_option
@cluster_options
@console.json_option
@console.guarded
def doctor(state: StateDir, port: int | None, *, as_json: bool, **given: Any) -> None:
    """Look for what is missing on this machine, and say what to do about it.

    With the words of `up` that name a cluster it looks at that as well.
    """
    refuse_inside_server(state)
    found = checks.examine(state, port)
    options = Options(**given, named=is_named())
    found += asyncio.run(checks.examine_cluster(state, options, Voice().say))
    if as_json:
        console.emit_json({"ok": all(c.ok for c in found), "checks": [vars(c) for c in found]})
    else:
        checks.show(found)
    if not all(check.ok for check in found):
        sys.exit(console.EXIT_FAILED)


def make(state: StateDir) -> None:
    """Make the state directory; says so when it cannot be."""
    try:
        state.make()
    except OSError as error:
        raise NablaError(
            f"The state directory {state.root} cannot be used: {error.strerror}.",
            hint="Choose another one with --state-dir.",
        ) from error


async def attach(state: StateDir) -> dict[str, Any]:
    """Return what the running ``up`` tells, once it is ready."""
    for _ in range(int(ATTACH_PATIENCE / 0.1)):
        told = lock.holder(state)
        if told and "url" in told:
            return told
        if not lock.is_held(state):
            break
        await asyncio.sleep(0.1)
    raise NotRunning(
        f"Another `nablahub up` of {state.root} was starting and did not come up.",
        hint=f"See {state.logs}, then run `nablahub up` again.",
    )


class Voice(Console):
    """Tells people on stderr what ``up`` does; that nobody reads it is no reason to end."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False)

    def say(self, *words: str) -> None:
        """Print a sentence."""
        with suppress(OSError):  # a terminal that is gone, a full disk
            self.print(*words, markup=False)

    def on_broken_pipe(self) -> None:
        """Say nothing any more, where rich would end the program."""
        self.quiet = True
        _mute(sys.stderr)


def _mute(stream: TextIO) -> None:
    """Let a stream lead nowhere: what it holds back would fail again when the program ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


@contextmanager
def starting(out: Voice) -> Any:
    """Show the parts as they come up; yields what is told the name of each."""
    names = {"traefik": "Traefik", "hub": "JupyterHub", "service": "the NablaHub service"}
    with console.progress() as bar:
        task = bar.add_task("Starting Traefik, JupyterHub, the service", total=len(names))

        def started(name: str) -> None:
            bar.update(task, advance=1, description=f"{names[name]} answers")
            if not out.is_terminal:
                out.say(f"{names[name]} answers.")

        yield started


async def _supervise(
    state: StateDir, options: Options, *, open_browser: bool, as_json: bool
) -> None:
    out = Voice()
    supervisor = Supervisor(state, options, say=out.say)
    told = asyncio.create_task(until_told())
    await asyncio.sleep(0)  # the signal handlers are set before anything is started
    try:
        with starting(out) as started:
            start = asyncio.create_task(supervisor.start(started))
            await asyncio.wait([start, told], return_when=asyncio.FIRST_COMPLETED)
            if not start.done():
                start.cancel()
                await asyncio.gather(start, return_exceptions=True)
                return
            await start
        link = supervisor.sign_in_link()
        _tell(
            supervisor.public_url,
            link,
            state,
            as_json=as_json,
            pid=os.getpid(),
            seconds=supervisor.seconds,
        )
        if open_browser:
            webbrowser.open(link or supervisor.public_url)
        built = Environments(Settings.load(state.settings).environments)
        builds = asyncio.create_task(tell_builds(built, out.say))
        await told
        builds.cancel()
        out.say("Ending everything …")
    finally:
        told.cancel()
        await supervisor.stop()
    out.say("All of it has ended.")


def _tell(url: str, link: str | None, state: StateDir, *, as_json: bool, **more: Any) -> None:
    out = Voice()
    try:
        if as_json:
            told = {"url": url, "sign_in": link, "state_dir": str(state.root), **more}
            console.emit_json(told)
            sys.stdout.flush()
            return
        took = f" after {more['seconds']:.1f} s" if "seconds" in more else ""
        out.say(f"NablaHub is up{took}: {url}")
        if link is not None:
            out.say("Sign in by this link (works once, for ten minutes):")
            click.echo(link)
        if not more.get("attached"):
            out.say("Ctrl-C ends everything. Logs:", str(state.logs))
    except OSError:  # nobody reads stdout
        _mute(sys.stdout)


async def _down(state: StateDir) -> bool:
    holder = lock.holder(state)
    if holder is not None:
        send(holder["pid"], signal.SIGTERM)
        if not await gone(holder["pid"], DOWN_PATIENCE):
            raise NablaError(
                f"`nablahub up` (process {holder['pid']}) did not end within "
                f"{DOWN_PATIENCE:.0f} seconds.",
                hint=f"Look at {state.logs}; `kill -9 {holder['pid']}` and `nablahub down` again.",
            )
    local = LocalConfig.load(state)
    if local is None:
        return holder is not None
    with lock.held(state) as mine:
        if not mine:
            return holder is not None  # somebody has just brought it up again
        orphans = await end_orphans(state, local)
        await leftovers.end_all(state, local.session)
    return holder is not None or orphans
