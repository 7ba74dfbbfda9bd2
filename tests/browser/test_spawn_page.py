"""The spawn page by keyboard alone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SPAWN_TIMEOUT, sign_in
from tests.support.browser import Watch, faults
from tests.support.hub import RunningHub, Server

pytestmark = [pytest.mark.browser, pytest.mark.hub]
USER = "bob"


def test_enter_starts_the_last_choice(page: Page, hub: RunningHub, watch: Watch) -> None:
    hub.stop_server(USER)
    page.goto(f"{hub.url}/hub/login?next=/hub/spawn")
    sign_in(page, USER)
    chosen = page.locator("input[name=instance_type]:checked")
    expect(chosen).to_be_focused()
    page.keyboard.press("ArrowUp")
    name = chosen.get_attribute("value")
    assert faults(page, "body") == []
    too_big = page.get_by_role("radio", name=re.compile("^H100x8"))
    expect(too_big).to_be_disabled()
    expect(too_big).to_have_accessible_description(re.compile("^Needs 8 × H100; "))
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/user/{USER}/lab**", timeout=SPAWN_TIMEOUT)
    Server(hub, USER).stop()
    page.goto(f"{hub.url}/hub/spawn")
    expect(chosen).to_have_attribute("value", name or "")
