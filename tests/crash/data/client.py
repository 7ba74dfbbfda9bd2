"""A client in a process of its own, which may kill itself: ``python -m tests.crash.data.client``.

``URL VERB …``; with a number in ``KILL_AT`` it sends itself SIGKILL at that act. It prints how many
there were, and ends with 1 when the hub refused in words.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import httpx

from nablahub.core.errors import NablaError
from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from tests.crash.data.acts import Countdown

TOKEN = "token-of-alice"


def put(api: DatasetsAPI, _: str, dataset: str, folder: str) -> None:
    """Put a folder as a new version."""
    api.upload(dataset, Path(folder))


def get(api: DatasetsAPI, _: str, ref: str, folder: str) -> None:
    """Get a version into a folder."""
    api.download(ref, Path(folder))


def draft(api: DatasetsAPI, _: str, dataset: str, folder: str) -> None:
    """Put each file of a folder into a draft, and commit it."""
    with api.draft(dataset) as made:
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file():
                made.put(str(file.relative_to(folder)), file)
        made.commit()


def delete(api: DatasetsAPI, _: str, first: str, second: str) -> None:
    """Delete a version and have it back, twice; move a tag."""
    for _round in range(2):
        if first in {version.id for version in api.versions(first.partition(":")[0])}:
            api.delete_version(first)
        api.restore(first)
        api.tag(second, "good")


def collect(api: DatasetsAPI, _: str, dataset: str, version: str) -> None:
    """Delete a version and let its bytes go; undo that once."""
    if version in {found.id for found in api.versions(dataset)}:
        api.delete_version(version)
    api.collect(dataset, really=True)
    api.collect(dataset, undo=True)
    api.collect(dataset, really=True)


def push(_: DatasetsAPI, url: str, dataset: str, folder: str) -> None:
    """Push a folder as ``dvc push`` does: what is missing, object by object, the tree last."""
    rows = []
    with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http:

        def send(name: str, data: bytes) -> None:
            where = f"{url}/dvc/{dataset}/files/md5/{name[:2]}/{name[2:]}"
            if http.head(where).status_code == 200:
                return
            answer = http.put(where, content=data)
            if answer.status_code >= 500 or answer.status_code in (409, 422):
                raise NablaError(answer.text)
            answer.raise_for_status()

        for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            data = file.read_bytes()
            md5 = hashlib.md5(data).hexdigest()
            send(md5, data)
            rows.append({"md5": md5, "relpath": str(file.relative_to(folder))})
        tree = json.dumps(sorted(rows, key=lambda row: row["relpath"])).encode()
        send(f"{hashlib.md5(tree).hexdigest()}.dir", tree)


VERBS = {
    "put": put, "get": get, "draft": draft, "delete": delete, "collect": collect, "push": push
}  # fmt: skip


def main(url: str, verb: str, *arguments: str) -> int:
    """Do one thing."""
    countdown = Countdown()
    httpx.Client.send = countdown.around(httpx.Client.send)  # type: ignore[method-assign]
    with Transport(url, TOKEN) as transport:
        api = DatasetsAPI(transport)
        countdown.arm(int(os.environ.get("KILL_AT", "0")))
        try:
            VERBS[verb](api, url, *arguments)
        except (NablaError, httpx.TransportError) as error:
            print(json.dumps({"refused": str(error) or type(error).__name__}))
            return 1
        print(json.dumps({"acts": countdown.disarm()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
