"""``nabla://`` as pandas, polars, pyarrow and fsspec itself use it."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import fsspec
import pandas as pd
import polars as pl
import pyarrow.dataset as pads
import pytest

from nablahub.core.errors import Unauthenticated
from nablahub.datasets.errors import NoSuchFile
from nablahub.datasets.filesystem import NablaFileSystem
from tests.support.service import RunningService
from tests.unit.datasets.hub import api_of, fresh

FRAME = pd.DataFrame({"x": range(1000), "y": [f"row {n}" for n in range(1000)]})


@pytest.fixture
def options(service: RunningService) -> Iterator[dict[str, str]]:
    yield {"hub": service.url, "token": "token-of-alice"}
    NablaFileSystem.clear_instance_cache()
    gc.collect()


@pytest.fixture
def name(service: RunningService, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    made = "".join(c for c in request.node.name if c.isalnum())
    api_of(service).create(made)
    tree = tmp_path / "tree"
    (tree / "parts").mkdir(parents=True)
    FRAME.to_csv(tree / "table.csv", index=False)
    for number in range(3):
        FRAME.to_parquet(tree / f"parts/{number}.parquet")
    (tree / "ä b.txt").write_bytes(b"0123456789")
    (tree / "big.bin").write_bytes(bytes(range(256)) * 20_000)
    api_of(service).upload(made, tree)
    api_of(service).tag(made, "v1")
    return made


def test_it_reads_and_lists(name: str, options: dict[str, str]) -> None:
    fs: Any = fsspec.filesystem("nabla", **options, skip_instance_cache=True)
    root = f"{name}:v1"
    assert sorted(fs.ls(root, detail=False)) == sorted(
        [f"{root}/big.bin", f"{root}/parts", f"{root}/table.csv", f"{root}/ä b.txt"]
    )
    assert fs.isdir(f"{root}/parts")
    assert fs.isfile(f"nabla://{root}/table.csv")
    assert not fs.exists(f"{root}/part")
    assert len(fs.find(root)) == 6
    assert [p.rpartition("/")[2] for p in fs.glob(f"{root}/parts/*.parquet")] == [
        "0.parquet", "1.parquet", "2.parquet",
    ]  # fmt: skip
    text = f"{root}/ä b.txt"
    assert fs.cat_file(text) == b"0123456789"
    assert (fs.cat_file(text, 2, 5), fs.cat_file(text, -3), fs.cat_file(text, 4, 4)) == (
        b"234", b"789", b"",
    )  # fmt: skip
    with fs.open(f"{root}/big.bin") as file:
        file.seek(-4, io.SEEK_END)
        assert file.read() == bytes(range(252, 256))
    with pytest.raises(FileNotFoundError):
        fs.open(f"{root}/nothing")
    with pytest.raises(FileNotFoundError):
        fs.ls("no such dataset")
    with pytest.raises(OSError, match="never change"):
        fs.open(text, "wb")
    with pytest.raises(OSError, match="never change"):
        fs.rm(text)


def test_pandas_polars_and_pyarrow_read_it(name: str, options: dict[str, str]) -> None:
    url = f"nabla://{name}:v1"
    read = pd.read_csv(f"{url}/table.csv", storage_options=options)
    assert read.equals(FRAME)
    parquet = pd.read_parquet(f"{url}/parts/0.parquet", storage_options=options)
    assert parquet.equals(FRAME)
    fs: Any = fsspec.filesystem("nabla", **options)
    assert pads.dataset(f"{name}:v1/parts", filesystem=fs).to_table().num_rows == 3000
    with fs.open(f"{url}/table.csv") as file:
        assert pl.read_csv(file).shape == (1000, 2)


def test_a_program_reads_one_version_to_its_end(
    service: RunningService, name: str, options: dict[str, str]
) -> None:
    fs: Any = fsspec.filesystem("nabla", **options, skip_instance_cache=True)
    assert fs.cat_file(f"{name}/ä b.txt") == b"0123456789"
    api_of(service).write(name, "ä b.txt", b"new")
    assert fs.cat_file(f"{name}/ä b.txt") == b"0123456789"
    fs.invalidate_cache()
    assert fs.cat_file(f"{name}/ä b.txt") == b"new"


def test_pages_of_a_folder_meet_without_gap(
    service: RunningService, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    api = api_of(service)
    made = fresh(service, request)
    paths = ["a-b", "a.txt", "a/1", "a/b/2", "a0", "b/c", "b!", "z"]
    for path in paths:
        target = tmp_path / "t" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.encode())
    api.upload(made, tmp_path / "t")
    for limit in (1, 2, 3, 100):
        found = list(api._hub.pages(f"/datasets/{made}/versions/latest/tree", limit=limit))
        assert [item["path"] for item in found] == ["a-b", "a.txt", "a", "a0", "b!", "b", "z"]


def test_dask_reads_the_parts_of_a_folder(name: str, options: dict[str, str]) -> None:
    url = f"nabla://{name}:v1"
    parts = dd.read_parquet(f"{url}/parts/*.parquet", storage_options=options)
    assert parts.npartitions == 3
    with dask.config.set(scheduler="threads"):
        assert int(parts.x.sum().compute()) == 3 * int(FRAME.x.sum())
        table = dd.read_csv(f"{url}/table.csv", storage_options=options, blocksize=4000)
        assert table.npartitions > 1  # Read by ranges, each by itself.
        assert list(table.y.compute()) == list(FRAME.y)


def test_what_can_not_be_found_out_is_no_absence(
    name: str, service: RunningService, options: dict[str, str]
) -> None:
    there = f"{name}/table.csv"
    fs = NablaFileSystem(**options, skip_instance_cache=True)
    assert fs.exists(there)
    assert fs.exists(f"{name}/parts")
    assert not fs.exists(f"{name}/nothing")
    assert not fs.exists(f"{name}:nothing/table.csv")
    assert not fs.exists("no-such-dataset")
    assert not fs.isfile(f"{name}/parts")
    wrong = NablaFileSystem(hub=service.url, token="wrong", skip_instance_cache=True)
    for ask in (wrong.exists, wrong.isfile, wrong.isdir):
        with pytest.raises(Unauthenticated):
            ask(there)


@pytest.mark.parametrize(
    "inner",
    ["parts/../table.csv", "./table.csv", "parts//0.parquet", "../table.csv", ".."],
    ids=["back", "here", "empty", "out", "above"],
)
def test_a_path_that_leads_elsewhere_is_no_file(
    name: str, service: RunningService, options: dict[str, str], inner: str
) -> None:
    fs = NablaFileSystem(**options, skip_instance_cache=True)
    for ask in (fs.cat, fs.info, fs.ls, lambda path: fs.open(path).read()):
        with pytest.raises(FileNotFoundError, match="There is no"):
            ask(f"{name}/{inner}")
    assert not fs.exists(f"{name}/{inner}")
    with pytest.raises(FileNotFoundError):
        fs.cat(f"../{name}/table.csv")
    with pytest.raises(NoSuchFile):
        api_of(service).read(name, inner)
