"""What happens elsewhere shows in an open panel, also after the service was killed."""

from __future__ import annotations

import threading

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import Lab, Showcase
from tests.support.hub import RunningHub

pytestmark = [pytest.mark.browser, pytest.mark.hub]
LONG = 120_000


def test_a_run_takes_inputs_and_is_cancelled(lab: Lab, finished: Showcase) -> None:
    page = lab.page
    lab.row("workflow").get_by_role("button").first.click()
    lab.document.get_by_label("test-share").fill("0.5")
    page.keyboard.press("Enter")
    heading = lab.document.get_by_role("heading", level=1)
    expect(heading).to_have_text("digits, run 2", timeout=LONG)
    lab.document.get_by_role("button", name="Cancel", exact=True).click()
    expect(lab.row("run").first).to_contain_text("Canceled", timeout=LONG)
    expect(lab.document.get_by_role("button", name="Cancel", exact=True)).to_be_hidden()
    run = finished.client.workflows.run(finished.workflow, 2)
    assert run.inputs["test-share"].value == "0.5"
    assert run.state == "Canceled"


def test_changes_arrive_after_the_service_was_killed(
    lab: Lab, hub: RunningHub, finished: Showcase
) -> None:
    lab.page.evaluate("window.wasLoadedOnce = true")
    before = finished.client.datasets.create("made before", project=finished.project)
    expect(lab.row("dataset").filter(has_text="made before")).to_be_visible(timeout=LONG)
    hub.kill("service")
    hub.until_answers("/services/nablahub/health")
    finished.client.datasets.create("made after", project=finished.project)
    expect(lab.row("dataset").filter(has_text="made after")).to_be_visible(timeout=LONG)
    finished.client.datasets.delete(before.id)
    expect(lab.row("dataset").filter(has_text="made before")).to_be_hidden(timeout=LONG)
    assert lab.page.evaluate("window.wasLoadedOnce === true")


def test_a_server_that_is_to_be_stopped_says_so_in_time(lab: Lab) -> None:
    kept = threading.Event()

    def tell(route: Route) -> None:
        """Answer as a server whose limit is near; that it knows its limits is tested elsewhere."""
        if route.request.method == "POST":
            kept.set()
        stop = {
            "reason": "idle", "at": "2026-07-01T12:30:00Z", "seconds_left": 500,
            "limit_seconds": 1800, "instance_type": "C4", "near": not kept.is_set(),
        }  # fmt: skip
        route.fulfill(json={"stops": [stop]})

    lab.page.route("**/nablahub/limits*", tell)
    lab.page.reload()
    lab.await_started()
    notice = lab.page.get_by_text("This server stops at")
    told = "unless it is used (limit: 30 minutes). Saved files are kept; kernels and terminals end."
    expect(notice).to_contain_text(told, timeout=LONG)
    lab.page.get_by_role("button", name="Keep it running").click()
    expect(notice).to_be_hidden()
    assert kept.is_set()
