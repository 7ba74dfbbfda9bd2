"""The contract of runners: what each of them must keep, whatever is killed meanwhile.

A folder that has a `place` fixture collects these by importing them: the same ids for each runner.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets

import pytest

from nablahub.jobs.runners.contract import (
    Mount,
    Resources,
    TaskName,
    TaskRefused,
    TaskSpec,
)
from tests.contract.places import Place, Watcher, answer

ONE = TaskName("jone")
SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ok" else 503); self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *_): pass
http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


def shell(script: str, *words: str, name: TaskName = ONE, **more: object) -> TaskSpec:
    """A task that runs a script of sh; `words` only mark its command line."""
    return TaskSpec.model_validate(
        {"name": name, "command": ("sh", "-c", script, "sh", *words), **more}
    )


@pytest.fixture
def marker() -> str:
    """A word that no other process has in its command line."""
    return f"marker-{secrets.token_hex(8)}"


async def log(place: Place, name: TaskName = ONE) -> str:
    return (await place.runner.logs(name, 0, 1 << 20)).decode()


async def lines(place: Place, task: TaskSpec, count: int) -> list[str]:
    """The first lines that the task writes; returns as soon as they are there."""
    said = b""
    async with contextlib.aclosing(place.runner.follow(task, 0)) as parts:
        async for part in parts:
            said += part
            if said.count(b"\n") >= count:
                break
    return said.decode().splitlines()


async def test_a_task_never_started_is_absent(place: Place) -> None:
    assert (await place.runner.look(shell("true"))).phase == "absent"
    assert await place.runner.logs(ONE, 0, 100) == b""


async def test_success_is_exit_code_0_and_the_log_has_both_streams(place: Place) -> None:
    task = shell("echo to stdout; echo to stderr >&2")
    await place.runner.start(task)
    status = await Watcher(place).until_ended(task)
    assert (status.verdict, status.exit_code) == ("code", 0)
    assert status.started_at is not None
    assert status.finished_at is not None
    assert status.started_at <= status.finished_at
    assert await log(place) == "to stdout\nto stderr\n"


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("nonsuch", 127)])
async def test_the_command_own_exit_code(place: Place, script: str, code: int) -> None:
    task = shell(script)
    await place.runner.start(task)
    status = await Watcher(place).until_ended(task)
    assert (status.verdict, status.exit_code) == ("code", code)


async def test_logs_are_read_from_an_offset(place: Place) -> None:
    task = shell("printf 0123456789")
    await place.runner.start(task)
    await Watcher(place).until_ended(task)
    assert await place.runner.logs(ONE, 3, 4) == b"3456"
    assert await place.runner.logs(ONE, 8, 100) == b"89"
    assert await place.runner.logs(ONE, 10, 100) == b""


async def test_a_log_without_end_keeps_its_beginning_and_its_end(place: Place) -> None:
    task = shell("echo first; head -c 120m /dev/zero | tr '\\0' x; echo; echo last")
    await place.runner.start(task)
    await Watcher(place).until_ended(task)
    beginning = await place.runner.logs(ONE, 0, 64 << 20)
    rest = await place.runner.logs(ONE, 64 << 20, 1 << 30)
    assert beginning.startswith(b"first\nxxx")
    assert b"the log is too long" in rest
    assert rest.endswith(b"xxx\nlast\n")
    assert len(rest) < 17 << 20


async def test_following_the_log_gives_what_is_written_and_ends_with_the_task(place: Place) -> None:
    task = shell("for i in 1 2 3 4 5; do echo line $i; sleep 0.05; done; printf last")
    await place.runner.start(task)
    parts = [part async for part in place.runner.follow(task, 5)]
    assert b"".join(parts) == b"1\nline 2\nline 3\nline 4\nline 5\nlast"
    assert (await place.runner.look(task)).phase == "ended"


async def test_many_may_follow_at_once(place: Place) -> None:
    task = shell(
        "echo one; while [ ! -e /data/go ]; do sleep 0.02; done; echo two", mounts=(data(),)
    )
    await place.runner.start(task)

    seen = 0
    all_saw = asyncio.Event()

    async def follow() -> str:
        nonlocal seen
        said = b""
        async for part in place.runner.follow(task, 0):
            said += part
            if said == b"one\n":
                seen += 1
                if seen == 150:
                    all_saw.set()
        return said.decode()

    async def let_go() -> None:
        await all_saw.wait()
        await place.put("v", "go")

    said, _ = await asyncio.gather(asyncio.gather(*(follow() for _ in range(150))), let_go())
    assert set(said) == {"one\ntwo\n"}


async def test_starting_twice_starts_once(place: Place) -> None:
    task = shell("echo run >> /data/runs; sleep 0.2", mounts=(data(),))
    await asyncio.gather(*(place.runner.start(task) for _ in range(5)))
    await Watcher(place).until_ended(task)
    await place.runner.start(task)
    await place.restart()
    await place.runner.start(task)
    assert (await place.runner.look(task)).phase == "ended"
    assert await place.get("v", "runs") == "run\n"


def data(mode: str = "rw") -> Mount:
    return Mount.model_validate({"path": "/data", "kind": "volume", "ref": "v", "mode": mode})


async def test_what_a_task_sees(place: Place) -> None:
    await place.put("v", "given", "from outside")
    task = shell(
        "cat /data/given; echo; cat /inputs/word; echo; echo $GREETING; pwd; cat sub/a.txt; "
        "touch /data/x 2>/dev/null || echo read-only; echo 1 > /artifacts/a; echo 1 > /tmp/b; "
        "echo 1 > ~/c; echo out > /outputs/result/file; touch /nowhere 2>/dev/null || echo closed",
        env={"GREETING": "hello there"},
        files={"sub/a.txt": "laid\n"},
        mounts=(
            data("ro"),
            Mount(path="/inputs/word", kind="string", ref="as text"),
            Mount(path="/outputs/result", kind="output", ref="result", mode="rw"),
        ),
    )
    await place.runner.start(task)
    status = await Watcher(place).until_ended(task)
    assert (await log(place)).splitlines() == [
        "from outside", "as text", "hello there", "/work", "laid", "read-only", "closed",
    ]  # fmt: skip
    assert status.exit_code == 0


async def test_a_task_sees_no_other_process_and_no_other_file(place: Place, marker: str) -> None:
    other = shell("sleep 60", marker, name=TaskName("jother"))
    await place.runner.start(other)
    task = shell(
        "ls /proc | grep -c '^[0-9]*$'; "
        "tr '\\0' '\\n' < /proc/1/environ | grep -c SECRET; "
        "ls -d /root/.ssh /home/[!n]* 2>/dev/null"
    )
    await place.runner.start(task)
    await Watcher(place).until_ended(task)
    processes, secrets, *files = (await log(place)).splitlines()
    assert int(processes) <= 4
    assert (secrets, files) == ("0", [])
    await place.runner.cancel(other.name, grace_seconds=0, message="enough")


async def test_a_file_name_that_leaves_the_working_folder_is_refused(place: Place) -> None:
    with pytest.raises(TaskRefused, match=r"\.\./evil"):
        await place.runner.start(shell("true", files={"../evil": "x"}))


async def test_a_missing_mount_is_refused(place: Place) -> None:
    mount = Mount(path="/inputs/d", kind="dataset", ref="nonsuch")
    with pytest.raises(TaskRefused, match="nonsuch"):
        await place.runner.start(shell("true", mounts=(mount,)))


async def test_too_long_is_a_timeout(place: Place, marker: str) -> None:
    task = shell("echo begun; sleep 60 & wait", marker, timeout_seconds=0.3)
    await place.runner.start(task)
    status = await Watcher(place).until_ended(task)
    assert status.verdict == "timeout"
    assert "0.3 s" in status.message
    assert place.left(marker) == []


async def test_too_much_memory_is_oom(place: Place, marker: str) -> None:
    task = shell(
        "tail -c 2000m /dev/zero | tail", marker, resources=Resources(memory_bytes=100 << 20)
    )
    await place.runner.start(task)
    status = await Watcher(place).until_ended(task)
    assert status.verdict == "oom", await log(place)
    assert "memory" in status.message
    assert place.left(marker) == []


async def test_cancelling_lets_the_task_say_goodbye(place: Place, marker: str) -> None:
    task = shell("trap 'echo bye; exit 7' TERM; echo ready; sleep 60 & wait", marker)
    await place.runner.start(task)
    assert await lines(place, task, 1) == ["ready"]
    await place.runner.cancel(ONE, grace_seconds=30, message="Anna cancelled it.")
    status = await Watcher(place).until_ended(task)
    assert (status.verdict, status.message) == ("cancelled", "Anna cancelled it.")
    assert (await log(place)).splitlines() == ["ready", "bye"]
    assert place.left(marker) == []


@pytest.mark.parametrize("after", [0.0, 0.001, 0.003, 0.006, 0.01, 0.02, 0.04])
async def test_cancelling_at_once_does_not_take_the_grace(place: Place, after: float) -> None:
    task = shell("sleep 60")
    await place.runner.start(task)
    await asyncio.sleep(after)  # Which moment of its birth is met does not matter: none may fail.
    async with asyncio.timeout(150):
        await place.runner.cancel(ONE, grace_seconds=300, message="enough")
        assert (await Watcher(place).until_ended(task)).verdict == "cancelled"


async def test_who_does_not_listen_is_killed_after_the_grace(place: Place, marker: str) -> None:
    script = "trap '' TERM; echo ready; (trap '' TERM; sleep 60) & while :; do sleep 1; done"
    task = shell(script, marker)
    await place.runner.start(task)
    assert await lines(place, task, 1) == ["ready"]
    await place.runner.cancel(ONE, grace_seconds=0.2, message="enough")
    assert (await Watcher(place).until_ended(task)).verdict == "cancelled"
    assert place.left(marker) == []


async def test_cancelled_before_it_began(place: Place) -> None:
    task = shell("echo run")
    await place.runner.cancel(ONE, grace_seconds=1, message="too early")
    await place.runner.start(task)
    assert (await Watcher(place).until_ended(task)).verdict == "cancelled"
    assert await log(place) == ""


async def test_cancelling_what_ended_changes_nothing(place: Place) -> None:
    task = shell("true")
    await place.runner.start(task)
    before = await Watcher(place).until_ended(task)
    await place.runner.cancel(ONE, grace_seconds=0, message="too late")
    assert await place.runner.look(task) == before


async def test_what_the_command_leaves_behind_ends_with_it(place: Place, marker: str) -> None:
    task = shell("setsid sh -c 'sleep 60' & setsid nohup sleep 61 >/dev/null 2>&1 & exit 0", marker)
    await place.runner.start(task)
    assert (await Watcher(place).until_ended(task)).exit_code == 0
    assert place.left(marker) == []


async def test_tasks_go_on_when_the_service_is_killed(place: Place) -> None:
    task = shell(
        "echo one; while [ ! -e /data/go ]; do sleep 0.02; done; echo two", mounts=(data(),)
    )
    await place.runner.start(task)
    assert await lines(place, task, 1) == ["one"]
    await place.restart()
    watcher = Watcher(place)
    assert (await place.runner.look(task)).phase == "running"
    await place.put("v", "go")
    assert (await watcher.until_ended(task)).exit_code == 0
    assert await log(place) == "one\ntwo\n"


async def test_a_task_that_ended_while_nobody_looked_is_known(place: Place) -> None:
    task = shell("exit 4")
    await place.runner.start(task)
    await Watcher(place).until_ended(task)
    await place.restart()
    status = await place.runner.look(task)
    assert (status.phase, status.verdict, status.exit_code) == ("ended", "code", 4)


async def test_tasks_go_on_when_the_machinery_is_killed(place: Place) -> None:
    task = shell(
        "echo one; while [ ! -e /data/go ]; do sleep 0.02; done; echo two", mounts=(data(),)
    )
    await place.runner.start(task)
    assert await lines(place, task, 1) == ["one"]
    await place.kill_machinery()
    second = shell("echo second", name=TaskName("jtwo"))
    watcher = Watcher(place)
    await place.runner.start(second)
    assert (await watcher.until_ended(second)).exit_code == 0
    assert (await place.runner.look(task)).phase == "running"
    await place.put("v", "go")
    assert (await watcher.until_ended(task)).exit_code == 0
    assert await log(place) == "one\ntwo\n"


async def test_a_task_whose_parent_is_killed_is_lost_and_leaves_nothing(
    place: Place, marker: str
) -> None:
    task = shell("echo run; setsid sleep 60 & sleep 60", marker)
    await place.runner.start(task)
    assert await lines(place, task, 1) == ["run"]
    watcher = Watcher(place)
    assert (await place.runner.look(task)).phase == "running"
    await place.kill_parent(ONE)
    status = await watcher.until_ended(task)
    assert (status.verdict, status.exit_code) == ("lost", None)
    assert "killed" in status.message
    assert place.left(marker) == []
    await place.runner.start(task)
    assert await log(place) == "run\n"


async def test_lost_while_nobody_looked(place: Place, marker: str) -> None:
    task = shell("echo run; sleep 60", marker)
    await place.runner.start(task)
    assert await lines(place, task, 1) == ["run"]
    await place.runner.close()
    await place.kill_parent(ONE)
    await place.restart()
    assert (await Watcher(place).until_ended(task)).verdict == "lost"
    assert place.left(marker) == []


async def test_a_server_is_ready_when_it_answers_its_probe(place: Place, marker: str) -> None:
    task = TaskSpec.model_validate(
        {
            "name": ONE,
            "kind": "serve",
            "command": ("/usr/bin/env", "python3", "-c", SERVER, marker),
            "probe": {"path": "/ok", "period": 0.1},
        }
    )
    await place.runner.start(task)
    watcher = Watcher(place)
    status = await watcher.until_ready(task)
    assert status.address is not None
    await place.runner.scale(task)  # It is as many as it is to be: nothing happens.
    assert (await place.runner.look(task)).servers == 1
    assert await answer(f"{status.address}/ok") == "hello"
    await place.restart()
    watcher = Watcher(place)
    assert (await watcher.until_ready(task)).address == status.address
    await place.runner.cancel(ONE, grace_seconds=5, message="enough")
    assert (await watcher.until_ended(task)).verdict == "cancelled"
    assert place.left(marker) == []


@pytest.mark.parametrize("after", [0.0, 0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.02])
async def test_killed_at_any_moment_of_its_birth_leaves_nothing(
    place: Place, marker: str, after: float
) -> None:
    task = shell("echo run >> /data/runs; sleep 60", marker, mounts=(data(),))
    await place.runner.start(task)
    await asyncio.sleep(after)  # Which moment is met does not matter: none may leave anything.
    await place.kill_parent(ONE)
    status = await Watcher(place).until_ended(task)
    assert (status.verdict, status.exit_code) == ("lost", None)
    assert place.left(marker) == []
    await place.restart()
    await place.runner.start(task)
    assert (await place.runner.look(task)).verdict == "lost"
    assert await place.get("v", "runs") in (None, "", "run\n")
