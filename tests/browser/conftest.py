"""A browser, and Lab in it."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from nablahub import showcase
from nablahub.client import Hub
from nablahub.core.environments import Environments
from tests.support import browser as support
from tests.support.hub import RunningHub, environment

SPAWN_TIMEOUT = 120_000
FAILED = pytest.StashKey[bool]()
# What comes late on a busy machine comes all the same: the usual five seconds would test its speed.
expect.set_options(timeout=60_000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note on the test whether it failed, for its fixtures."""
    report = yield
    if call.when == "call":
        item.stash[FAILED] = report.failed
    return report


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
    with support.new_page(browser, watch) as page:
        yield page
        if request.node.stash.get(FAILED, False):
            page.screenshot(path=tmp_path / "failed.png")


@dataclass
class Showcase:
    """The showcase in a project of a user."""

    user: str
    client: Hub
    project: str
    workflow: str


def seed(hub: RunningHub, user: str, folder: Path) -> Showcase:
    """Make the showcase's project with its dataset and workflow; nothing is run."""
    client = hub.client(user)
    environments = Path(environment()["NABLAHUB_ENVIRONMENTS_DIR"])
    showcase.write_dataset(folder, Environments(environments).ensure("default").prefix)
    project = client.projects.create("browser").id
    dataset = client.datasets.create(showcase.DATASET, project=project)
    client.datasets.upload(dataset.id, folder, message="scikit-learn's digits")
    workflow = client.workflows.apply(
        project, showcase.workflow_yaml(), files=showcase.workflow_files(), name=showcase.WORKFLOW
    )
    return Showcase(user, client, project, workflow.id)


@pytest.fixture(scope="session")
def fresh(hub: RunningHub, tmp_path_factory: pytest.TempPathFactory) -> Showcase:
    """The showcase before its first run, of a user who has no server yet."""
    return seed(hub, "carol", tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def finished(hub: RunningHub, tmp_path_factory: pytest.TempPathFactory) -> Showcase:
    """The showcase after a run, with its model deployed, of another user."""
    made = seed(hub, "bob", tmp_path_factory.mktemp("digits"))
    run = made.client.workflows.wait(made.client.workflows.start(made.workflow))
    assert run.state == "Succeeded", run
    spec = {"name": showcase.DEPLOYMENT, "model": showcase.MODEL}
    deployment = made.client.deployments.create(made.project, spec)
    assert made.client.deployments.wait(deployment.id).state == "Running"
    return made


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

    def front(self) -> str:
        """What the document in front shows, such as ``run:…/1``."""
        tab = self.document.locator("xpath=ancestor::*[starts-with(@id, 'nablahub-')]")
        return (tab.get_attribute("id") or "").removeprefix("nablahub-")

    def await_started(self) -> None:
        """Return when Lab has been laid out."""
        self.page.locator("#jp-left-stack").wait_for(timeout=SPAWN_TIMEOUT)
        self.page.locator(".jp-SideBar [data-id=nablahub-panel]").first.wait_for()
        # The first tab takes the focus when it comes.
        self.page.locator("#jp-main-dock-panel .jp-MainAreaWidget").first.wait_for()

    def open_panel(self) -> None:
        """Show the sidebar by its tab."""
        if not self.panel.is_visible():
            self.page.locator(".jp-SideBar [data-id=nablahub-panel]").first.click()
        self.panel.wait_for()

    def choose(self, project: str) -> None:
        """Choose a project by its id."""
        self.panel.get_by_label("Project", exact=True).select_option(project)


def sign_in(page: Page, user: str) -> None:
    """Fill the hub's sign-in form."""
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(f"password-of-{user}")
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def lab(page: Page, hub: RunningHub, finished: Showcase) -> Lab:
    """Lab of a running server, signed in, with the panel open on the finished showcase."""
    hub.spawn(finished.user)
    page.goto(f"{hub.url}/hub/login?next=/user/{finished.user}/lab%3Freset")
    sign_in(page, finished.user)
    lab = Lab(page)
    lab.await_started()
    lab.open_panel()
    lab.choose(finished.project)
    return lab


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures of the pages go: NABLAHUB_PICTURES when somebody wants to look at them."""
    folder = Path(os.environ.get("NABLAHUB_PICTURES", tmp_path / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
