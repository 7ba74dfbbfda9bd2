"""JupyterLab with the datasets of a project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from playwright.sync_api import Browser, Locator, expect

from nablahub.client import Hub
from tests.browser.conftest import Lab, sign_in
from tests.support import browser as support
from tests.support.hub import RunningHub

LONG = 60_000  # ms


@dataclass
class Datasets:
    """A Lab whose panel shows a project with datasets."""

    lab: Lab
    client: Hub
    project: str

    @property
    def page(self) -> Locator:
        """The document in front."""
        return self.lab.document

    def open(self, name: str) -> None:
        """Open a dataset from the sidebar."""
        self.lab.row("dataset").get_by_role("button", name=name).first.click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text(name)

    def item(self, name: str) -> Locator:
        """A row of the tree."""
        return self.page.get_by_role("treeitem").filter(has_text=name)

    @property
    def preview(self) -> Locator:
        """The pane with the look at a file."""
        return self.page.locator(".nbl-preview")

    def id_of(self, name: str) -> str:
        """The id of a dataset of the project."""
        found = self.client.datasets.list(project=self.project)
        return next(str(dataset.id) for dataset in found if dataset.name == name)

    def read(self, name: str, path: str) -> object:
        """A file of a dataset's latest version, as the hub has it."""
        where = f"/datasets/{self.id_of(name)}/versions/latest/files/{path}"
        return self.client.transport.get(where)


@contextmanager
def open_datasets(
    browser: Browser, hub: RunningHub, user: str, project: str, known: str
) -> Iterator[Datasets]:
    """Sign a user in and show a project; the page may complain of what ``known`` matches alone."""
    watch = support.Watch()
    hub.spawn(user)
    with support.new_page(browser, watch) as page:
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(f"{hub.url}/hub/login?next=/user/{user}/lab%3Freset")
        sign_in(page, user)
        lab = Lab(page)
        lab.await_started()
        lab.open_panel()
        lab.choose(project)
        yield Datasets(lab, hub.client(user), project)
        assert [told for told in watch.complaints if not re.search(known, told)] == []
