"""The panel in other themes, and for people who use a keyboard or a screen reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Lab
from tests.support.browser import faults

pytestmark = [pytest.mark.browser, pytest.mark.hub]


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing(lab: Lab, theme: str, pictures: Path) -> None:
    page = lab.page
    page.get_by_role("menuitem", name="Settings").click()
    entries = page.locator(".lm-Menu-itemLabel")
    entries.get_by_text("Theme", exact=True).hover()
    entries.get_by_text(theme, exact=True).click()
    expect(page.locator("body")).to_have_attribute("data-jp-theme-name", theme)
    lab.panel.get_by_role("button", name="New project").click()
    expect(lab.panel.get_by_label("Name of the new project")).to_be_focused()
    assert faults(page, "#nablahub-panel") == []
    page.keyboard.press("Escape")
    for open_it in (
        lab.panel.get_by_role("button", name="Open the project’s page"),
        *(
            lab.row(kind).get_by_role("button").first
            for kind in ("workflow", "run", "dataset", "model", "deployment")
        ),
    ):
        open_it.click()
        heading = lab.document.get_by_role("heading", level=1)
        expect(heading).to_be_visible()
        name = f"{theme} {lab.front()}"
        page.screenshot(path=pictures / f"{name.replace('/', ' ')}.png")
        assert faults(page, ".nbl-document:not(.lm-mod-hidden)") == [], name
