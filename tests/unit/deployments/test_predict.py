"""Predictions by the client: sent again while nobody is there, and told in words."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

import pytest

from nablahub.core.transport import Transport
from nablahub.deployments.api import DeploymentsAPI, PredictionFailed
from nablahub.deployments.types import Deployment
from tests.unit.core.test_transport import serving


class Server(BaseHTTPRequestHandler):
    """Answers as told, call by call; 0 cuts the connection."""

    answers: ClassVar[list[int]] = []
    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.answers.pop(0)
        if status == 0:
            self.close_connection = True
            return
        body = json.dumps({"outputs": []} if status == 200 else {"error": "no good"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def predict(answers: list[int]) -> object:
    Server.answers[:], Server.bodies[:] = answers, []
    with serving(Server) as url, Transport(url, "t") as hub:
        deployment = Deployment.model_construct(endpoint=url, model_name="m", name="d")
        return DeploymentsAPI(hub).predict(deployment, "key", {"inputs": []})


def test_a_prediction_waits_for_whoever_comes_back() -> None:
    assert predict([503, 0, 502, 200]) == {"outputs": []}
    assert [json.loads(body) for body in Server.bodies] == [{"inputs": []}] * 4


def test_what_the_model_server_refuses_is_told_at_once() -> None:
    with pytest.raises(PredictionFailed, match="It answered 400: no good"):
        predict([400])
    assert len(Server.bodies) == 1
