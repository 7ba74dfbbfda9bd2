"""A notebook mounts versions while it runs: read-only, its team's only, there after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.hub import RunningHub
from tests.support.kernel import code, execute

pytestmark = pytest.mark.hub

READ = """
import errno, hashlib, os, random
get_ipython().run_line_magic("load_ext", "nablahub")
before = os.listdir("/datasets")
get_ipython().run_line_magic("nabla", "mount mounted:{old}")
first = get_ipython().run_line_magic("nabla", "mount mounted")
for path in random.sample(sorted(first.rglob("*.bin")), 20):
    assert path.read_bytes() == path.name.encode() * 100, path
print(len(os.listdir(first)), (first / "new").read_text())
print(os.path.exists("/datasets/mounted@{old}/new"))
for path in (first / "x", "/datasets/x", first / "1.bin"):
    try:
        open(path, "w")
    except OSError as error:
        print(errno.errorcode[error.errno])
for path in {theirs!r}, "/opt/nablahub/cache/" + {team!r}:
    try:
        os.listdir(path)
    except OSError as error:
        print(errno.errorcode[error.errno])
try:
    get_ipython().run_line_magic("nabla", "mount {secret}")
except Exception as error:
    print(type(error).__name__, "There is no dataset" in str(error))
print((get_ipython().run_line_magic("nabla", "mount bob/open") / "new").read_text())
print(len(get_ipython().run_line_magic("nabla", "mounts")))
"""


def test_versions_are_mounted_while_a_notebook_runs(hub: RunningHub, tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.bin").write_bytes(f"{number}.bin".encode() * 100)
    mine, theirs = hub.client("carol").datasets, hub.client("bob").datasets
    mine.create("mounted")
    old = mine.upload("mounted", tmp_path).version
    server = hub.spawn("carol", instance_type="C3")
    # Made while the server runs already.
    (tmp_path / "new").write_text("later")
    mine.upload("mounted", tmp_path)
    theirs.create("theirs")
    theirs.upload("theirs", tmp_path)
    shared = theirs.create("open")
    theirs.upload("open", tmp_path)
    theirs._hub.patch(
        f"/datasets/{shared.id}", {"public": True}, revision=theirs.get("open").revision
    )
    mount = hub.client("bob").mounts.mount("theirs", server="nowhere")
    team, _, tree = mount.place.partition("/")
    assert (hub.state.cache / team / tree).is_dir()
    script = READ.format(
        old=old, theirs=str(hub.state.cache / mount.place), team=team, secret=mount.version
    )
    printed = code(server, script).splitlines()
    said = [line for line in printed if "is mounted" not in line]
    assert said == [
        "61 later", "False", "EROFS", "EROFS", "EROFS", "ENOENT", "ENOENT", "UsageError True",
        "later", "3",
    ]  # fmt: skip
    hub.client("bob").mounts.unmount("theirs", server="nowhere")
    # What bwrap showed goes with it; what was mounted comes again with the server.
    links = list(hub.state.run.glob("servers/*/datasets/mounted*"))
    assert len(links) == 2
    for link in links:
        link.unlink()
    server.stop()
    server = hub.spawn("carol", instance_type="C3")
    both = f"[ -e /datasets/mounted/new ] && [ -e /datasets/mounted@{old} ]"
    shown = f"for _ in $(seq 900); do {both} && break; sleep 0.1; done; "
    script = f"{shown} cat /datasets/mounted/new; ls /datasets/mounted@{old} | wc -l"
    assert execute(server, script).split() == ["later60"]
    assert "is unmounted" in execute(server, "nablahub datasets unmount mounted")
    assert "No such file" in execute(server, "ls /datasets/mounted 2>&1")
    server.stop()
