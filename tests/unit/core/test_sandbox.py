"""The sandbox: what code inside sees, can do and cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nablahub.core.sandbox import Bind, Sandbox, base_prefixes, find_bwrap, probe, write_identity


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    return write_identity(tmp_path / "who is it")


def run(sandbox: Sandbox, script: str) -> str:
    """What a script of sh writes inside; it must end well."""
    done = subprocess.run(
        sandbox.argv(["sh", "-c", script]),
        env=sandbox.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_this_machine_can_make_sandboxes() -> None:
    assert probe() is None


def test_a_machine_that_cannot_says_why_and_how_to_go_without(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text(
        "#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n"
    )
    broken.chmod(0o755)
    said = probe(broken)
    assert said is not None
    assert "setting up uid map: Permission denied" in said
    assert "User namespaces are not allowed" in said
    assert "c.NablaHub.unsandboxed = True" in said
    missing = probe(tmp_path / "nonsuch")
    assert missing is not None
    assert "does not run" in missing


def test_who_one_is_inside(identity: Path) -> None:
    sandbox = Sandbox(identity=identity, env={"PATH": "/usr/bin:/bin"})
    assert run(sandbox, "id -u; id -un; hostname") == "1000\nnabla\nnablahub\n"
    assert run(sandbox, "grep CapEff /proc/self/status").split()[1] == "0" * 16


def test_the_kernels_settings_are_read_only_whoever_runs_the_hub(identity: Path) -> None:
    sandbox = Sandbox(identity=identity, env={"PATH": "/usr/bin:/bin"})
    setting = "/proc/sys/kernel/core_pattern"  # opened and not written: it is the machine's
    script = f"cat {setting} >/dev/null; (: >> {setting}) 2>/dev/null || echo no"
    assert run(sandbox, script) == "no\n"


def test_only_what_was_bound_is_there(identity: Path, tmp_path: Path) -> None:
    (tmp_path / "shown here").mkdir()
    (tmp_path / "shown here" / "file").write_text("seen")
    (tmp_path / "hidden").write_text("not seen")
    sandbox = Sandbox(
        identity=identity,
        env={"PATH": "/usr/bin:/bin"},
        binds=(Bind(tmp_path / "shown here", "/data/in", writable=False),),
    )
    assert run(sandbox, "cat /data/in/file") == "seen"
    assert run(sandbox, f"ls -A '{tmp_path}' /root /home 2>/dev/null; true") == ""
    assert "shadow" not in run(sandbox, "ls /etc")
    assert run(sandbox, "touch /data/in/x 2>/dev/null || echo read-only") == "read-only\n"
    assert run(sandbox, "touch /x /usr/x /etc/x 2>/dev/null || echo closed") == "closed\n"


def test_a_writable_bind_and_a_missing_optional_one(identity: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    sandbox = Sandbox(
        identity=identity,
        env={"PATH": "/usr/bin:/bin"},
        binds=(
            Bind(tmp_path / "out", "/out", writable=True),
            Bind(tmp_path / "nonsuch", "/nonsuch", optional=True),
        ),
        links={"/short": "/out"},
    )
    run(sandbox, "echo done > /short/file")
    assert (tmp_path / "out" / "file").read_text() == "done\n"
    assert (tmp_path / "out" / "file").stat().st_uid == os.getuid()


def test_no_other_process_is_seen(identity: Path) -> None:
    sandbox = Sandbox(identity=identity, env={"PATH": "/usr/bin:/bin"})
    seen = run(sandbox, "ls /proc | grep '^[0-9]'").split()
    assert len(seen) <= 4
    assert run(sandbox, f"kill -0 {os.getpid()} 2>/dev/null || echo none") == "none\n"


def test_the_environment_is_what_was_given_and_in_no_command_line(identity: Path) -> None:
    sandbox = Sandbox(
        identity=identity,
        env={"PATH": "/usr/bin:/bin", "TOKEN": "s3cret", "LD_PRELOAD": "/nonsuch.so"},
    )
    said = run(sandbox, "env 2>/dev/null")
    assert "TOKEN=s3cret" in said
    assert "LD_PRELOAD=/nonsuch.so" in said
    assert "PYTEST" not in said
    assert "s3cret" not in " ".join(sandbox.argv(["true"]))
    assert "LD_PRELOAD" not in sandbox.environ()  # It would be loaded into bwrap itself, outside.


def test_tmp_and_shared_memory_are_its_own(identity: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    sandbox = Sandbox(
        identity=identity,
        env={"PATH": "/usr/bin:/bin"},
        tmp=tmp_path / "tmp",
        shm_bytes=1 << 20,
    )
    said = run(sandbox, "ls /tmp; echo x > /tmp/mine; df -k --output=size /dev/shm | tail -1")
    assert said.split() == ["1024"]
    assert (tmp_path / "tmp" / "mine").exists()


def test_a_virtual_environment_works_at_its_own_path(identity: Path) -> None:
    sandbox = Sandbox(
        identity=identity, prefixes=(Path(sys.prefix),), env={"PATH": "/usr/bin:/bin"}
    )
    script = f"'{sys.executable}' -c 'import ssl, sqlite3, click, sys; print(sys.prefix)'"
    assert run(sandbox, script).strip() == sys.prefix
    assert any(Path(sys.base_prefix).samefile(path) for path in base_prefixes(Path(sys.prefix)))


def test_the_sandbox_dies_with_who_started_it(identity: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    sandbox = Sandbox(
        identity=identity,
        binds=(Bind(tmp_path, "/d", writable=True),),
        env={"PATH": "/usr/bin:/bin"},
    )
    argv = sandbox.argv(["sh", "-c", "exec 3>/d/alive; echo on >&3; sleep 60"])
    starter = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", starter, *argv], env=sandbox.environ())
    with fifo.open() as alive:
        assert alive.readline() == "on\n"
        parent.kill()
        parent.wait()
        assert alive.read() == ""  # The end of file comes when the last writer is gone.


def test_who_one_is_may_be_chosen(tmp_path: Path) -> None:
    made = write_identity(tmp_path, user="alice", home="/home/alice")
    before = made.stat().st_mtime_ns
    assert write_identity(tmp_path, user="alice", home="/home/alice") == made
    assert made.stat().st_mtime_ns == before
    assert write_identity(tmp_path, user="bob") != made
    sandbox = Sandbox(identity=made, env={"PATH": "/usr/bin:/bin"})
    assert run(sandbox, "getent passwd alice") == "alice:x:1000:1000:alice:/home/alice:/bin/bash\n"


def test_what_programs_need_of_etc_is_there(identity: Path) -> None:
    sandbox = Sandbox(identity=identity, env={"PATH": "/usr/bin:/bin"})
    assert run(sandbox, "getent hosts nablahub").split()[0] == "127.0.1.1"
    for name in ("resolv.conf", "ssl/certs", "localtime", "ld.so.cache", "services"):
        if Path("/etc", name).exists():
            run(sandbox, f"test -r /etc/{name}")


def test_the_bundled_program_is_found() -> None:
    found = find_bwrap()
    assert found is not None
    assert found.name == "bwrap"
