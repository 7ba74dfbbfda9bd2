"""``nablahub datasets`` and ``nablahub models`` as somebody types them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from nablahub.core.extension import load
from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.cli import datasets
from nablahub.datasets.errors import NoSuchDataset
from nablahub.models.cli import models
from nablahub.projects.api import ProjectsAPI
from tests.support.service import RunningService, running
from tests.unit.datasets.builders import read, write

EXTENSIONS = [
    load(f"nablahub.{name}.extension:extension")
    for name in ("teams", "projects", "storage", "datasets", "models")
]
FILES = {"a.csv": b"x,y\n1,2\n", "sub/model.onnx": b"onnx"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state"), EXTENSIONS) as found:
        yield found


class Shell:
    """Types commands."""

    def __init__(self, service: RunningService) -> None:
        self._env = {"NABLAHUB_URL": service.url, "NABLAHUB_TOKEN": "token-of-alice"}

    def __call__(self, group: click.Group, *words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(group, words, env=self._env)
        assert done.exit_code == code, done.output
        return done

    def json(self, group: click.Group, *words: str, code: int = 0) -> Any:
        return json.loads(self(group, *words, "--json", code=code).stdout)


@pytest.fixture
def shell(service: RunningService) -> Shell:
    return Shell(service)


def test_a_dataset_from_put_to_delete(
    shell: Shell, service: RunningService, tmp_path: Path
) -> None:
    ProjectsAPI(service.transport()).create("p1")
    tree = write(tmp_path / "tree", FILES)
    made = shell.json(datasets, "create", "data", "--project", "p1", "--description", "Mine")
    assert [d["id"] for d in shell.json(datasets, "list", "--project", "p1")] == [made["id"]]
    version = shell.json(datasets, "put", "data", str(tree), "-m", "One")
    assert (version["files"], version["message"], version["number"]) == (2, "One", 1)
    assert shell.json(datasets, "show", "data")["latest_version"]["id"] == version["id"]
    assert shell.json(datasets, "show", version["id"])["digest"] == version["digest"]
    assert [f["path"] for f in shell.json(datasets, "ls", "data")] == sorted(FILES)
    assert "sub/model.onnx" in shell(datasets, "ls", "data", "sub/").stdout
    assert shell(datasets, "cat", "data", "a.csv").stdout_bytes == FILES["a.csv"]
    target = tmp_path / "back"
    assert shell.json(datasets, "get", "data", str(target))["version"] == version["id"]
    assert read(target) == FILES
    shell(datasets, "get", "data", str(target))
    (target / "a.csv").write_text("mine")
    (target / "sub/model.onnx").unlink()
    for where in ((str(target),), (str(target / "a.csv"), "--path", "a.csv")):
        refused = shell(datasets, "get", "data", *where, code=1)
        assert str(target / "a.csv") in refused.stderr
        assert "--force" in refused.stderr
    assert read(target) == {"a.csv": b"mine"}
    shell(datasets, "get", "data", str(target), "--force")
    assert read(target) == FILES
    shell(datasets, "get", "data", str(tmp_path / "one.csv"), "--path", "a.csv")
    assert (tmp_path / "one.csv").read_bytes() == FILES["a.csv"]
    assert [v["number"] for v in shell.json(datasets, "versions", "data")] == [1]
    for words in (["list"], ["show", "data"], ["show", version["id"]], ["versions", "data"]):
        said = shell(datasets, *words).stdout
        assert version["version"] in said
    assert shell.json(datasets, "delete", "data") == {"deleted": made["id"]}
    assert shell.json(datasets, "list", "--project", "p1") == []


def test_update_changes_who_may_read_it(shell: Shell, service: RunningService) -> None:
    shell(datasets, "create", "shy")
    open_ = shell.json(datasets, "update", "shy", "--public", "--description", "For all")
    assert (open_["public"], open_["description"]) == (True, "For all")
    assert DatasetsAPI(service.transport("bob")).get("alice/shy").id == open_["id"]
    renamed = shell.json(datasets, "update", "shy", "--name", "shyer", "--private")
    assert (renamed["public"], renamed["name"]) == (False, "shyer")
    with pytest.raises(NoSuchDataset):
        DatasetsAPI(service.transport("bob")).get(open_["id"])
    assert "--public" in shell(datasets, "update", "shyer", code=2).stderr


def test_who_deletes_at_a_terminal_is_asked(shell: Shell, service: RunningService) -> None:
    ProjectsAPI(service.transport()).create("p9")
    shell(datasets, "create", "asked", "--project", "p9")
    env = {**os.environ, "NABLAHUB_URL": service.url, "NABLAHUB_TOKEN": "token-of-alice"}

    def delete(answer: bytes, *more: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        try:
            os.write(ours, answer)
            done = subprocess.run(
                [sys.executable, "-m", "nablahub", "datasets", "delete", "asked", *more],
                stdin=theirs, env=env, capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
        finally:
            os.close(ours)
            os.close(theirs)
        return done.returncode, done.stderr

    code, said = delete(b"n\n")
    assert code == 1
    assert "Delete the dataset asked with all its versions for good?" in said
    assert shell.json(datasets, "show", "asked")["name"] == "asked"
    assert delete(b"", "--yes") == (0, "")
    shell(datasets, "show", "asked", code=1)


def test_put_creates_only_when_asked(shell: Shell, tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", FILES)
    failed = shell(datasets, "put", "new", str(tree), code=1)
    assert "no dataset 'new'" in failed.stderr
    assert "→ --create makes it." in failed.stderr
    assert shell.json(datasets, "put", "new", str(tree), "--create")["number"] == 1
    assert shell.json(datasets, "put", "new", str(tree / "a.csv"), "--create")["files"] == 1


def test_put_takes_no_version_and_says_when_nothing_changed(shell: Shell, tmp_path: Path) -> None:
    tree = str(write(tmp_path / "tree", FILES))
    refused = shell(datasets, "put", "still:gold", tree, "--create", code=2).stderr
    assert "put takes a dataset, not a version: 'still', not 'still:gold'" in refused
    shell(datasets, "show", "still", code=1)
    assert shell(datasets, "put", "still", tree, "--create").stderr == ""
    assert "Nothing changed since this version" in shell(datasets, "put", "still", tree).stderr
    assert shell(datasets, "put", "still", tree, "--again").stderr == ""
    (tmp_path / "tree/a.csv").write_bytes(b"other")
    assert shell(datasets, "put", "still", tree).stderr == ""
    (tmp_path / "empty").mkdir()
    empty = shell(datasets, "put", "still", str(tmp_path / "empty"))
    assert f"This version is empty: there is no file in {tmp_path / 'empty'}" in empty.stderr
    assert len(shell.json(datasets, "versions", "still")) == 4
    shell(datasets, "delete", "still")


def test_one_file_goes_into_a_folder_that_is_there(shell: Shell, tmp_path: Path) -> None:
    shell(datasets, "put", "into", str(write(tmp_path / "tree", FILES)), "--create")
    there = tmp_path / "there"
    there.mkdir()
    one = ("get", "into", str(there), "--path", "sub/model.onnx")
    assert f"is in {there / 'model.onnx'}." in shell(datasets, *one).stdout
    assert read(there) == {"model.onnx": b"onnx"}
    (there / "model.onnx").write_bytes(b"mine")
    assert str(there / "model.onnx") in shell(datasets, *one, code=1).stderr
    assert shell.json(datasets, *one, "--force")["target"] == str(there / "model.onnx")
    assert read(there) == {"model.onnx": b"onnx"}
    (there / "model.onnx").unlink()
    (there / "model.onnx").mkdir()
    refused = shell(datasets, *one, "--force", code=1).stderr
    assert f"{there / 'model.onnx'} is a folder" in refused
    assert [file.name for file in there.iterdir()] == ["model.onnx"]
    shell(datasets, "delete", "into")


def test_ls_of_a_folder_that_is_not_there_says_so(shell: Shell, tmp_path: Path) -> None:
    shell(datasets, "put", "listed", str(write(tmp_path / "tree", FILES)), "--create")
    assert "There is no folder 'nosuch'" in shell(datasets, "ls", "listed", "nosuch", code=1).stderr
    assert [f["path"] for f in shell.json(datasets, "ls", "listed", "sub")] == ["sub/model.onnx"]
    shell(datasets, "delete", "listed")


def test_a_tag_is_deleted_in_the_form_of_a_version_too(shell: Shell, tmp_path: Path) -> None:
    shell(datasets, "put", "tagged", str(write(tmp_path / "tree", FILES)), "--create")
    shell(datasets, "tag", "tagged", "gold")
    assert "Say which tag" in shell(datasets, "tag", "tagged", "--delete", code=2).stderr
    assert shell.json(datasets, "tag", "tagged:gold", "--delete") == {"deleted": "gold"}
    assert shell.json(datasets, "tag", "tagged") == []
    shell(datasets, "delete", "tagged")


def test_put_adds_nothing_to_a_dataset_of_another_project(
    shell: Shell, service: RunningService, tmp_path: Path
) -> None:
    for name in ("mine", "other"):
        ProjectsAPI(service.transport()).create(name)
    tree = str(write(tmp_path / "tree", FILES))
    to_mine = ("put", "same", tree, "--create", "--again", "--project", "mine")
    assert [shell.json(datasets, *to_mine)["number"] for _ in range(2)] == [1, 2]
    to_other = ("put", "same", tree, "--create", "--project", "other")
    refused = shell(datasets, *to_other, code=1).stderr
    assert "'same' belongs to the project 'mine', not to 'other'" in refused
    assert len(shell.json(datasets, "versions", "same")) == 2
    # Nothing changed, so there is nothing new.
    assert shell.json(datasets, "put", "same", tree, "--create")["number"] == 2
    shell.json(datasets, "create", "alone")
    refused = shell(datasets, "put", "alone", *to_other[2:], code=1).stderr
    assert "belongs to no project, not to 'other'" in refused
    shell.json(datasets, "delete", "same")
    shell.json(datasets, "delete", "alone")


def test_files_are_changed_tagged_compared_and_collected(shell: Shell, tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", FILES)
    first = shell.json(datasets, "put", "worked on", str(tree), "--create")
    (tmp_path / "new").write_bytes(b"new")
    changes = (
        "--add",
        f"new.txt={tmp_path / 'new'}",
        "--rm",
        "a.csv",
        "--mv",
        "sub/model.onnx=m.onnx",
    )
    second = shell.json(datasets, "commit", "worked on", *changes, "-m", "by hand")
    assert (second["number"], second["message"]) == (2, "by hand")
    shown = shell(datasets, "diff", first["id"]).stdout.splitlines()
    assert [(line[0], line.split()[-1]) for line in shown] == [
        ("-", "a.csv"), ("+", "m.onnx"), ("+", "new.txt"), ("-", "sub/model.onnx"),
    ]  # fmt: skip
    old = f"worked on:{first['version']}"
    assert shell.json(datasets, "tag", old, "gold")["version"] == first["version"]
    assert shell.json(datasets, "show", "worked on:gold")["id"] == first["id"]
    assert [t["name"] for t in shell.json(datasets, "tag", "worked on")] == ["gold"]
    assert shell.json(datasets, "lineage", old)["children"] == [second["id"]]
    assert "is needed by the tag 'gold'" in shell(datasets, "delete", old, code=1).stderr
    shell(datasets, "tag", "worked on", "gold", "--delete")

    shell(datasets, "verify", old, str(tree))
    (tree / "a.csv").write_bytes(b"other")
    assert "1 file is not in" in shell(datasets, "verify", old, str(tree), code=1).stderr

    shell(datasets, "delete", old)
    assert "a.csv" in (said := shell(datasets, "gc", "worked on").stdout)
    assert "Nothing was changed; --run lets them go." in said
    assert "of 1 version." in said
    assert (
        "give one of the two"
        in shell(datasets, "gc", "worked on", "--run", "--undo", code=2).stderr
    )
    assert shell.json(datasets, "gc", "worked on", "--run")["until"]
    assert first["id"] in shell(datasets, "gc", "worked on", "--undo").stdout
    assert shell.json(datasets, "restore", old)["id"] == first["id"]
    for wrong in (("--add", "x"), ("--add", "x=/no/such/file"), ()):
        assert "→" in shell(datasets, "commit", "worked on", *wrong, code=1).stderr
    shell(datasets, "delete", "worked on", "--yes")


def test_errors_have_words_and_codes(shell: Shell, tmp_path: Path) -> None:
    assert shell.json(datasets, "show", "nothing", code=1)["error"]["code"] == "no_such_dataset"
    assert shell.json(datasets, "create", "a/b", code=1)["error"]["errors"][0]["pointer"] == "/name"
    (tmp_path / "link").symlink_to("/etc/hostname")
    shell.json(datasets, "create", "links")
    assert (
        shell.json(datasets, "put", "links", str(tmp_path), code=1)["error"]["code"] == "bad_path"
    )
    shell(datasets, "put", "links", str(tmp_path / "not there"), code=2)
    (tmp_path / "taken").touch()
    shell(datasets, "put", "links", str(tmp_path / "taken"))
    for more in ((), ("--force",)):
        refused = shell(datasets, "get", "links", str(tmp_path / "taken"), *more, code=1)
        assert f"{tmp_path / 'taken'} is a file" in refused.stderr
    no_repo = shell(datasets, "export-dvc", "links", "--repo", str(tmp_path), code=1)
    assert "dvc init" in no_repo.stderr


def test_models_from_create_to_delete(
    shell: Shell, service: RunningService, tmp_path: Path
) -> None:
    ProjectsAPI(service.transport()).create("p2")
    shell.json(datasets, "put", "files", str(write(tmp_path / "tree", FILES)), "--create")
    made = shell.json(models, "create", "m", "--project", "p2", "--from", "files", "--path", "sub")
    again = shell.json(
        models, "create", "m", "--project", "p2", "--from", "files:latest", "--format", "Custom"
    )
    assert (made["model_id"], made["number"]) == (again["model_id"], again["number"] - 1)
    assert shell.json(models, "show", "m")["latest_version"]["id"] == again["id"]
    assert shell.json(models, "show", made["id"])["path"] == "sub"
    assert [v["id"] for v in shell.json(models, "versions", "m")] == [again["id"], made["id"]]
    shell(models, "get", made["id"], str(tmp_path / "back"))
    assert read(tmp_path / "back") == {"model.onnx": b"onnx"}
    (tmp_path / "back/model.onnx").write_text("mine")
    for where in (
        (str(tmp_path / "back"),),
        (str(tmp_path / "back/model.onnx"), "--path", "sub/model.onnx"),
    ):
        refused = shell(models, "get", again["id"] if where[1:] else made["id"], *where, code=1)
        assert str(tmp_path / "back/model.onnx") in refused.stderr
        assert "--force" in refused.stderr
    assert read(tmp_path / "back") == {"model.onnx": b"mine"}
    shell(models, "get", made["id"], str(tmp_path / "back"), "--force")
    assert read(tmp_path / "back") == {"model.onnx": b"onnx"}
    into = ("get", again["id"], str(tmp_path / "back"), "--path", "sub/model.onnx")
    assert f"is in {tmp_path / 'back/model.onnx'}." in shell(models, *into).stdout
    assert made["version"] in shell(models, "versions", "m").stdout
    assert "m" in shell(models, "list", "--project", "p2").stdout
    refused = shell(datasets, "delete", "files", code=1)
    assert "needed by model m:" in refused.stderr
    shell.json(models, "delete", "m")
    shell.json(datasets, "delete", "files")
