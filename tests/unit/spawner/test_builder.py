"""What a single-user server sees."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nablahub.core.identity import CACHE, MOUNTS
from nablahub.core.sandbox import probe
from nablahub_spawner import builder, jupyter

needs_bubblewrap = pytest.mark.skipif(probe() is not None, reason=str(probe()))


@pytest.fixture
def server(tmp_path: Path) -> builder.Server:
    found = builder.Server(
        user="ada",
        home=tmp_path / "homes" / "ada",
        folder=tmp_path / "run" / "ada",
        storage=tmp_path / "storage" / "te1",
        caches={team: tmp_path / "cache" / team for team in ("te1", "te2")},
        env={"PATH": "/usr/bin:/bin", "TOKEN": "s3cret"},
    )
    builder.prepare(found)
    return found


def inside(server: builder.Server, script: str) -> str:
    box = builder.sandbox(server)
    done = subprocess.run(
        box.argv(["sh", "-c", script]), env=box.environ(), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout


def test_own_home_storage_and_nothing_else(server: builder.Server, tmp_path: Path) -> None:
    (tmp_path / "homes" / "bob").mkdir()
    (tmp_path / "secrets").mkdir()
    printed = inside(
        server,
        f"id -un; pwd; ls /home; echo hi > note; echo all > /storage/note; ls {tmp_path} || true",
    )
    assert printed.splitlines()[:3] == ["ada", "/home/ada", "ada"]
    assert "secrets" not in printed
    assert "bob" not in printed
    assert (server.home / "note").read_text() == "hi\n"
    assert server.storage is not None
    assert (server.storage / "note").read_text() == "all\n"


def test_a_home_of_an_earlier_release_is_taken_over_once(
    server: builder.Server, tmp_path: Path
) -> None:
    former = tmp_path / "homes" / "ada---1a2b3c4d"
    former.mkdir()
    (former / "thesis").write_text("all of it")
    builder.adopt(former, server)  # Ada has a home: nothing is laid over it.
    assert (former / "thesis").exists()
    server.home.rename(tmp_path / "elsewhere")
    builder.adopt(former, server)
    assert (server.home / "thesis").read_text() == "all of it"
    assert not former.exists()


def test_links_made_inside_show_all_of_ones_teams_and_no_other(
    server: builder.Server, tmp_path: Path
) -> None:
    for team in ("te1", "te2", "te3"):
        (tmp_path / "cache" / team / "v1").mkdir(parents=True)
        (tmp_path / "cache" / team / "v1" / "rows.csv").write_text(team)
    printed = inside(
        server,
        f"""for team in te1 te2 te3; do
              ln -s {CACHE}/$team/v1 {MOUNTS}/$team; cat /datasets/$team/rows.csv 2>&1; echo
            done
            touch /datasets/te2/x /datasets/x 2>&1 || true
            ls {CACHE}""",
    ).split("\n")
    assert printed[:2] == ["te1", "te2"]
    assert "No such file" in printed[2]
    assert ["Read-only" in line for line in printed[4:6]] == [True, True]
    assert printed[6:8] == ["te1", "te2"]


def test_what_is_shown_of_the_hub_is_read_only(server: builder.Server) -> None:
    for place in (f"{CACHE}/te1", jupyter.DATASETS, jupyter.LIB, jupyter.CONFIG, sys.prefix):
        said = inside(server, f"touch '{place}/x' 2>&1 || true")
        assert "Read-only" in said, place


def test_secrets_are_in_no_command_line(server: builder.Server) -> None:
    assert "s3cret" not in " ".join(builder.sandbox(server).argv(["true"]))
    assert inside(server, "echo $TOKEN") == "s3cret\n"


def test_the_default_kernel_is_the_environments(server: builder.Server, tmp_path: Path) -> None:
    path = server.folder / "share" / "kernels" / "python3" / "kernel.json"
    assert not path.exists()
    prefix = tmp_path / "environment"
    prefix.mkdir()
    builder.prepare(builder.Server("ada", server.home, server.folder, environment=prefix))
    spec = json.loads(path.read_text())
    assert spec["argv"][0] == f"{jupyter.KERNEL_ENVIRONMENT}/bin/python"
    assert spec["env"] == {"PYTHONPATH": jupyter.LIB}


def test_the_server_itself_runs_from_the_hubs_environment(server: builder.Server) -> None:
    python = shlex.quote(sys.executable)
    printed = inside(server, f"{python} -c 'import jupyterlab, nablahub_server; print(1)'")
    assert printed == "1\n"


def test_nothing_is_mounted_in_the_home_when_the_hub_lies_in_a_home_of_that_name(
    server: builder.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path("/home/ada/my work/spawner/nablahub_spawner")
    monkeypatch.setattr(builder, "package_folder", lambda _: package)
    builder._at_own_path.cache_clear()
    try:
        assert server.home_inside == "/homes/ada"
        shown = [bind.target for bind in builder.sandbox(server).binds]
        assert "/homes/ada" in shown
        assert "/home/ada" not in shown
        assert builder.variables(server)["HOME"] == "/homes/ada"
    finally:
        builder._at_own_path.cache_clear()


@needs_bubblewrap
def test_a_server_starts_when_the_disk_is_full(tmp_path: Path) -> None:
    # A disk of its own, in namespaces of its own, which needs no right.
    script = """
import subprocess, sys
from pathlib import Path
from nablahub_spawner import builder
disk = Path(sys.argv[1])
server = builder.Server(user="ada", home=disk / "home", folder=disk / "run", env={"PATH": "/bin"})
builder.prepare(server)
try:
    with (server.home / "big").open("wb") as file:
        while True:
            file.write(bytes(65536))
except OSError as error:
    assert error.errno == 28, error
full = builder.Server(**{**server.__dict__, "own": builder.in_memory(server.folder)})
builder.prepare(full)
box = builder.sandbox(full)
said = "echo note > /tmp/x && cat /tmp/x; ls; rm big; echo new > kept; cat kept"
done = subprocess.run(box.argv(["sh", "-c", said]), env=box.environ())
builder.leave_memory(server.folder)
assert not full.made.exists()
sys.exit(done.returncode)
"""
    command = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", command, "-", str(tmp_path), sys.executable, script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, ["note", "big", "new"]), done.stderr
