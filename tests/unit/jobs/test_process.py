"""What the process runner does beyond the contract: limits without cgroups, going unsandboxed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import (
    Mount,
    Resources,
    TaskName,
    TaskRefused,
    TaskSpec,
    TaskStatus,
)
from nablahub.jobs.runners.process import launcher, limits, procfs
from nablahub.jobs.runners.process.launch import least_used
from nablahub.jobs.runners.process.ports import free_port
from nablahub.jobs.runners.process.runner import ProcessRunner
from tests.contract.places import Layout, ProcessPlace, Watcher, kill_and_wait

ONE = TaskName("jone")


class Unsandboxed(ProcessPlace):
    """A runner that goes without bubblewrap, knowingly."""

    def _new(self) -> ProcessRunner:
        run, jobs = self.root / "run", self.root / "jobs"
        return ProcessRunner(jobs, run, Layout(self.root), unsandboxed=True)


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[Unsandboxed]:
    made = Unsandboxed(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[ProcessPlace]:
    made = ProcessPlace(tmp_path)
    yield made
    await made.close()


def shell(script: str, **more: object) -> TaskSpec:
    return TaskSpec.model_validate({"name": ONE, "command": ("sh", "-c", script), **more})


async def end(place: ProcessPlace, task: TaskSpec) -> TaskStatus:
    await place.runner.start(task)
    return await Watcher(place).until_ended(task)


async def text(place: ProcessPlace) -> str:
    return (await place.runner.logs(ONE, 0, 1 << 20)).decode()


async def test_without_a_sandbox_the_mounts_are_where_the_variables_say(bare: Unsandboxed) -> None:
    task = shell(
        'cat "$NABLAHUB_INPUTS/word"; echo; echo 1 > "$NABLAHUB_OUTPUTS/r/x"; cat here; pwd',
        files={"here": "laid\n"},
        mounts=(
            Mount(path="/inputs/word", kind="string", ref="text"),
            Mount(path="/outputs", kind="output", mode="rw"),
            Mount(path="/outputs/r", kind="output", ref="r", mode="rw"),
        ),
    )
    status = await end(bare, task)
    first, *rest = (await text(bare)).splitlines()
    assert "runs without a sandbox" in first
    assert rest == ["text", "laid", str(bare.root / "jobs" / ONE / "work")]
    assert status.exit_code == 0
    assert (bare.runner.output(ONE, "r") / "x").read_text() == "1\n"


async def test_without_a_sandbox_nothing_is_left_either(bare: Unsandboxed) -> None:
    status = await end(bare, shell("setsid sleep 71.25 & exit 3"))
    assert (status.verdict, status.exit_code) == ("code", 3)
    assert bare.left("sleep 71.25") == []


async def test_without_a_sandbox_a_missing_program_is_127(bare: Unsandboxed) -> None:
    status = await end(bare, TaskSpec(name=ONE, command=("nonsuch",)))
    assert (status.verdict, status.exit_code) == ("code", 127)
    assert "nonsuch" in await text(bare)


async def test_a_sandbox_that_cannot_be_made_says_why(place: ProcessPlace) -> None:
    mount = Mount(path="/proc/nonsuch/x", kind="string", ref="")
    status = await end(place, shell("true", mounts=(mount,)))
    assert (status.verdict, status.exit_code) == ("start", None)
    assert status.message.startswith("The sandbox could not be made: bwrap: ")


async def test_memory_is_looked_at_where_no_group_can_be_made(tmp_path: Path) -> None:
    limit = limits.Sampled(50 << 20)
    process = await asyncio.create_subprocess_exec("tail", "/dev/zero", stdout=-3)
    try:
        while not limit.exceeded(os.getpid()):
            await asyncio.sleep(0.01)
    finally:
        process.kill()
        await process.wait()
    peak = limit.peak()
    assert peak is not None
    assert peak > 50 << 20


def test_memory_that_forked_processes_share_is_counted_once() -> None:
    held = bytearray(os.urandom(1 << 20) * 64)
    ready, ready_end = os.pipe()
    stop, stop_end = os.pipe()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            os.close(stop_end)
            os.write(ready_end, b"r")
            os.read(stop, 1)
            os._exit(len(held) % 2)
        children.append(child)
    try:
        got = b""
        while len(got) < 4:
            got += os.read(ready, 4)
        cheap = procfs.memory(children, 1 << 40)
        assert cheap > 4 * len(held)
        assert procfs.memory(children, 1 << 20) < cheap / 2
    finally:
        for fd in (stop_end, stop, ready, ready_end):
            os.close(fd)
        for child in children:
            os.waitpid(child, 0)


async def test_a_task_gets_so_many_processors(place: ProcessPlace) -> None:
    await end(place, shell("nproc", resources=Resources(cpus=1)))
    assert await text(place) == "1\n"


def test_the_least_used_processors_are_given() -> None:
    have = sorted(os.sched_getaffinity(0))
    assert least_used(None, {}) is None
    assert least_used(len(have), {}) is None
    if len(have) > 1:
        assert least_used(1, {"a": [have[0]]}) == [have[1]]


def test_ports_are_outside_of_those_for_outgoing_connections() -> None:
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(1024 < free_port() < max(low, 20000) for _ in range(20))


async def test_what_a_task_was_given_is_not_in_any_command_line(place: ProcessPlace) -> None:
    task = shell("echo go; sleep 60", env={"SECRET": "c0ffee", "LD_LIBRARY_PATH": "/nonsuch"})
    await place.runner.start(task)
    assert place.left("c0ffee") == []
    mode = (place.root / "jobs" / ONE / files.LAUNCH).stat().st_mode
    assert mode & 0o077 == 0
    await place.runner.cancel(ONE, grace_seconds=0, message="enough")


async def test_one_launcher_whoever_starts_it_first(place: ProcessPlace) -> None:
    names = [TaskName(f"j{n}") for n in range(6)]
    tasks = [TaskSpec(name=name, command=("true",)) for name in names]
    await asyncio.gather(*(place.runner.start(task) for task in tasks))
    for task in tasks:
        assert (await Watcher(place).until_ended(task)).exit_code == 0
    assert len(set(place.left(str(place.root / "run")))) == 1


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [("nonsuch", 127, "No such file or directory"), ("/etc/passwd", 126, "Permission denied")],
)
async def test_a_command_that_cannot_be_run(
    place: ProcessPlace, command: str, code: int, words: str
) -> None:
    status = await end(place, TaskSpec(name=ONE, command=(command,)))
    assert (status.verdict, status.exit_code) == ("code", code)
    assert status.last_words == f"bwrap: execvp {command}: {words}"


def launcher_pid(place: ProcessPlace) -> int:
    return int((place.root / "run" / launcher.PID).read_text())


async def waiting_shim(place: ProcessPlace, ended: TaskName) -> int:
    """The shim that waits for a task, once there is one; that of a task that ended may go still."""
    mark = files.read(place.root / "jobs" / ended, files.STARTED)
    assert mark is not None
    while True:
        for pid in procfs.children(launcher_pid(place)):
            if pid != mark["pid"]:
                return pid
        await asyncio.sleep(0.005)


async def test_the_shim_that_waits_is_killed(place: ProcessPlace) -> None:
    """The next task gets another, and nothing of the killed one is left."""
    await end(place, TaskSpec(name=TaskName("jfirst"), command=("true",)))
    await kill_and_wait(await waiting_shim(place, TaskName("jfirst")))
    assert (await end(place, shell("echo on"))).exit_code == 0


async def test_a_dead_launcher_takes_the_shim_that_waits_with_it(place: ProcessPlace) -> None:
    await end(place, shell("true"))
    pidfd = os.pidfd_open(await waiting_shim(place, ONE))
    os.kill(launcher_pid(place), signal.SIGKILL)
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(pidfd, gone.set)
    await gone.wait()
    loop.remove_reader(pidfd)
    os.close(pidfd)


async def test_a_state_folder_with_a_long_path(tmp_path: Path) -> None:
    """A unix socket's own path may have 107 bytes only."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    place = ProcessPlace(deep)
    try:
        assert (await end(place, shell("true"))).exit_code == 0
    finally:
        await place.close()


async def test_the_launch_file_is_all_the_shim_needs(place: ProcessPlace) -> None:
    await end(place, shell("true"))
    launch = json.loads((place.root / "jobs" / ONE / files.LAUNCH).read_text())
    assert launch["argv"][-3:] == ["sh", "-c", "true"]
    assert launch["sandboxed"] is True
    assert "by the kernel" in limits.describe() or "by looking" in limits.describe()


async def test_one_machine_is_one_node(place: ProcessPlace) -> None:
    with pytest.raises(TaskRefused, match="3 nodes need a cluster"):
        await place.runner.start(shell("true", nodes=3))
    assert (await place.runner.look(shell("true"))).phase == "absent"
