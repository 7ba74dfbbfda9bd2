"""``nablahub demo``."""

from __future__ import annotations

import asyncio
import shlex
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any

import click

from nablahub.client import connect
from nablahub.core import console
from nablahub.core.errors import NablaError
from nablahub.core.state import StateDir, default_state_dir
from nablahub_hub import links
from nablahub_hub.demo.report import Report
from nablahub_hub.demo.showcase import Result, Showcase
from nablahub_hub.local import lock
from nablahub_hub.local.commands import (
    Voice,
    attach,
    cluster_options,
    config_option,
    make,
    port_option,
    starting,
    state_option,
    unsandboxed_option,
)
from nablahub_hub.local.config import LocalConfig
from nablahub_hub.local.options import Options
from nablahub_hub.local.place import is_named, refuse_inside_server
from nablahub_hub.local.supervisor import Supervisor, until_told


class Interrupted(BaseException):
    """Ctrl-C, or SIGTERM, while the demo worked."""


@click.command()
@state_option
@port_option
@unsandboxed_option
@config_option
@cluster_options
@click.option("--exit", "leave", is_flag=True, help="Go down again at the end.")
@console.json_option
@console.guarded
def demo(state: StateDir, *, leave: bool, as_json: bool, **given: Any) -> None:
    """Bring the hub up and run the showcase: from files to a served prediction.

    A second demo goes on where the first left off. The hub stays up until Ctrl-C.
    """
    refuse_inside_server(state)
    make(state)
    options = Options(**given, next_free=True, named=is_named())
    with lock.held(state) as mine:
        if mine:
            code = asyncio.run(_own_hub(state, options, leave=leave, as_json=as_json))
        else:
            code = asyncio.run(_running_hub(state, as_json=as_json))
    sys.exit(code)


async def _own_hub(state: StateDir, options: Options, *, leave: bool, as_json: bool) -> int:
    """Bring a hub up, run the showcase on it, and stay."""
    out = Voice()
    report = Report(out)
    supervisor = Supervisor(state, options, say=out.say)
    told = asyncio.create_task(until_told())
    await asyncio.sleep(0)  # the signal handlers are set before anything is started
    try:
        with starting(out) as started:
            await _unless(told, supervisor.start(started))
        report.seconds["up"] = round(supervisor.seconds, 3)
        _show_link(supervisor.public_url, supervisor.sign_in_link())
        code = await _unless(told, _show(state, supervisor.public_url, report, as_json))
        if not leave:
            if code == 0:
                _show_ways_in(state, supervisor.config.owner, supervisor.sign_in_link())
            out.print("The hub stays up until Ctrl-C.")
            await told
    except Interrupted:
        code = console.EXIT_INTERRUPTED
    finally:
        told.cancel()
        out.print("Ending everything …")
        await supervisor.stop()
    return code


async def _running_hub(state: StateDir, *, as_json: bool) -> int:
    """Run the showcase on the hub that another ``up`` or ``demo`` keeps."""
    holder = await attach(state)
    local = LocalConfig.load(state)

    def link() -> str | None:
        return links.make(state, holder["url"], local.owner) if local and holder["links"] else None

    _show_link(holder["url"], link())
    told = asyncio.create_task(until_told())
    await asyncio.sleep(0)
    try:
        code = await _unless(told, _show(state, holder["url"], Report(console.stderr()), as_json))
        if local is not None and code == 0:
            _show_ways_in(state, local.owner, link())
        return code
    except Interrupted:
        return console.EXIT_INTERRUPTED
    finally:
        told.cancel()


async def _unless[T](told: asyncio.Task[None], work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns; raises Interrupted when the user ends it first."""
    task = asyncio.create_task(work)
    await asyncio.wait([task, told], return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise Interrupted
    return await task


async def _show(state: StateDir, url: str, report: Report, as_json: bool) -> int:
    """Run the showcase, print what came of it and return the exit code."""
    out = console.stderr()

    def work() -> Result:
        with connect(state=state) as hub:
            return Showcase(hub, state, url, report).run()

    try:
        result = await _in_daemon(work)
    except NablaError as error:
        console.emit_error(error, as_json=as_json)
        return console.EXIT_FAILED
    if as_json:
        console.emit_json(asdict(result))
        sys.stdout.flush()
    else:
        out.print(f"  {'endpoint':<10} {result.endpoint}", markup=False, soft_wrap=True)
        out.print(f"The model says: it is a {result.prediction['label'][0]}.", markup=False)
        for name, link in result.urls.items():
            out.print(f"  {name:<10} {link}", markup=False, soft_wrap=True)
    return 0


async def _in_daemon[T](work: Callable[[], T]) -> T:
    """Run blocking work in a thread that does not keep the process when it is interrupted."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # there is one when there is no error

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed to the loop, which raises it
            failure = error
        loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, daemon=True, name="showcase").start()
    return await done


def _show_link(url: str, link: str | None) -> None:
    out = console.stderr()
    out.print(f"NablaHub is up: {url}", markup=False)
    if link is None:
        return
    out.print("Sign in by this link (works once, for ten minutes):", markup=False)
    out.print(link, markup=False, soft_wrap=True)


def _show_ways_in(state: StateDir, owner: str, link: str | None) -> None:
    """Say how to sign in, after all the links that need it: the first one may be spent or old."""
    if link is None:
        return
    out = console.stderr()
    words = ["nablahub", "up"]
    if state.root != default_state_dir():
        words += ["--state-dir", str(state.root)]
    for line in (
        "To open these, sign in first by this link (works once, for ten minutes):",
        link,
        f"Another one: `{shlex.join(words)}` in another shell. Or sign in as {owner}",
        f"with the password in {state.secrets / 'admin_password'}.",
    ):
        out.print(line, markup=False, soft_wrap=True)
