"""A dataset's page: what is seen of its versions, and what an upload makes."""

from __future__ import annotations

import re
import uuid
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.browser import files
from tests.browser.conftest import FAILED
from tests.browser.datasets import LONG, Datasets, open_datasets
from tests.support import browser as support
from tests.support.hub import RunningHub
from tests.support.kernel import execute

pytestmark = [pytest.mark.browser, pytest.mark.hub]
USER = "alice"
MANY = 100_000


@pytest.fixture(scope="module")
def project(hub: RunningHub, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A project with a dataset of each kind of file, and one of very many files."""
    client = hub.client(USER)
    made = client.projects.create(f"pages {uuid.uuid4()}").id
    folder = tmp_path_factory.mktemp("kinds")
    files.write_kinds(folder)
    kinds = client.datasets.create("kinds", project=made)
    client.datasets.upload(kinds.id, folder, message="as made")
    client.datasets.tag(kinds.id, "gold")
    (folder / "notes.md").write_text("# Notes\n\nof the second version\n")
    (folder / "page.html").unlink()
    (folder / "added.txt").write_text("new\n")
    client.datasets.upload(kinds.id, folder, message="other notes")
    files.commit_many(client, client.datasets.create("many", project=made).id, MANY)
    client.datasets.create("target", project=made)
    return str(made)


@pytest.fixture(scope="module")
def opened(browser: Browser, hub: RunningHub, project: str) -> Iterator[Datasets]:
    """One Lab for all tests of the module: each opens the page that it is about."""
    # The console names answers that the page handles in words: the cut line, the clash.
    with open_datasets(
        browser, hub, USER, project, "ERR_FAILED.*/objects/|409.*commit-changes"
    ) as it:
        yield it


@pytest.fixture
def datasets(
    opened: Datasets, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Datasets]:
    """The Lab; a failed test leaves a picture of it."""
    yield opened
    if request.node.stash.get(FAILED, False):
        opened.lab.page.screenshot(path=tmp_path / "failed.png")


def test_versions_and_their_files_are_looked_at(datasets: Datasets, pictures: Path) -> None:
    page, shown = datasets.lab.page, datasets.preview
    datasets.open("kinds")
    moments = datasets.page.locator(".nbl-moment")
    expect(moments).to_have_count(2)
    expect(moments.nth(0)).to_contain_text("other notes")
    expect(moments.nth(1)).to_contain_text(re.compile("#1 as made.*gold.*alice.*upload.*8 files"))
    moments.nth(1).get_by_role("button").first.click()

    # By keyboard: into a folder, to a file, and a look at it.
    tree = datasets.page.get_by_role("tree")
    expect(datasets.item("media")).to_have_attribute("aria-expanded", "false")
    tree.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(datasets.item("drawing.svg")).to_be_visible()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(datasets.item("gradient.png")).to_have_attribute("aria-selected", "true")
    expect(shown).to_contain_text("60 × 40 pixels")
    assert shown.locator("img").evaluate("i => [i.naturalWidth, i.naturalHeight]") == [60, 40]
    page.screenshot(path=pictures / "dataset-picture.png")

    datasets.item("tone.wav").click()
    length = "a => new Promise(done => { a.onloadedmetadata = () => done(a.duration); a.load(); })"
    assert shown.locator("audio").evaluate(length) == files.SECONDS
    datasets.item("drawing.svg").click()
    expect(shown).to_contain_text("30 × 20 pixels")
    datasets.item("page.html").click()
    expect(shown.get_by_label("Content")).to_have_text(files.PAGE)
    datasets.item("empty.txt").click()
    expect(shown).to_contain_text("The file is empty")
    assert page.evaluate("window.hit") is None, "a user's file was run"

    datasets.item("tables").click()
    datasets.item("rows.csv").click()
    expect(shown.get_by_role("columnheader")).to_have_text(["id", "name", "share"])
    expect(shown.get_by_role("row").nth(2)).to_have_text("1name 10.25")
    expect(shown).to_contain_text("The first 100 rows")
    datasets.item("rows.parquet").click()
    expect(shown.get_by_role("row").last).to_have_text("99word 99")
    expect(shown).to_contain_text("The first 100 of 5000 rows, 2 columns")
    page.screenshot(path=pictures / "dataset-parquet.png")
    with page.expect_download() as download:
        shown.get_by_role("link", name="Download").click()
    bytes_there = Path(download.value.path()).read_bytes()
    base = f"/datasets/{datasets.id_of('kinds')}/versions/gold/files"
    wanted = datasets.client.transport.get(f"{base}/tables/rows.parquet")
    assert bytes_there == wanted
    assert support.faults(page, ".nbl-document:not(.lm-mod-hidden)") == []


def test_two_versions_are_compared_and_used(datasets: Datasets, pictures: Path) -> None:
    page = datasets.page
    datasets.open("kinds")
    page.locator(".nbl-moment").nth(0).get_by_role("button").first.click()
    page.get_by_role("tab", name="Changes").click()
    expect(page.get_by_role("status").filter(has_text="added")).to_have_text(
        "1 added, 1 removed, 1 changed"
    )
    rows = page.get_by_role("list", name="Changed files").get_by_role("button")
    expect(rows).to_have_text(
        [
            re.compile("added.*added.txt.*4 B"),
            re.compile("changed.*notes.md.*30 B → 31 B"),
            re.compile("removed.*page.html"),
        ]
    )
    rows.nth(1).click()
    changes = page.get_by_label("Changes in notes.md")
    expect(changes.locator(".nbl-mod-removed")).to_have_text("-of the first version")
    expect(changes.locator(".nbl-mod-added")).to_have_text("+of the second version")
    datasets.lab.page.screenshot(path=pictures / "dataset-changes.png")
    assert support.faults(datasets.lab.page, ".nbl-document:not(.lm-mod-hidden)") == []
    page.get_by_role("tab", name="Use it").click()
    expect(page.get_by_role("region", name="pandas")).to_contain_text('pd.read_csv("nabla://ds')
    datasets.lab.page.screenshot(path=pictures / "dataset-use.png")
    assert support.faults(datasets.lab.page, ".nbl-document:not(.lm-mod-hidden)") == []


def test_a_hundred_thousand_files_are_scrolled_to_their_end(
    datasets: Datasets, pictures: Path
) -> None:
    page = datasets.lab.page
    datasets.open("many")
    tree = datasets.page.get_by_role("tree")
    datasets.item("images").click()
    expect(datasets.item("000000.txt")).to_be_visible()
    # A drag of the scrollbar to where it ends finds the next files.
    tree.evaluate("t => t.scrollTo(0, t.scrollHeight)")
    expect(datasets.item("000000.txt")).to_be_hidden()
    tree.focus()
    page.keyboard.press("End")
    expect(datasets.item(f"{MANY - 1:06}.txt")).to_be_visible(timeout=LONG)
    page.screenshot(path=pictures / "dataset-many.png")
    assert datasets.page.get_by_role("treeitem").count() < 60
    page.keyboard.press("Home")
    expect(datasets.item("images")).to_be_visible()
    datasets.page.get_by_role("searchbox", name="Find files").fill("/09876")
    found = datasets.page.get_by_role("list", name="Files found").get_by_role("button")
    expect(found.first).to_contain_text("images/098760.txt", timeout=LONG)
    expect(datasets.page.get_by_role("status").filter(has_text="10 files")).to_be_visible()


DROP = """() => {
  const data = new DataTransfer();
  data.items.add(new File(['dropped here'], 'dropped.txt'));
  return data;
}"""


def test_an_upload_goes_on_after_a_lost_connection_and_a_reload(
    datasets: Datasets, project: str, tmp_path: Path, pictures: Path
) -> None:
    page, document = datasets.lab.page, datasets.page
    big = bytes(range(256)) * (4096 * 20)  # 20 MiB, three pieces
    (tmp_path / "data").mkdir()
    (tmp_path / "data/big.bin").write_bytes(big)
    (tmp_path / "data/small.txt").write_text("small\n")
    datasets.open("target")
    data = page.evaluate_handle(DROP)
    area = document.locator(".nbl-dataset")
    area.dispatch_event("dragenter", {"dataTransfer": data})
    page.screenshot(path=pictures / "dataset-drop.png")
    area.dispatch_event("drop", {"dataTransfer": data})
    expect(document.get_by_role("form", name="Upload")).to_contain_text("dropped.txt")
    document.get_by_label("Folder", exact=True).set_input_files(tmp_path / "data")
    form = document.get_by_role("form", name="Upload")
    expect(form).to_contain_text("3 files for a new version")
    page.screenshot(path=pictures / "dataset-chosen.png")
    assert support.faults(page, ".nbl-document:not(.lm-mod-hidden)") == []
    form.get_by_label("What is new").fill("from the browser")

    # The line is cut behind the first piece: what came stays, the page says that it waits.
    def cut(route: Route) -> None:
        if route.request.url.endswith("offset=0"):
            route.continue_()
        else:
            route.abort()

    pieces = re.compile(r".*/objects/[0-9a-f]{32}\?.*offset=")
    page.route(pieces, cut)
    page.keyboard.press("Enter")
    expect(document.get_by_text("The connection is broken")).to_be_visible(timeout=LONG)
    page.screenshot(path=pictures / "dataset-broken.png")
    page.reload()
    page.unroute(pieces)
    expect(document).to_contain_text("“from the browser”", timeout=LONG)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    document.get_by_label("Folder", exact=True).set_input_files(tmp_path / "data")
    document.get_by_role("button", name="Go on").click()
    done = document.get_by_text("has been committed: 2 files")
    expect(done).to_be_visible(timeout=LONG)
    again = [line for line in asked if re.match("PUT .*/uploads/", line)]
    assert len(again) == 2, "two of three pieces were missing, and no pack"
    document.get_by_role("button", name="Show it").click()
    expect(document.locator(".nbl-moment")).to_contain_text("from the browser")

    target = datasets.id_of("target")
    base = f"/datasets/{target}/versions/latest/files"
    assert datasets.client.transport.get(f"{base}/data/big.bin") == big
    assert datasets.client.transport.get(f"{base}/data/small.txt") == b"small\n"


def test_what_others_committed_meanwhile_is_not_overwritten_unasked(
    datasets: Datasets, tmp_path: Path, pictures: Path
) -> None:
    page, document = datasets.lab.page, datasets.page
    target = datasets.client.datasets.create("shared", project=datasets.project).id
    datasets.client.datasets.write(target, "a.txt", b"first")
    datasets.open("shared")
    (tmp_path / "a.txt").write_text("mine")

    def meanwhile(route: Route) -> None:
        datasets.client.datasets.write(target, "a.txt", b"theirs")
        route.continue_()

    page.route("**/changes", meanwhile, times=1)
    document.get_by_label("Files", exact=True).first.set_input_files(tmp_path / "a.txt")
    document.get_by_role("button", name="Upload and commit").click()
    expect(document.get_by_role("alert")).to_contain_text("a.txt", timeout=LONG)
    page.screenshot(path=pictures / "dataset-clash.png")
    read = f"/datasets/{target}/versions/latest/files/a.txt"
    assert datasets.client.transport.get(read) == b"theirs"
    document.get_by_role("button", name="Put my files in place of theirs").click()
    expect(document.get_by_text("has been committed: 1 file")).to_be_visible(timeout=LONG)
    assert datasets.client.transport.get(read) == b"mine"


def test_the_shown_version_is_mounted_in_the_running_server(
    datasets: Datasets, hub: RunningHub, pictures: Path
) -> None:
    page, document, server = datasets.lab.page, datasets.page, hub.spawn(USER)
    datasets.open("kinds")
    moments = document.locator(".nbl-moment")
    moments.nth(1).get_by_role("button").first.click()
    part = document.get_by_role("group", name="Mount in this server")
    _, first = datasets.client.datasets.versions(datasets.id_of("kinds"))
    old = first.version
    path = f"/datasets/kinds@{old}"
    part.get_by_role("button", name="Mount", exact=True).click()
    expect(part).to_contain_text(f"Mounted, read-only, at {path}", use_inner_text=True)
    page.screenshot(path=pictures / "dataset-mounted.png")
    assert support.faults(page, ".nbl-document:not(.lm-mod-hidden)") == []

    def inside(script: str) -> str:
        with ThreadPoolExecutor(1) as pool:  # The browser's event loop runs in this thread.
            return pool.submit(execute, server, script).result()

    assert inside(f"cat {path}/page.html") == files.PAGE
    assert "Read-only" in inside(f"touch {path}/x")
    # The other version is not; what a terminal does is seen when one comes back.
    moments.nth(0).get_by_role("button").first.click()
    expect(part.get_by_role("button", name="Mount", exact=True)).to_be_visible()
    inside("nablahub datasets mount kinds")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(part.locator("code")).to_have_text("/datasets/kinds")
    part.get_by_role("button", name="Unmount /datasets/kinds").click()
    expect(part.get_by_role("button", name="Mount", exact=True)).to_be_visible()
    moments.nth(1).get_by_role("button").first.click()
    part.get_by_role("button", name=f"Unmount {path}").click()
    expect(part.get_by_role("button", name="Mount", exact=True)).to_be_visible()
    assert inside("ls /datasets") == ""


def test_the_panel_tells_how_much_room_files_take(datasets: Datasets, pictures: Path) -> None:
    page, panel = datasets.lab.page, datasets.lab.panel
    page.route(
        "**/nablahub/api/storage-usage",
        lambda route: route.fulfill(json=files.nearly_full(USER)),
        times=1,
    )
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    room = panel.get_by_role("list", name="Room for files")
    expect(room.get_by_role("meter")).to_have_count(2)
    lines = room.locator(".nbl-room-line")
    expect(lines).to_have_text(
        ["/storage45 GiB of 50 GiB", "/storage of vision51 GiB of 50 GiB", "Home3.0 GiB"]
    )
    expect(room).to_contain_text("/storage is nearly full.")
    expect(room).to_contain_text("Jobs see it read-only until there is room.")
    room.get_by_text("What is large").first.click()
    expect(room.get_by_text("runs/")).to_be_visible()
    page.screenshot(path=pictures / "panel-room.png")
    assert support.faults(page, "#nablahub-panel") == []


SPEC = {
    "jobs": {
        "plot": {
            "resources": {"instance-type": "C3"},
            "uses": "script@v1",
            "with": {
                "script": "mkdir /artifacts/plots; echo hello > /artifacts/plots/a.txt; "
                "echo one; sleep 600"
            },
        }
    }
}


def test_artifacts_are_looked_at_while_their_job_runs(datasets: Datasets, pictures: Path) -> None:
    lab, page = datasets.lab, datasets.lab.page
    client = datasets.client
    workflow = client.workflows.apply(datasets.project, SPEC, name="plots")
    run = client.workflows.start(workflow.id)
    lab.row("run").get_by_role("button").first.click()
    try:
        expect(datasets.item("plots")).to_be_visible(timeout=LONG)
        datasets.item("plots").click()
        datasets.item("a.txt").click()
        expect(datasets.preview.get_by_label("Content")).to_have_text("hello\n")
        page.screenshot(path=pictures / "artifacts.png")
        assert support.faults(page, ".nbl-document:not(.lm-mod-hidden)") == []
        with page.expect_download() as download:
            lab.document.get_by_role("link", name="Download all").click()
        with zipfile.ZipFile(download.value.path()) as archive:
            assert archive.read("plots/a.txt") == b"hello\n"
    finally:
        client.transport.post(f"/workflows/{workflow.id}/runs/{run.number}/cancel")
