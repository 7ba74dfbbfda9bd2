"""A browser, and Lab in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from nablahub import showcase
from nablahub.client import Hub
from nablahub.core.environments import Environments
from tests.support import browser as support
from tests.support.hub import RunningHub, Server, environment

USER = "carol"
SPAWN_TIMEOUT = 120_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium; per module, so that its event loop is gone when asynchronous tests run."""
    with support.running() as running:
        yield running


@pytest.fixture
def watch() -> support.Watch:
    """What the pages of the test ask for and complain about."""
    return support.Watch()


@pytest.fixture
def page(
    browser: Browser, watch: support.Watch, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Page]:
    """An empty page in a fresh profile; a failed test leaves a picture of it."""
    failed_before = request.session.testsfailed
    with support.new_page(browser, watch) as page:
        yield page
        if request.session.testsfailed > failed_before:
            page.screenshot(path=tmp_path / "failed.png")


@dataclass
class Showcase:
    """The showcase's project before anything was run in it."""

    project: str
    workflow: str


@pytest.fixture(scope="session")
def client(hub: RunningHub) -> Hub:
    """A client of the browser tests' user."""
    return hub.client(USER)


@pytest.fixture(scope="session")
def seeded(client: Hub, tmp_path_factory: pytest.TempPathFactory) -> Showcase:
    """The project, with the dataset and the workflow."""
    folder = Path(environment()["NABLAHUB_ENVIRONMENTS_DIR"])
    prefix = Environments(folder).ensure("default").prefix
    data = tmp_path_factory.mktemp("digits")
    showcase.write_dataset(data, prefix)
    project = client.projects.create("browser").id
    dataset = client.datasets.create(showcase.DATASET, project=project)
    client.datasets.upload(dataset.id, data, message="scikit-learn's digits")
    workflow = client.workflows.apply(
        project, showcase.workflow_yaml(), files=showcase.workflow_files(), name=showcase.WORKFLOW
    )
    return Showcase(project, workflow.id)


@dataclass
class Lab:
    """JupyterLab in a page, with the NablaHub panel."""

    page: Page

    @property
    def panel(self) -> Locator:
        """The sidebar."""
        return self.page.locator("#nablahub-panel")

    @property
    def document(self) -> Locator:
        """The document in front."""
        return self.page.locator(".nbl-document:visible")

    def row(self, kind: str) -> Locator:
        """Rows of one kind in the sidebar."""
        return self.panel.locator(f'[data-nablahub^="{kind}:"]')

    def await_started(self) -> None:
        """Return when Lab has been laid out."""
        self.page.locator("#jp-left-stack").wait_for(timeout=SPAWN_TIMEOUT)
        self.page.locator(".jp-SideBar [data-id=nablahub-panel]").first.wait_for()

    def open_panel(self) -> None:
        """Show the sidebar by its tab."""
        if not self.panel.is_visible():
            self.page.locator(".jp-SideBar [data-id=nablahub-panel]").first.click()
        self.panel.wait_for()

    def choose(self, project: str) -> None:
        """Choose a project by its id."""
        self.panel.get_by_label("Project", exact=True).select_option(project)


def sign_in(page: Page, hub: RunningHub, name: str = USER) -> None:
    """Fill the hub's sign-in form."""
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(f"password-of-{name}")
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def lab(page: Page, hub: RunningHub, seeded: Showcase) -> Lab:
    """Lab of a running server, signed in, with the panel open on the seeded project."""
    hub.spawn(USER)
    page.goto(f"{hub.url}/hub/login?next=/user/{USER}/lab%3Freset")
    sign_in(page, hub)
    lab = Lab(page)
    lab.await_started()
    lab.open_panel()
    lab.choose(seeded.project)
    return lab


@pytest.fixture
def no_server(hub: RunningHub) -> None:
    """The user's server does not run."""
    if hub.api("GET", f"/users/{USER}").json().get("servers"):
        Server(hub, USER).stop()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures of the pages go: NABLAHUB_PICTURES when somebody wants to look at them."""
    folder = Path(os.environ.get("NABLAHUB_PICTURES", tmp_path / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
