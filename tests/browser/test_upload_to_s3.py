"""A dataset that lies in a bucket: its page sends the bytes there, past the hub."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.datasets import LONG, open_datasets
from tests.support.hub import RunningHub
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS

pytestmark = [pytest.mark.browser, pytest.mark.hub]
USER = "alice"
BIG = bytes(range(256)) * (4096 * 20)  # 20 MiB: more than one part


def test_bytes_go_straight_to_the_bucket(
    browser: Browser, hub: RunningHub, s3: SeaweedFS, tmp_path: Path, pictures: Path
) -> None:
    client, bucket = hub.client(USER), s3.bucket()
    provider = client.storage.create(
        f"bucket {uuid.uuid4()}", bucket=bucket, access_key=KEY, secret_key=SECRET,
        endpoint=s3.endpoint, region=REGION,
    )  # fmt: skip
    project = client.projects.create(f"bucket {uuid.uuid4()}").id
    client.datasets.create("photos", project=project, storage=provider.id)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/big.bin").write_bytes(BIG)
    (tmp_path / "data/small.txt").write_text("small\n")
    with open_datasets(browser, hub, USER, project, "^$") as datasets:
        page, document = datasets.lab.page, datasets.page
        datasets.open("photos")
        puts: list[str] = []
        page.on("request", lambda r: puts.append(r.url) if r.method == "PUT" else None)
        document.get_by_label("Folder", exact=True).set_input_files(tmp_path / "data")
        document.get_by_role("button", name="Upload and commit").click()
        done = document.get_by_text("has been committed: 2 files")
        expect(done).to_be_visible(timeout=LONG)
        page.screenshot(path=pictures / "dataset-in-a-bucket.png")
        sent = [url for url in puts if re.search("uploads|X-Amz-Signature", url)]
        assert len(sent) > 2, "the parts of the large file, and the pack"
        assert [url for url in sent if not url.startswith(f"{s3.endpoint}/{bucket}/")] == []
        assert datasets.read("photos", "data/big.bin") == BIG
        assert datasets.read("photos", "data/small.txt") == b"small\n"
