"""A notebook mounts folders of a bucket while it runs: by a copy, and by FUSE where it is seen."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nablahub.mounts import propagation
from nablahub.mounts.view import READ
from nablahub.storage.mounting import fuse
from tests.support import waiting
from tests.support.hub import RunningHub
from tests.support.kernel import code, execute
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS

pytestmark = pytest.mark.hub

WORK = """
import errno, os
from pathlib import Path
get_ipython().run_line_magic("load_ext", "nablahub")
nabla = lambda words: get_ipython().run_line_magic("nabla", words)
raw = nabla("mount s3:{name}/raw")
print((raw / "deep" / "b").read_text(), sorted(os.listdir(raw)))
try:
    (raw / "new").touch()
except OSError as error:
    print(errno.errorcode[error.errno])
out = nabla("mount s3:{name}/results out --rw")
(out / "run").mkdir()
(out / "run" / "made").write_text("made")
nabla("sync out")
(out / "late").write_text("late")
try:
    nabla("mount s3:{theirs}/raw")
except Exception as error:
    print("no storage provider" in str(error))
print([Path(mount.path).name for mount in nabla("mounts")])
"""


def _bucket(hub: RunningHub, s3: SeaweedFS, user: str, name: str) -> str:
    bucket = s3.bucket()
    hub.client(user).storage.create(
        name, bucket=bucket, access_key=KEY, secret_key=SECRET, endpoint=s3.endpoint, region=REGION
    )
    for key, content in {"raw/a": b"one", "raw/deep/b": b"two", "results/old": b"old"}.items():
        s3.client().put_object(Bucket=bucket, Key=key, Body=content)
    return bucket


def _get(s3: SeaweedFS, bucket: str, key: str) -> bytes:
    found: bytes = s3.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return found


def test_what_a_notebook_writes_comes_into_the_bucket(hub: RunningHub, s3: SeaweedFS) -> None:
    bucket = _bucket(hub, s3, "carol", "hers")
    _bucket(hub, s3, "bob", "his")
    server = hub.spawn("carol", instance_type="C3")
    printed = code(server, WORK.format(name="hers", theirs="his"))
    assert "two ['a', 'deep']\nEROFS\n" in printed
    assert "\nTrue\n['out', 'raw']" in printed
    assert "s3:hers/raw (read-only) is mounted." in printed
    assert _get(s3, bucket, "results/run/made") == b"made"
    # By whatever means it is done: no key is seen inside.
    seen = execute(server, f"cat /proc/*/environ | grep -c {SECRET}; ls /opt/nablahub/buckets/*")
    assert seen.startswith("0\n")
    # What was not yet sent when the service was killed, and then the server ended.
    hub.kill("service")
    server.stop()
    waiting.until(lambda: "results/late" in s3.keys(bucket), "it is sent by the next service")
    assert _get(s3, bucket, "results/late") == b"late"
    hub.until_answers("/services/nablahub/health")
    s3.client().put_object(Bucket=bucket, Key="results/others", Body=b"others")
    server = hub.spawn("carol", instance_type="C3")
    shown = "for _ in $(seq 600); do [ -e /datasets/out/others ] && break; sleep 0.1; done; "
    script = f"{shown} cat /datasets/out/late /datasets/out/others; echo more > /datasets/out/more"
    assert execute(server, script) == "lateothers"
    said = execute(server, "nablahub datasets sync out && nablahub datasets mounts")
    assert "What was written in /datasets/out is in s3:hers/results." in said
    assert _get(s3, bucket, "results/more") == b"more\n"
    leave = "for name in out raw; do nablahub datasets unmount $name; done; ls /datasets/* 2>&1"
    said = execute(server, f"echo last > /datasets/out/last; {leave}")
    assert "/datasets/raw is unmounted." in said
    assert "No such file" in said
    assert _get(s3, bucket, "results/last") == b"last\n"
    server.stop()


@pytest.fixture
def shared(hub: RunningHub) -> Iterator[Path]:
    """The folder of servers' buckets on a shared mount, as it is where systemd made the mounts."""
    without = fuse.missing()
    if without is not None:
        pytest.skip(without)
    folder = hub.state.server_buckets("alice", "")
    (folder / READ).mkdir(parents=True, exist_ok=True)
    made = propagation.is_shared(folder)
    if not made:
        for words in (["--bind", str(folder), str(folder)], ["--make-shared", str(folder)]):
            done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"This machine's mounts are private, and stay so: {done.stderr}")
    yield folder
    if not made:
        subprocess.run(["umount", str(folder)], check=True)


def test_by_fuse_changes_are_seen_both_ways(hub: RunningHub, s3: SeaweedFS, shared: Path) -> None:
    bucket = _bucket(hub, s3, "alice", "live")
    server = hub.spawn("alice", instance_type="C3")
    said = execute(server, "nablahub datasets mount s3:live/results out --rw 2>&1")
    assert "s3:live/results is at /datasets/out." in said
    assert "Copying" not in said
    s3.client().put_object(Bucket=bucket, Key="results/theirs", Body=b"theirs")
    said = execute(server, "cd /datasets/out; cat theirs; echo mine > mine; rm old; ls; df -T .")
    assert "theirsmine\ntheirs\n" in said
    assert "fuse.rclone" in said
    waiting.until(lambda: s3.keys(bucket) >= {"results/mine"}, "it is in the bucket")
    waiting.until(lambda: "results/old" not in s3.keys(bucket), "it is deleted")
    # One that is read-only stays so, though its mount came into the sandbox from outside.
    said = execute(server, "nablahub datasets mount s3:live/raw 2>&1; touch /datasets/raw/new 2>&1")
    assert "Read-only file system" in said
    assert "Read-only" in execute(server, "mkdir /opt/nablahub/buckets/read/x 2>&1")
    server.stop()
    waiting.until(lambda: not list((shared / READ).iterdir()), "its mounts are taken away")
    hub.client("alice").mounts.unmount("out", server="")
    hub.client("alice").mounts.unmount("raw", server="")
