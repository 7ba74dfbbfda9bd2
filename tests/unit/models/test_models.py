"""Models through the real service and the real client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.orm import Session

from nablahub.core import errors
from nablahub.core.extension import load
from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.errors import InUse, NoSuchDataset, NoSuchFile
from nablahub.datasets.packs import SMALL
from nablahub.models.api import ModelsAPI
from nablahub.models.errors import BadModelFiles, ModelNameTaken, NoSuchModel, NoSuchModelVersion
from nablahub.models.service import ModelService
from nablahub.models.versions import Registration
from nablahub.projects.api import ProjectsAPI
from tests.support.service import RunningService, running
from tests.unit.datasets.builders import read, write

EXTENSIONS = [
    load(f"nablahub.{name}.extension:extension")
    for name in ("teams", "projects", "storage", "datasets", "models")
]
FILES = {
    "model.onnx": b"o" * (SMALL + 1),
    "sub/model.joblib": b"j" * 100,
    "sub/notes/a.txt": b"a",
    "report.html": b"<b>hi</b>",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state"), EXTENSIONS) as found:
        yield found


class Made:
    """A project with a dataset version in it."""

    def __init__(self, service: RunningService, name: str, tree: Path) -> None:
        self.hub = service.transport()
        self.models = ModelsAPI(self.hub)
        self.datasets = DatasetsAPI(self.hub)
        self.project = ProjectsAPI(self.hub).create(name).id
        self.dataset = self.datasets.create(name, project=self.project).id
        self.version = self.datasets.upload(self.dataset, write(tree, FILES)).id


@pytest.fixture
def made(service: RunningService, request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    return Made(service, request.node.name[:80], tmp_path / "tree")


def service_of(service: RunningService) -> ModelService:
    return service.service.context.get(ModelService)


def test_create_get_change_delete(made: Made) -> None:
    model = made.models.create("digits", project=made.project, description="Which digit?")
    assert model.id.startswith("mo")
    assert len(model.id) == 15
    assert made.models.get(model.id) == model
    assert [m.id for m in made.models.list(project=made.project)] == [model.id]
    with pytest.raises(ModelNameTaken):
        made.models.create("digits", project=made.project)
    assert made.models.ensure("digits", project=made.project).id == model.id
    changed = made.models.change(model, description="Really?")
    assert (changed.description, changed.revision) == ("Really?", 2)
    with pytest.raises(errors.PreconditionFailed):
        made.models.change(model, description="Late")
    with pytest.raises(errors.Conflict, match="1 model"):
        ProjectsAPI(made.hub).delete(made.project)
    made.models.delete(model.id)
    with pytest.raises(NoSuchModel):
        made.models.get(model.id)


def test_a_version_points_at_files_and_copies_none(
    service: RunningService, made: Made, tmp_path: Path
) -> None:
    model = made.models.create("m", project=made.project)
    before = {p for p in service.state.objects.rglob("*") if p.is_file()}
    one = made.models.add_version(
        model.id, made.version, format="Custom", metadata={"accuracy": 0.97}, message="first"
    )
    assert {p for p in service.state.objects.rglob("*") if p.is_file()} == before
    assert (one.number, one.dataset_version, one.files) == (1, made.version, len(FILES))
    assert one.metadata == {"accuracy": 0.97}
    assert one.id == f"{model.id}:{one.version}"
    two = made.models.add_version(model.id, f"{made.dataset}:latest", format="sklearn", path="sub")
    assert [v.id for v in made.models.versions(model.id)] == [two.id, one.id]
    assert [f.path for f in made.models.files(two.id)] == ["model.joblib", "notes/a.txt"]
    assert made.models.read(two.id, "notes/a.txt") == b"a"
    with pytest.raises(errors.NotFound):
        made.models.read(two.id, "../report.html")
    path = f"/models/{model.id}/versions/{two.version}/files/..%2Freport.html"
    with pytest.raises(NoSuchFile):
        made.hub.request("GET", path)
    made.models.download(two.id, tmp_path / "back")
    assert read(tmp_path / "back") == {"model.joblib": b"j" * 100, "notes/a.txt": b"a"}
    latest = made.models.get(model.id).latest_version
    assert latest is not None
    assert (latest.id, latest.format, latest.number) == (two.id, "sklearn", 2)
    three = made.models.add_version(model.id, made.version, format="ONNX", path="model.onnx")
    assert [f.path for f in made.models.files(three.id)] == ["model.onnx"]
    assert made.models.read(three.id, "model.onnx") == FILES["model.onnx"]
    with pytest.raises(NoSuchFile):
        made.models.read(three.id, "sub/model.joblib")


def test_each_version_is_one_read_only_folder(service: RunningService, made: Made) -> None:
    model = made.models.create("m", project=made.project)
    expected = {
        "": FILES, "sub": {"model.joblib": b"j" * 100, "notes/a.txt": b"a"},
        "model.onnx": {"model.onnx": FILES["model.onnx"]},
    }  # fmt: skip
    for path, files in expected.items():
        version = made.models.add_version(model.id, made.version, format="Custom", path=path)
        folder = service_of(service).materialise(version.id)
        assert read(folder) == files
        assert not folder.stat().st_mode & 0o222
        assert service_of(service).materialise(version.id) == folder
    with pytest.raises(NoSuchModelVersion):
        service_of(service).materialise(f"{model.id}:zzzzzzz")


def test_what_can_be_no_model(made: Made) -> None:
    model = made.models.create("m", project=made.project)
    with pytest.raises(BadModelFiles, match="nothing at 'nowhere'"):
        made.models.add_version(model.id, made.version, format="ONNX", path="nowhere")
    with pytest.raises(BadModelFiles, match=r"one \.onnx file; there are 0"):
        made.models.add_version(model.id, made.version, format="ONNX", path="sub")
    with pytest.raises(NoSuchDataset, match="no-such-data"):
        made.models.add_version(model.id, "no-such-data", format="ONNX")
    with pytest.raises(errors.Invalid) as caught:
        made.hub.post(f"/models/{model.id}/versions", {"dataset_version": "x", "format": "Exe"})
    assert caught.value.errors[0].pointer == "/format"
    with pytest.raises(NoSuchModelVersion):
        made.models.version(model.id)


def test_registering_is_idempotent_by_its_key(service: RunningService, made: Made) -> None:
    models, database = service_of(service), service.service.database
    team = made.models.create("other", project=made.project).team_id

    def register(key: str) -> str:
        asked = Registration(
            made.version, "ONNX", path="model.onnx", key=key, author="alice", source="run 1"
        )
        files = models.read(*database.read_sync(lambda s: models.look(s, team, team, asked)), asked)
        return database.write_sync(
            lambda s: (
                models.register(
                    s,
                    team_id=team,
                    project_id=made.project,
                    name="digits",
                    asked=asked,
                    files=files,
                ).id
            ),
            service._loop,
        )

    first = register("run-1/register")
    assert register("run-1/register") == first
    second = register("run-2/register")
    assert second != first
    assert [v.number for v in made.models.versions("digits")] == [2, 1]
    resolved = database.read_sync(lambda s: models.resolve(s, team, "digits").id)
    assert resolved == second


def test_a_post_sent_twice_makes_one_version(made: Made) -> None:
    model = made.models.create("m", project=made.project)
    ids = {
        made.models.add_version(model.id, made.version, format="Custom", key="the-key").id
        for _ in range(3)
    }
    assert len(ids) == len(list(made.models.versions(model.id))) == 1


def test_a_dataset_that_a_model_needs_stays(made: Made) -> None:
    model = made.models.create("needy", project=made.project)
    version = made.models.add_version(model.id, made.version, format="Custom")
    with pytest.raises(InUse, match=f"model needy:{version.version}"):
        made.datasets.delete(made.dataset)
    made.models.delete(model.id)
    made.datasets.delete(made.dataset)


def test_one_name_in_two_projects(service: RunningService, made: Made) -> None:
    other = ProjectsAPI(made.hub).create("another-project").id
    first = made.models.create("same", project=made.project)
    second = made.models.create("same", project=other)
    with pytest.raises(errors.Invalid, match="Several of your projects"):
        made.models.get("same")
    models = service_of(service)
    for project, model in ((made.project, first), (other, second)):
        with Session(service.service.database.engine) as session:
            found = models.row(session, first.team_id, "same", project_id=project)
        assert found.id == model.id


def test_what_is_not_yours_does_not_exist(service: RunningService, made: Made) -> None:
    model = made.models.create("secret", project=made.project)
    version = made.models.add_version(model.id, made.version, format="Custom")
    bob = ModelsAPI(service.transport("bob"))
    for attempt in (
        lambda: bob.get(model.id), lambda: bob.version(version.id), lambda: bob.delete(model.id),
        lambda: bob.read(version.id, "model.onnx"), lambda: list(bob.versions(model.id)),
        lambda: list(bob.files(version.id)),
    ):  # fmt: skip
        with pytest.raises(NoSuchModel):
            attempt()
    with pytest.raises(errors.NotFound):
        bob.create("mine", project=made.project)
    # Nor may one's own model be made of another's data.
    project = ProjectsAPI(service.transport("bob")).create("bobs").id
    own = bob.create("own", project=project)
    with pytest.raises(NoSuchDataset):
        bob.add_version(own.id, made.version, format="Custom")


def test_what_users_wrote_is_never_run_by_a_browser(service: RunningService, made: Made) -> None:
    model = made.models.create("m", project=made.project)
    version = made.models.add_version(model.id, made.version, format="Custom")
    answer = httpx.get(
        f"{service.url}/api/v1/models/{model.id}/versions/{version.version}/files/report.html",
        headers={"Authorization": "Bearer token-of-alice"},
    )
    assert answer.content == FILES["report.html"]
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-security-policy"].startswith("sandbox")
