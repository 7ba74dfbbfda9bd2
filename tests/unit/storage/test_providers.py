"""Storage providers: tried out when they are made, apart from each other, secrets kept."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import botocore.exceptions
import httpx
import pytest
from click.testing import CliRunner

from nablahub.core import guard
from nablahub.core.errors import Forbidden, Invalid, NotFound
from nablahub.core.extension import load
from nablahub.core.outbound import BadAddress, check_address
from nablahub.core.s3 import S3Store
from nablahub.core.s3_errors import reason
from nablahub.core.store_errors import StoreRefused
from nablahub.core.storesettings import ObjectStoreSettings, StorePlace
from nablahub.core.vault import SecretLost, Vault
from nablahub.storage.api import StorageAPI
from nablahub.storage.cli import storage as command
from nablahub.storage.errors import NoSuchProvider, ProviderFails, ProviderNameTaken
from nablahub.storage.types import StorageProvider
from tests.support import databases
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS
from tests.support.service import RunningService, running

EXTENSIONS = [
    load(f"nablahub.{name}.extension:extension") for name in ("teams", "projects", "storage")
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    root = tmp_path_factory.mktemp("state")
    with running(root, EXTENSIONS, allow_private_addresses=True) as found:
        found.fake.add("root", admin=True)
        yield found


def api(service: RunningService, name: str = "alice") -> StorageAPI:
    return StorageAPI(service.transport(name))


def make(service: RunningService, s3: SeaweedFS, name: str, **fields: Any) -> StorageProvider:
    given = {
        "bucket": fields.pop("bucket", None) or s3.bucket(), "access_key": KEY,
        "secret_key": SECRET, "endpoint": s3.endpoint, "region": REGION, **fields,
    }  # fmt: skip
    return api(service).create(name, **given)


def test_a_provider_is_made_changed_and_deleted(service: RunningService, s3: SeaweedFS) -> None:
    bucket = s3.bucket()
    made = make(service, s3, "mine", bucket=bucket, prefix="data/x")
    assert (made.bucket, made.prefix, made.endpoint) == (bucket, "data/x", s3.endpoint)
    assert made.id.startswith("sp")
    assert len(made.id) == 15
    assert s3.keys(bucket) == set()  # Nothing is left of trying it out.
    assert s3.multiparts(bucket) == set()
    assert api(service).get("mine") == api(service).get(made.id) == made
    assert made in list(api(service).list())
    changed = api(service).change(made, name="ours", direct=False)
    assert (changed.name, changed.direct, changed.revision) == ("ours", False, 2)
    assert api(service).check("ours").ok
    with pytest.raises(ProviderNameTaken):
        make(service, s3, "ours")
    api(service).delete("ours")
    with pytest.raises(NoSuchProvider):
        api(service).get(made.id)


def test_browsers_may_use_its_signed_urls(service: RunningService, s3: SeaweedFS) -> None:
    made = make(service, s3, "cors")
    assert made.cors
    origin = f"http://127.0.0.1:{service.port}"
    asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    answer = httpx.options(f"{s3.endpoint}/{made.bucket}/x", headers=asked, trust_env=False)
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    api(service).change(made, access_key=KEY)
    [rule] = s3.client().get_bucket_cors(Bucket=made.bucket)["CORSRules"]  # Not twice.
    assert rule["AllowedOrigins"] == [origin]


@pytest.mark.parametrize(
    ("wrong", "said", "field"),
    [
        ({"access_key": "nobody"}, "does not know the access key", "/access_key"),
        ({"secret_key": "not this"}, "secret key is not the one", "/secret_key"),
        ({"bucket": "no-such-bucket"}, "no bucket 'no-such-bucket'", "/bucket"),
        ({"endpoint": "http://127.0.0.1:1"}, "Nothing answers at http://127", "/endpoint"),
        ({"endpoint": "http://no-such-host.invalid"}, "has no address", "/endpoint"),
        ({"endpoint": "ftp://x"}, "endpoint is http", "/endpoint"),
        ({"prefix": "a/../b"}, "", "/prefix"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    service: RunningService, s3: SeaweedFS, wrong: dict[str, str], said: str, field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        make(service, s3, "wrong", **wrong)
    assert said in str(caught.value) + "".join(map(str, caught.value.errors))
    assert [fault.pointer for fault in caught.value.errors] == [field]
    assert SECRET not in repr(caught.value)
    assert "wrong" not in {provider.name for provider in api(service).list()}


def test_a_store_without_tls_and_one_with_a_strange_certificate(
    service: RunningService, s3: SeaweedFS
) -> None:
    with pytest.raises(ProviderFails, match="does not speak TLS"):
        make(service, s3, "tls", endpoint=s3.endpoint.replace("http:", "https:"))


@pytest.mark.parametrize(
    ("code", "said", "field"),
    [
        ("RequestTimeTooSkewed", "clocks", ""),
        ("AccessDenied", "need to list it", "access_key"),
        ("AuthorizationHeaderMalformed", "in another region than 'us-east-1'", "region"),
        ("SlowDown", "answered SlowDown", ""),
    ],
)
def test_codes_of_s3_have_their_sentences(code: str, said: str, field: str) -> None:
    place = StorePlace(url="s3://bkt", endpoint="http://x")
    error = botocore.exceptions.ClientError({"Error": {"Code": code, "Message": "m"}}, "PutObject")
    found = reason(error, place)
    assert said in found.sentence
    assert found.hint
    assert found.field == field
    assert found.away is (code == "SlowDown")


def test_two_teams_never_see_each_others(service: RunningService, s3: SeaweedFS) -> None:
    made = make(service, s3, "secret-place")
    bob = api(service, "bob")
    assert list(bob.list()) == []
    for ask in (bob.get, bob.check, bob.delete):
        with pytest.raises(NotFound):
            ask(made.id)
        with pytest.raises(NotFound):
            ask("secret-place")
    with pytest.raises(NotFound):
        bob.change(made, name="taken")
    api(service).delete(made.id)


def test_the_secret_is_encrypted_and_never_read_back(
    service: RunningService, s3: SeaweedFS
) -> None:
    made = make(service, s3, "hidden")
    text = json.dumps(service.transport().get(f"/storage-providers/{made.id}"))
    text += json.dumps(service.transport().get("/storage-providers"))
    text += databases.stored(service.state.root).decode(errors="replace")
    assert made.id in text
    assert SECRET not in text
    keys = service.state.encryption_keys
    assert keys.stat().st_mode & 0o777 == 0o600


def test_keys_are_rotated_and_the_old_ones_forgotten(
    service: RunningService, s3: SeaweedFS
) -> None:
    made = make(service, s3, "rotating")
    before = service.state.encryption_keys.read_text().split()
    with pytest.raises(Forbidden):
        api(service).rotate_keys()
    assert api(service, "root").rotate_keys().secrets >= 1
    after = service.state.encryption_keys.read_text().split()
    assert len(after) == 1
    assert after != before
    assert api(service).check(made.id).ok


def test_a_lost_key_file_is_said(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "keys")
    kept = vault.encrypt("s")
    assert Vault(tmp_path / "keys").decrypt(kept) == "s"
    (tmp_path / "keys").unlink()
    with pytest.raises(SecretLost, match="gone or empty"):
        vault.decrypt(kept)
    vault.encrypt("another")
    with pytest.raises(SecretLost, match="None of the keys"):
        vault.decrypt(kept)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]"]
)
def test_private_addresses_are_refused_unless_allowed(
    tmp_path: Path, s3: SeaweedFS, host: str
) -> None:
    with running(tmp_path / "state", EXTENSIONS) as strict:
        port = s3.endpoint.rpartition(":")[2]
        with pytest.raises(BadAddress, match="not a public address"):
            make(strict, s3, "inside", endpoint=f"http://{host}:{port}")


def test_a_name_that_turns_private_after_the_look_is_not_connected_to(
    tmp_path: Path, s3: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(s3.endpoint.rpartition(":")[2])
    real, asked = socket.getaddrinfo, list[str]()

    def rebinding(host: Any, *rest: Any, **more: Any) -> Any:
        if host != "rebinding.example":
            return real(host, *rest, **more)
        asked.append(host)
        return real("1.1.1.1" if len(asked) == 1 else "127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with running(tmp_path / "state", EXTENSIONS) as strict:
        for scheme in ("http", "https"):
            asked.clear()
            with pytest.raises(ProviderFails) as caught:
                make(strict, s3, "rebinding", endpoint=f"{scheme}://rebinding.example:{port}")
            assert len(asked) == 2
            if scheme == "http":
                assert "127.0.0.1, which is not a public address" in caught.value.detail


def test_what_may_be_reached_passes_the_guard_and_nobody_else_uses_it(
    s3: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checked(url: str, **_: Any) -> list[str]:
        return check_address(url, allow_private=True)

    with closing(guard.Guard()) as door:
        store = S3Store(s3.config(), "team", door.url)
        for ask in (store.read, store.transfers.begin):
            with pytest.raises(StoreRefused, match="not a public address"):
                ask("a")
    monkeypatch.setattr(guard, "check_address", checked)
    with closing(guard.Guard()) as door:
        store = S3Store(s3.config(), "team", door.url)
        data = os.urandom(9 * 1024 * 1024)
        with store.create("a") as writer:
            writer.write(data)
            writer.commit()
        assert store.read("a") == data
        assert list(store.keys("")) == ["a"]
        bare = door.url.partition("@")[2]
        for proxy in (f"http://{bare}", f"http://guard:guess@{bare}"):
            with httpx.Client(proxy=proxy) as client:
                assert client.get(s3.endpoint).status_code == 407


def test_the_command_line(service: RunningService, s3: SeaweedFS) -> None:
    env = {
        "NABLAHUB_URL": service.url, "NABLAHUB_TOKEN": "token-of-carol",
        "NABLAHUB_STORAGE_SECRET_KEY": SECRET,
    }  # fmt: skip

    def run(*words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(command, [*words, "--json"], env=env)
        assert done.exit_code == code, done.output
        assert SECRET not in done.output
        return json.loads(done.output)

    place = ["--bucket", s3.bucket(), "--endpoint", s3.endpoint, "--region", REGION]
    made = run("create", "cli", *place, "--access-key", KEY)
    assert run("show", "cli") == made
    assert [row["id"] for row in run("list")] == [made["id"]]
    assert run("update", "cli", "--through-hub")["direct"] is False
    assert run("check", "cli")["ok"] is True
    s3.client().delete_bucket(Bucket=made["bucket"])
    assert "no bucket" in run("check", "cli", code=1)["problem"]
    assert run("delete", "cli", "--yes") == {"deleted": made["id"]}


def test_keys_of_the_hubs_own_store_come_from_files_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NABLAHUB_S3_ACCESS_KEY", "NABLAHUB_S3_SECRET_KEY", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "secret"
    file.write_text("from-file\n")
    settings = ObjectStoreSettings(url="s3://bkt/x/y", secret_key_file=file)
    with pytest.raises(ValueError, match="NABLAHUB_S3_ACCESS_KEY"):
        settings.config()
    monkeypatch.setenv("NABLAHUB_S3_ACCESS_KEY", "from-environment")
    config = settings.config()
    assert config.access_key.get_secret_value() == "from-environment"
    assert config.secret_key.get_secret_value() == "from-file"
    assert (config.bucket, config.prefix) == ("bkt", "x/y")
    assert "from-" not in repr(config) + str(config) + config.model_dump_json()
    with pytest.raises(ValueError, match="needs a url"):
        ObjectStoreSettings(endpoint="http://x")
