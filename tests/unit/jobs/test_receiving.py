"""Taking in logs and files from other machines, whatever is repeated or breaks off."""

from __future__ import annotations

import io
import math
import shutil
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nablahub.core.archives import BadArchive
from nablahub.core.errors import StorageFull
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.receiving import Receiving

ONE = TaskName("jone")


@pytest.fixture
def receiving(tmp_path: Path) -> Receiving:
    (tmp_path / ONE).mkdir()
    return Receiving(tmp_path)


async def parts(*chunks: bytes, broken: bool = False) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if broken:
        raise ConnectionResetError


def archive(*names: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE) -> bytes:
    made = io.BytesIO()
    with tarfile.open(mode="w", fileobj=made) as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            entry.size = len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


async def test_a_part_that_comes_twice_counts_once(receiving: Receiving, tmp_path: Path) -> None:
    assert await receiving.log(ONE, 0, parts(b"abc", b"def")) == 6
    assert await receiving.log(ONE, 0, parts(b"abc", b"def")) == 6
    assert await receiving.log(ONE, 3, parts(b"defg", b"hi")) == 9
    assert (tmp_path / ONE / files.LOG).read_bytes() == b"abcdefghi"


async def test_each_pod_counts_its_own_bytes(receiving: Receiving, tmp_path: Path) -> None:
    assert await receiving.log(ONE, 0, parts(b"abc\n"), "pod-1") == 4
    assert await receiving.log(ONE, 0, parts(b"other\n"), "pod-2") == 6
    assert await Receiving(tmp_path).log(ONE, 0, parts(b"abc\ndef\n"), "pod-1") == 8
    assert await receiving.log(ONE, 0, parts(b"other\n"), "pod-2") == 6
    assert (tmp_path / ONE / files.LOG).read_bytes() == b"abc\nother\ndef\n"


async def test_a_line_of_ours_comes_once_and_moves_nothing(
    receiving: Receiving, tmp_path: Path
) -> None:
    await receiving.say(ONE, "k1", "nablahub: pulling\n")
    await receiving.say(ONE, "k1", "nablahub: pulling\n")
    assert await receiving.log(ONE, 0, parts(b"abc")) == 3
    assert await Receiving(tmp_path).log(ONE, 0, parts(b"abcdef")) == 6
    assert (tmp_path / ONE / files.LOG).read_bytes() == b"nablahub: pulling\nabcdef"


async def test_a_part_after_a_gap_is_not_taken(receiving: Receiving, tmp_path: Path) -> None:
    assert await receiving.log(ONE, 0, parts(b"abc")) == 3
    assert await receiving.log(ONE, 5, parts(b"f")) == 3
    assert (tmp_path / ONE / files.LOG).read_bytes() == b"abc"


async def test_another_life_goes_on_where_a_broken_part_ended(
    receiving: Receiving, tmp_path: Path
) -> None:
    with pytest.raises(ConnectionResetError):
        await receiving.log(ONE, 0, parts(b"abc", broken=True))
    assert await Receiving(tmp_path).log(ONE, 0, parts(b"abcdef")) == 6
    assert (tmp_path / ONE / files.LOG).read_bytes() == b"abcdef"


async def test_a_log_that_was_cut_goes_on_by_what_came(
    receiving: Receiving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("LOG_KEPT", 10), ("LOG_TAIL", 200), ("LOG_END", 4)):
        monkeypatch.setattr(files, name, size)
    assert await receiving.log(ONE, 0, parts(b"0123456789" * 30)) == 300
    other = Receiving(tmp_path)
    assert await other.log(ONE, 290, parts(b"0123456789end")) == 303
    kept = (tmp_path / ONE / files.LOG).read_bytes()
    assert kept == b"0123456789" + files.LOG_CUT + b"6789end"


async def test_a_tree_replaces_what_came_before(receiving: Receiving, tmp_path: Path) -> None:
    await receiving.tree(ONE, "artifacts", parts(archive("a/b", "c")))
    await receiving.tree(ONE, "artifacts", parts(archive("d", content=b"new")))
    found = tmp_path / ONE / "artifacts"
    assert {str(p.relative_to(found)): p.read_bytes() for p in found.rglob("*")} == {"d": b"new"}


async def test_a_tree_that_breaks_off_changes_nothing(receiving: Receiving, tmp_path: Path) -> None:
    await receiving.tree(ONE, "outputs", parts(archive("a")))
    with pytest.raises(ConnectionError):
        await receiving.tree(ONE, "outputs", parts(archive("b", "c")[:600], broken=True))
    assert [p.name for p in (tmp_path / ONE / "outputs").iterdir()] == ["a"]


async def test_what_breaks_off_again_and_again_is_no_sign_of_life(receiving: Receiving) -> None:
    async def broken() -> float:
        with pytest.raises(ConnectionError):
            await receiving.tree(ONE, "outputs", parts(archive("b", "c")[:600], broken=True))
        return receiving.heard(ONE)

    heard = [await broken() for _ in range(12)]
    assert heard[8] < heard[9] == heard[10] == heard[11]
    assert receiving.heard(ONE, trees=False) == -math.inf


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
async def test_a_name_that_leads_out_is_refused(
    receiving: Receiving, tmp_path: Path, name: str
) -> None:
    with pytest.raises(BadArchive, match="evil"):
        await receiving.tree(ONE, "outputs", parts(archive(name)))
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
async def test_links_and_devices_are_refused(
    receiving: Receiving, tmp_path: Path, kind: bytes
) -> None:
    with pytest.raises(BadArchive, match="'a' in the archive"):
        await receiving.tree(ONE, "outputs", parts(archive("a", kind=kind)))
    assert list((tmp_path / ONE).iterdir()) == []


async def test_what_the_disk_has_no_room_for_is_refused_before_it_comes(tmp_path: Path) -> None:
    (tmp_path / ONE).mkdir()
    small = Receiving(tmp_path, reserve=shutil.disk_usage(tmp_path).free - (256 << 20))
    await small.tree(ONE, "artifacts", parts(archive("fits")))
    entry = tarfile.TarInfo("sparse")
    entry.size = 1 << 40
    came = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal came
        yield entry.tobuf()
        while True:
            came += 1
            yield bytes(1 << 16)

    with pytest.raises(StorageFull, match=r"left for data, and 1\.0 TiB are to be stored"):
        await small.tree(ONE, "artifacts", endless())
    assert came < 1000
    assert [path.name for path in (tmp_path / ONE / "artifacts").iterdir()] == ["fits"]


async def test_names_are_as_the_command_chose_them(receiving: Receiving, tmp_path: Path) -> None:
    names = {"a\\b", "two\nlines", "Case", "case", "%2e%2e", "\udcff"}
    await receiving.tree(ONE, "artifacts", parts(archive(*sorted(names))))
    assert {path.name for path in (tmp_path / ONE / "artifacts").iterdir()} == names


async def test_nothing_comes_after_the_verdict(receiving: Receiving, tmp_path: Path) -> None:
    files.write(tmp_path / ONE, files.STATUS, {})
    assert await receiving.log(ONE, 0, parts(b"late")) == 4
    assert not (tmp_path / ONE / files.LOG).exists()


async def test_lines_of_several_nodes_say_whose_they_are(
    receiving: Receiving, tmp_path: Path
) -> None:
    assert await receiving.log(ONE, 0, parts(b"a\n"), node=0) == 2
    assert await receiving.log(ONE, 0, parts(b"b", b"\rc\n\n"), node=1) == 5
    await receiving.say(ONE, "k", "nablahub: pulling\n", node=1)
    await receiving.say(ONE, "k", "nablahub: pulling\n", node=1)
    # Again what came, and the end of a command that did not finish its line.
    again = Receiving(tmp_path)
    assert await again.log(ONE, 0, parts(b"a\nd"), node=0) == 3
    assert await again.log(ONE, 9, parts(b"a gap\n"), node=1) == 5
    assert (tmp_path / ONE / files.LOG).read_bytes() == (
        b"[node 0] a\n[node 1] b\rc\n[node 1] \n[node 1] nablahub: pulling\n[node 0] d\n"
    )


async def test_what_a_kill_left_uncounted_comes_once(receiving: Receiving, tmp_path: Path) -> None:
    assert await receiving.log(ONE, 0, parts(b"one\n"), node=0) == 4
    with (tmp_path / ONE / files.LOG).open("ab") as log:
        log.write(b"[node 0] two")  # Killed while it was written.
    assert await Receiving(tmp_path).log(ONE, 4, parts(b"two\n"), node=0) == 8
    assert (tmp_path / ONE / files.LOG).read_bytes() == b"[node 0] one\n[node 0] two\n"


async def test_a_long_log_of_several_nodes_is_cut_in_the_middle(
    receiving: Receiving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOG_KEPT", 100)
    monkeypatch.setattr(files, "LOG_TAIL", 100)
    monkeypatch.setattr(files, "LOG_END", 20)
    have = {0: 0, 1: 0}
    for number in range(40):
        line = b"line %d\n" % number
        for node in have:
            have[node] = await receiving.log(ONE, have[node], parts(line), node=node)
    assert have == {0: 310, 1: 310}
    log = (tmp_path / ONE / files.LOG).read_bytes()
    assert log.startswith(b"[node 0] line 0\n[node 1] line 0\n")
    assert log.endswith(b"[node 1] line 39\n")
    assert len(log) < 300
