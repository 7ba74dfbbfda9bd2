"""The first container of a pod lays a workspace out, whatever was killed before it."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nablahub.core.archives import BadArchive
from nablahub.core.transport import Transport
from nablahub.jobs.runners.kubernetes.inside.fetch import _workspace
from nablahub.jobs.workspaces.packing import look, pack

PATH = "/api/v1/jobs/j1/task"


class Service:
    """Answers with one archive."""

    def __init__(self) -> None:
        self.archive = b""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.path == f"{PATH}/workspace"
                self.send_response(200 if known else 404)
                self.send_header("Content-Length", str(len(outer.archive)))
                self.end_headers()
                self.wfile.write(outer.archive)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def archive(folder: Path, files: dict[str, str]) -> bytes:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    made = io.BytesIO()
    pack(look(folder), made, lambda _done, _total: None)
    return made.getvalue()


def test_it_lies_in_the_working_folder_and_nothing_else_does(
    service: Service, tmp_path: Path
) -> None:
    service.archive = archive(tmp_path / "code", {"main.py": "1", "sub/a": "2"})
    work = tmp_path / "work"
    (work / ".nablahub-new/half").mkdir(parents=True)
    (work / "left").write_text("of a container that was killed")
    with Transport(service.url, "token") as hub:
        _workspace(hub, PATH, work)
        _workspace(hub, PATH, work)
    found = {str(p.relative_to(work)): p.read_text() for p in work.rglob("*") if p.is_file()}
    assert found == {"main.py": "1", "sub/a": "2"}
    assert sorted(p.name for p in work.iterdir()) == ["main.py", "sub"]


def test_an_archive_that_is_damaged_leaves_no_half(service: Service, tmp_path: Path) -> None:
    service.archive = archive(tmp_path / "code", {"main.py": "1"})[:-6]
    (tmp_path / "work").mkdir()
    with Transport(service.url, "token") as hub, pytest.raises(BadArchive):
        _workspace(hub, PATH, tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []
