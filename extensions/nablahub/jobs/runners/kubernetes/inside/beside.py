"""The second container of a server's pod: brings the log out and the keys in, as they change.

It holds the token by which the service knows the task; the container that runs what users wrote
does not. Keys come by a request that is answered when they change, so a key that was revoked opens
nothing a moment later: a Secret shown as files would follow with the kubelet's next look, after up
to a minute. While the service is away, the keys stay as they came last. Standard library only.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from nablahub.jobs.runners.kubernetes.inside import places
from nablahub.jobs.runners.kubernetes.inside.commit import send_log, wait_for_end
from nablahub.jobs.runners.kubernetes.inside.sending import Refused, Service

KEYS = Path("/keys/keys.json")
#: A little more than the service lets such a request wait.
_TIMEOUT = 40.0
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0


class Keys:
    """Keeps the file of key hashes as the service has it.

    Parameters
    ----------
    url
        The task's own address at the service.
    token
        The task's token.
    file
        What is replaced as a whole at each change.
    """

    def __init__(self, url: str, token: str, file: Path) -> None:
        self._url = urlsplit(url)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._file = file
        self._etag = ""

    def keep(self) -> None:
        """Follow the changes for ever."""
        wait = _FIRST_WAIT
        while True:
            try:
                with contextlib.closing(self._connect()) as connection:
                    while self._take(connection):
                        wait = _FIRST_WAIT
            except (OSError, http.client.HTTPException):
                pass  # The service is being restarted, or away: the keys stay as they are.
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _connect(self) -> http.client.HTTPConnection:
        secure = self._url.scheme == "https"
        made = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return made(self._url.hostname or "", self._url.port, timeout=_TIMEOUT)

    def _take(self, connection: http.client.HTTPConnection) -> bool:
        """Wait for a change and take it; False when the service answers something else."""
        path = f"{self._url.path}/keys?known={quote(self._etag)}"
        connection.request("GET", path, headers=self._headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            return False
        etag = json.loads(body)["version"]
        if etag != self._etag:
            replace(self._file, json.dumps(json.loads(body)["content"]).encode())
            self._etag = etag
        return True


def replace(file: Path, content: bytes) -> None:
    """Write a file whole, through another name beside it."""
    new = file.with_name(f".{file.name}.new")
    new.write_bytes(content)
    new.replace(file)


def main() -> int:
    """Stay until the pod ends and the last of the log is out."""
    task: dict[str, Any] = json.loads(places.DELIVERY.read_text(encoding="utf-8"))
    url, token = task["service"]["url"] + task["path"], task["service"]["token"]
    ended, tell = os.pipe()

    def leave(*_: object) -> None:
        threading.Thread(target=wait_for_end, args=(tell,), daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    if task["keys"]:
        threading.Thread(target=Keys(url, token, KEYS).keep, daemon=True).start()
    try:
        send_log(Service(url, token, source=socket.gethostname()), ended)
    except Refused as error:
        places.TERMINATION.write_text(str(error)[: places.TERMINATION_BYTES // 4])
        # The task has ended for the service, and its pods are about to.
        select.select([ended], [], [])
    return 0


if __name__ == "__main__":
    sys.exit(main())
