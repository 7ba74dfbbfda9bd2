"""From signing in to a prediction, by mouse and keyboard, in a real browser."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from nablahub import showcase
from nablahub.core.errors import Unavailable
from tests.browser.conftest import Lab, Showcase, sign_in
from tests.support.browser import Watch
from tests.support.hub import RunningHub, Server

pytestmark = [pytest.mark.browser, pytest.mark.hub]
LONG = 120_000  # ms; a run of three jobs, a rollout


@contextmanager
def changes(hub: RunningHub, user: str) -> Iterator[Counter[str]]:
    """Count the changes that the service tells within the block, by kind, as a second listener."""
    seen: Counter[str] = Counter()
    client = hub.client(user)
    opened = threading.Event()

    def listen() -> None:
        try:
            with client.transport.stream("GET", "/events") as answer:
                for line in answer.iter_lines():
                    opened.set()
                    if line.startswith("data: "):
                        seen[json.loads(line[6:])["kind"]] += 1
        except (Unavailable, RuntimeError):
            return  # closed below, in the midst of waiting for the next

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert opened.wait(20)
    yield seen


def paths(watch: Watch) -> Counter[str]:
    """Count the panel's requests by path."""
    found = re.compile(r"(GET|POST|PATCH|DELETE) .*/nablahub/api/([^?]+)")
    return Counter(" ".join(m.groups()) for line in watch.requests if (m := found.match(line)))


def test_from_sign_in_to_a_prediction(
    page: Page, watch: Watch, hub: RunningHub, fresh: Showcase, pictures: Path
) -> None:
    if hub.api("GET", f"/users/{fresh.user}").json().get("servers"):
        Server(hub, fresh.user).stop()  # another test's
    # Sign in and choose an instance.
    page.goto(hub.url)
    sign_in(page, fresh.user)
    page.get_by_role("radio", name="C3", exact=False).check()
    page.screenshot(path=pictures / "spawn.png", full_page=True)
    page.get_by_role("button", name="Start").click()
    lab = Lab(page)
    lab.await_started()
    options = hub.api("GET", f"/users/{fresh.user}").json()["servers"][""]["user_options"]
    assert "C3" in options.values()

    page.evaluate("window.wasLoadedOnce = true")
    lab.open_panel()
    lab.choose(fresh.project)
    expect(lab.row("workflow")).to_contain_text("never run")

    with changes(hub, fresh.user) as told:
        # Start the workflow from the panel; its state comes by itself.
        lab.panel.get_by_role("button", name="Run digits").click()
        expect(lab.row("run")).to_contain_text("Running", timeout=LONG)
        expect(lab.document.get_by_role("heading", level=1)).to_have_text("digits, run 1")
        page.screenshot(path=pictures / "run-running.png")
        expect(lab.row("run")).to_contain_text("Succeeded", timeout=LONG)
        expect(lab.document.get_by_role("log")).to_contain_text("accuracy:")
        page.screenshot(path=pictures / "run-succeeded.png")
        run = fresh.client.workflows.run(fresh.workflow, 1)
        assert run.state == "Succeeded"

        # Its model appears; deploy it and ask it.
        lab.row("model").get_by_role("button").click()
        lab.document.get_by_role("button", name="Deploy").click()
        expect(lab.row("deployment")).to_contain_text("Running", timeout=LONG)
        request = lab.document.get_by_label("Request (JSON")
        request.fill(json.dumps(showcase.sample()))
        lab.document.get_by_role("button", name="Predict").click()
        answer = lab.document.get_by_label("Answer")
        expect(answer).to_be_visible()
        page.screenshot(path=pictures / "deployment.png")
        outputs = {o["name"]: o["data"] for o in json.loads(answer.inner_text())["outputs"]}
        assert outputs["label"] == [0]

        asked = paths(watch)
    assert page.evaluate("window.wasLoadedOnce === true"), "the page was loaded again"
    assert asked["GET events"] == 1, "one connection brings all changes"
    # Nothing is asked for more often than changes of it were told: nobody polls.
    for path, kind in {
        "GET runs": "run",
        f"GET workflows/{fresh.workflow}/runs/1": "run",
        "GET datasets": "dataset",
        "GET models": "model",
        "GET deployments": "deployment",
    }.items():
        assert 1 <= asked[path] <= 1 + told[kind], (path, asked[path], told)
    assert watch.complaints == []


def test_the_executed_notebook_opens(lab: Lab, watch: Watch) -> None:
    lab.panel.locator('[data-nablahub$="/1"]').get_by_role("button").click()
    lab.document.get_by_role("button", name=re.compile("^train")).click()
    lab.document.get_by_role("button", name="Open the executed notebook").click()
    notebook = lab.page.locator(".jp-NotebookPanel:visible")
    expect(notebook).to_contain_text("accuracy:", timeout=LONG)
    assert watch.complaints == []


def test_a_link_opens_its_thing_and_a_reload_brings_it_back(
    page: Page, hub: RunningHub, finished: Showcase
) -> None:
    hub.spawn(finished.user)
    page.goto(f"{hub.url}/hub/user-redirect/lab?nablahub=run:{finished.workflow}/1")
    sign_in(page, finished.user)
    lab = Lab(page)
    heading = lab.document.get_by_role("heading", level=1)
    expect(heading).to_have_text("digits, run 1", timeout=LONG)
    expect(lab.panel).to_be_visible()
    assert "nablahub=" not in page.url
    expect(page.locator(".lm-TabBar-tabLabel", has_text="digits, run 1")).to_be_visible()
    page.evaluate(SAVED, f"nablahub:run:{finished.workflow}/1")
    page.reload()
    expect(heading).to_have_text("digits, run 1", timeout=LONG)


# Lab writes the layout of its tabs to the server a little after they change.
SAVED = """async wanted => {
  const base = JSON.parse(document.getElementById('jupyter-config-data').textContent).baseUrl;
  const token = document.cookie.split('; ').find(c => c.startsWith('_xsrf=')).slice(6);
  for (;;) {
    const answer = await fetch(base + 'lab/api/workspaces', {headers: {'X-XSRFToken': token}});
    const saved = (await answer.json()).workspaces.values;
    if (saved.some(({data}) => data['layout-restorer:data']?.main?.current === wanted)) {
      return;
    }
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}"""


def test_a_project_is_made_by_keyboard_and_an_error_stands_beside_it(
    lab: Lab, finished: Showcase, pictures: Path
) -> None:
    page = lab.page
    for expected in ("alert", "made"):
        lab.panel.get_by_role("button", name="New project").focus()
        page.keyboard.press("Enter")
        expect(lab.panel.get_by_label("Name of the new project")).to_be_focused()
        page.keyboard.type("browser" if expected == "alert" else "by hand")
        page.keyboard.press("Enter")
        if expected == "alert":
            alert = lab.panel.get_by_role("alert")
            expect(alert).to_contain_text("browser")
            page.screenshot(path=pictures / "conflict.png")
            page.keyboard.press("Escape")
            expect(lab.panel.get_by_role("button", name="New project")).to_be_focused()
    chosen = lab.panel.get_by_label("Project", exact=True).locator("option:checked")
    expect(chosen).to_have_text("by hand")
    assert finished.client.projects.get("by hand").name == "by hand"
    # An empty project teaches the first step.
    expect(lab.panel.get_by_text("nablahub datasets put")).to_be_visible()
    page.screenshot(path=pictures / "empty.png")
    lab.panel.get_by_role("button", name="Create an example workflow").click()
    expect(lab.document.get_by_role("heading", level=1)).to_have_text("hello")
    lab.document.get_by_role("button", name="Run", exact=True).click()
    expect(lab.document.get_by_role("log")).to_contain_text("Hello from a job", timeout=LONG)
    expect(lab.row("run")).to_contain_text("Succeeded", timeout=LONG)
