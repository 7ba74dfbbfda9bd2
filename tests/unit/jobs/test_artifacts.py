"""What a job leaves in ``/artifacts``: listed, read, and never more than that."""

from __future__ import annotations

import io
import zipfile

import pytest

from nablahub.core import errors
from tests.unit.jobs.conftest import Jobs


def test_artifacts_and_what_may_not_be_read_through_them(jobs: Jobs) -> None:
    job = jobs.shell(
        "mkdir /artifacts/d; echo one > /artifacts/d/a.txt; ln -s /etc/passwd /artifacts/l"
    )
    assert [(a.path, a.size) for a in jobs.api.artifacts(job.id)] == [("d/a.txt", 4)]
    hub = jobs.service.transport("alice")
    assert hub.get(f"/jobs/{job.id}/artifacts/d/a.txt") == b"one\n"
    for path in ("l", "d", "nonsuch", "../log", "..%2Flog"):
        with pytest.raises(errors.NablaError) as caught:
            hub.get(f"/jobs/{job.id}/artifacts/{path}")
        assert caught.value.code in ("no_such_artifact", "no_such_route")


def test_artifacts_come_in_parts_with_their_type_and_as_one_archive(jobs: Jobs) -> None:
    job = jobs.shell("cd /artifacts; printf 0123456789 > a.csv; echo '<p>' > b.html; ln -s a.csv l")
    hub = jobs.service.transport("alice")
    with hub.stream("GET", f"/jobs/{job.id}/artifacts/a.csv", headers={"Range": "bytes=2-4"}) as it:
        assert (it.status_code, it.read()) == (206, b"234")
        assert it.headers["Content-Range"] == "bytes 2-4/10"
        assert it.headers["Content-Type"] == "text/csv; charset=utf-8"
    with hub.stream("GET", f"/jobs/{job.id}/artifacts/b.html") as it:
        # Nothing that a browser would run: saved, not shown.
        assert it.headers["Content-Type"] == "application/octet-stream"
        assert it.headers["Content-Disposition"].startswith("attachment")
        assert "sandbox" in it.headers["Content-Security-Policy"]
    with hub.stream("GET", f"/jobs/{job.id}/archive") as it:
        archive = zipfile.ZipFile(io.BytesIO(it.read()))
    assert {name: archive.read(name) for name in archive.namelist()} == {
        "a.csv": b"0123456789",
        "b.html": b"<p>\n",
    }


def test_artifacts_are_listed_to_the_last(jobs: Jobs) -> None:
    names = ["b", "d", "d.x", "a/c", "a/c.d/e", "a/c/d", "a-b/x", "\u00e9/z", "z/y/x/w"]
    job = jobs.shell(
        "cd /artifacts; seq -f f%05g 10100 | xargs touch; "
        f"cd /artifacts; mkdir many; mv f* many; for n in {' '.join(names)}; do "
        "mkdir -p tmp/$n; mkdir -p $(dirname $n); echo > $n.txt; done; rm -r tmp"
    )
    expected = {f"{n}.txt" for n in names} | {f"many/f{n:05}" for n in range(1, 10101)}
    found = [item.path for item in jobs.api.artifacts(job.id)]
    assert len(found) == len(set(found))
    assert set(found) == expected
    hub, few, cursor = jobs.service.transport(), list[str](), None
    while True:
        page = hub.get(f"/jobs/{job.id}/artifacts", limit=1000 if few else 3, cursor=cursor)
        few += [item["path"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert few == found
    with zipfile.ZipFile(io.BytesIO(hub.get(f"/jobs/{job.id}/archive"))) as archive:
        assert archive.namelist() == found


def test_artifacts_of_odd_names_hide_no_others(jobs: Jobs) -> None:
    job = jobs.shell("cd /artifacts; echo > good; echo > $(printf 'b\\377d')")
    assert job.state == "Succeeded", job
    assert [a.path for a in jobs.api.artifacts(job.id)] == ["good"]
    with pytest.raises(errors.NablaError) as caught:
        jobs.service.transport().get(f"/jobs/{job.id}/artifacts/good%00")
    assert caught.value.code == "no_such_artifact"
