"""Who may ask for predictions."""

import hashlib
import json
import time
from pathlib import Path

import httpx
import pytest

from nablahub.serving.keys import CHECK_EVERY, Keys, parse
from tests.support import waiting
from tests.unit.serving.process import KEY, ModelServer, write_keys

ROUTES = [
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/iris"),
    ("GET", "/v2/models/iris/ready"),
    ("POST", "/v2/models/iris/infer"),
    ("POST", "/api/v1.0/predictions"),
    ("GET", "/"),
    ("GET", "/nothing"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer \xff"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"Authorization": "Bearer wrong", "X-API-Key": KEY},
    ],
    ids=str,
)
def test_nothing_is_answered_without_a_key(
    iris: ModelServer, method: str, path: str, headers: dict[str, str]
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    with iris.client(key=None) as client:
        answer = client.request(method, path, headers=raw, content=b"{}" * (method == "POST"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY}"}, {"X-API-Key": KEY}],
    ids=str,
)
def test_either_header_opens(iris: ModelServer, headers: dict[str, str]) -> None:
    with iris.client(key=None) as client:
        assert client.get("/v2", headers=headers).status_code == 200


def status(client: httpx.Client) -> int:
    return client.get("/v2/health/live").status_code


def until(client: httpx.Client, wanted: int) -> None:
    """Ask until the status is the wanted one."""
    waiting.until(lambda: status(client) == wanted, f"it answers {wanted}")


def test_a_revoked_key_ends_on_an_open_connection(iris_file: Path, tmp_path: Path) -> None:
    write_keys(tmp_path, ["one", "two"])
    with ModelServer(iris_file, tmp_path) as server:
        with server.client("one") as one, server.client("two") as two:
            assert status(one) == status(two) == 200
            write_keys(tmp_path, ["two"])
            until(one, 401)
            assert status(two) == 200
            write_keys(tmp_path, ["one", "two"])
            until(one, 200)
            (tmp_path / "keys.json").write_text("{")
            until(two, 401)
            (tmp_path / "keys.json").unlink()
            write_keys(tmp_path, ["two"])
            until(two, 200)
        assert server.stop() == 0
        assert "no key is accepted" in server.said()


def test_without_a_keys_file_nothing_opens(iris_file: Path, tmp_path: Path) -> None:
    with ModelServer(iris_file, tmp_path) as server, server.client("any") as client:
        assert status(client) == 401


def test_an_expired_key_opens_nothing(tmp_path: Path) -> None:
    rows = [
        {"id": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "expires_at": end}
        for name, end in [("past", time.time() - 1), ("future", time.time() + 60), ("never", None)]
    ]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": rows}))
    keys = Keys(tmp_path)
    assert [keys.find(name) for name in ("past", "future", "never", "none")] == [
        None,
        "future",
        "never",
        None,
    ]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"keys": 1}', '{"keys": [{"id": "a"}]}', '{"keys": [1]}']
)
def test_a_file_of_another_form_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(content.encode())


def test_the_file_is_looked_at_once_a_second(tmp_path: Path) -> None:
    assert CHECK_EVERY <= 1.0
    now = [100.0]
    keys = Keys(tmp_path, clock=lambda: now[0])
    assert keys.find("a") is None
    write_keys(tmp_path, ["a"])
    assert keys.find("a") is None
    now[0] += CHECK_EVERY
    assert keys.find("a") == "key0"
