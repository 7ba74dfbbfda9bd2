"""Runs code in a kernel of a single-user server, over the websocket as Lab does."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

if TYPE_CHECKING:
    from tests.support.hub import Server

SHELL = """
import subprocess
print(subprocess.run({script!r}, shell=True, executable="/bin/bash", text=True,
                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout, end="")
"""


def execute(server: Server, script: str) -> str:
    """Return what a shell script prints when a fresh kernel runs it."""
    return code(server, SHELL.format(script=script))


def code(server: Server, source: str) -> str:
    """Return what Python code prints in a fresh kernel; its error is raised."""
    answer = server.request("POST", "/api/kernels", json={"name": "python3"})
    assert answer.status_code == 201, answer.text
    kernel = answer.json()["id"]
    try:
        return asyncio.run(run(server, kernel, source))
    finally:
        server.request("DELETE", f"/api/kernels/{kernel}")


async def run(server: Server, kernel: str, source: str) -> str:
    """Return what code prints in a kernel that runs; its error is raised."""
    url = server.url.replace("http:", "ws:") + f"/api/kernels/{kernel}/channels"
    socket = await websocket_connect(HTTPRequest(url, headers=server.headers))
    message: dict[str, Any] = {
        "header": {
            "msg_id": uuid.uuid4().hex, "username": server.name, "session": uuid.uuid4().hex,
            "msg_type": "execute_request", "version": "5.3",
        },
        "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [],
        "content": {
            "code": source, "silent": False, "store_history": False, "user_expressions": {},
            "allow_stdin": False, "stop_on_error": True,
        },
    }  # fmt: skip
    await socket.write_message(json.dumps(message))
    printed = []
    idle = replied = False
    while not (idle and replied):
        got = await asyncio.wait_for(socket.read_message(), 120)
        assert got is not None, "the websocket was closed"
        event = json.loads(got)
        if event["parent_header"].get("msg_id") != message["header"]["msg_id"]:
            continue
        content = event["content"]
        if event["msg_type"] == "stream":
            printed.append(content["text"])
        elif event["msg_type"] == "error":
            raise AssertionError("\n".join(content["traceback"]))
        idle = idle or content.get("execution_state") == "idle"
        replied = replied or event["msg_type"] == "execute_reply"
    socket.close()
    while await socket.read_message() is not None:  # until the other side has closed it too
        pass
    return "".join(printed)
