"""Instance types and single-user servers: the file is edited while the hub runs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path

import httpx
import pytest

from tests.support.hub import CONFIG, RunningHub, running

pytestmark = pytest.mark.hub
#: What is left out where times are told in whole seconds.
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub whose file of instance types is edited, with a culler that looks often."""
    folder = tmp_path_factory.mktemp("house")
    config = folder / "jupyterhub_config.py"
    own = (
        "c.NablaHub.idle_check_interval = 1",
        "c.NablaHub.idle_culler = False",  # limits of types are kept all the same
        "c.JupyterHub.load_groups = {'lab': ['bob']}\n",
    )
    config.write_text("\n".join(own) + CONFIG.read_text())
    with running(folder / "s", config) as hub:
        yield hub


def write(hub: RunningHub, text: str) -> Path:
    hub.state.instance_types.write_text(text)
    return hub.state.instance_types


def spawn_page(hub: RunningHub, name: str) -> str:
    """Return the words of a user's spawn page."""
    with httpx.Client(timeout=60, trust_env=False, follow_redirects=True) as browser:
        browser.get(f"{hub.url}/hub/login")
        browser.post(
            f"{hub.url}/hub/login?next=/hub/spawn",
            data={
                "username": name, "password": f"password-of-{name}",
                "_xsrf": browser.cookies["_xsrf"],
            },
        )  # fmt: skip
        page = browser.get(f"{hub.url}/hub/spawn")
    form = page.text.partition('<fieldset class="nabla-instances">')[2].partition("</fieldset>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", form)).split())


def ended(hub: RunningHub, name: str) -> None:
    end = time.monotonic() + 60
    while hub.api("GET", f"/users/{name}").json()["servers"]:
        assert time.monotonic() < end, "the server still runs"
        time.sleep(0.2)


def begin(hub: RunningHub, name: str) -> None:
    """Start a server that may be stopped before anybody sees it ready."""
    path, wish = f"/users/{name}/server", {"instance_type": "brief"}
    answer = hub.api("POST", path, token=hub.token(name), body=wish)
    assert answer.status_code in (201, 202), answer.text


def test_the_page_follows_the_file_and_says_who_may_take_what(house: RunningHub) -> None:
    write(house, "types: {tiny: {cpus: 1, memory_gib: 1, price: 0.5, groups: [lab]}}")
    page = spawn_page(house, "alice")
    assert "It is kept for members of the group lab." in page.partition("tiny")[2]
    answer = house.api(
        "POST", "/users/alice/server", token=house.token("alice"), body={"instance_type": "tiny"}
    )
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(
        "You cannot take tiny: It is kept for members of the group lab. Choose "
    )
    page = spawn_page(house, "bob")
    assert "0.5 $/h" in page.partition("tiny")[2]
    assert "kept for" not in page
    write(house, "offered: [C3]")
    page = spawn_page(house, "bob")
    assert "C3" in page
    assert "tiny" not in page


def test_a_broken_file_keeps_the_page_as_it_was(house: RunningHub) -> None:
    write(house, "types: {tiny: {cpus: 1, memory_gib: 1}}")
    assert "tiny" in spawn_page(house, "carol")
    write(house, "types: {tiny: {cpus: 1, memory_gib: 1, cost: 2}}")
    page = spawn_page(house, "carol")
    assert "tiny" in page
    assert "cannot be used" not in page  # nothing that she could mend


def test_the_longest_run_ends_a_server_with_a_notice(house: RunningHub) -> None:
    write(house, "types: {brief: {cpus: 1, memory_gib: 1, max_hours: 0.001}}")
    assert "at most 3.6 seconds" in spawn_page(house, "bob")
    begin(house, "bob")
    write(house, "types: {brief: {cpus: 1, memory_gib: 1}}")  # it keeps what it was given
    ended(house, "bob")
    told = (
        "Your server was stopped after 3.6 seconds, the longest run of brief. Your files are kept."
    )
    assert told in spawn_page(house, "bob")
    house.spawn("bob", instance_type="C3").stop()
    assert told not in spawn_page(house, "bob")


def test_a_type_s_own_idle_limit_stops_a_server(house: RunningHub) -> None:
    write(house, "types: {brief: {cpus: 1, memory_gib: 1, idle_minutes: 0.03}}")
    begin(house, "carol")
    ended(house, "carol")


def test_a_server_knows_when_it_will_be_stopped(house: RunningHub) -> None:
    write(house, "types: {brief: {cpus: 1, memory_gib: 1, max_hours: 0.1, idle_minutes: 60}}")
    house.spawn("dave", instance_type="brief")
    url = f"{house.url}/user/dave/nablahub/limits"
    headers = {"Authorization": f"token {house.token('dave')}"}
    longest, idle = httpx.get(url, headers=headers, trust_env=False).json()["stops"]
    assert (longest["reason"], longest["limit_seconds"]) == ("longest_run", 360)
    assert (idle["reason"], idle["limit_seconds"]) == ("idle", 3600)
    assert longest["instance_type"] == "brief"
    model = house.api("GET", "/users/dave").json()["servers"][""]
    started = datetime.fromisoformat(model["started"])
    assert abs(datetime.fromisoformat(longest["at"]) - started - timedelta(minutes=6)) <= SECOND

    kept = httpx.post(url, headers=headers, trust_env=False).json()["stops"][1]
    active = datetime.fromisoformat(kept["at"]) - timedelta(hours=1)
    assert active >= datetime.fromisoformat(idle["at"]) - timedelta(hours=1)
    # The hub was told at once.
    model = house.api("GET", "/users/dave").json()["servers"][""]
    assert abs(datetime.fromisoformat(model["last_activity"]) - active) <= SECOND
