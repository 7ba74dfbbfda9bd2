"""The showcase, from files to a registered model, by the real service and a real kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nablahub import showcase
from nablahub.client import Hub
from nablahub.jobs.runners.process.shutdown import end_all
from tests.support.environments import FOLDER, environment
from tests.support.service import RunningService, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    environment("runner")
    with running(tmp_path_factory.mktemp("hub"), environments_dir=FOLDER) as made:
        yield made
    end_all(made.state)


@pytest.fixture(scope="module")
def hub(service: RunningService) -> Hub:
    return service.hub("alice")


@pytest.fixture(scope="module")
def prefix() -> Path:
    return environment("default").prefix


def test_the_data_is_scikit_learns_and_the_same_each_time(prefix: Path, tmp_path: Path) -> None:
    paths = showcase.write_dataset(tmp_path / "one", prefix)
    assert [path.name for path in paths] == ["README.md", "images.csv", "labels.csv"]
    again = showcase.write_dataset(tmp_path / "two", prefix)
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    lines = paths[1].read_text().splitlines()
    assert len(lines) == 1798
    (inputs,) = showcase.sample()["inputs"]
    assert [float(word) for word in lines[1].split(",")] == inputs["data"]
    assert inputs["shape"] == [1, 64]
    with pytest.raises(FileNotFoundError, match="scikit-learn"):
        showcase.write_dataset(tmp_path, tmp_path)


def test_the_showcase_trains_and_registers_a_model(hub: Hub, prefix: Path, tmp_path: Path) -> None:
    project = hub.projects.create(showcase.PROJECT).id
    showcase.write_dataset(tmp_path / "digits", prefix)
    hub.datasets.ensure(showcase.DATASET, project=project)
    hub.datasets.upload(showcase.DATASET, tmp_path / "digits")
    made = hub.workflows.apply(project, showcase.workflow_yaml(), files=showcase.workflow_files())
    assert made.warnings == []
    run = hub.workflows.wait(hub.workflows.start(made.id))
    assert (run.state, run.message) == ("Succeeded", "")
    assert run.outputs["prepare.rows"].value == "1797"
    files = {f.path: f for f in hub.datasets.files(run.outputs[showcase.RUN_DATASET].ref)}
    assert set(files) == {"model.onnx", "gradient-model-metadata.json"}
    model = hub.models.get(showcase.MODEL)
    assert model.latest_version.ref == run.outputs[showcase.RUN_MODEL].ref
    assert model.latest_version.format == "ONNX"
    train = next(job for job in run.jobs if job.name == "train")
    record = hub.transport.get(train.notebook)
    texts = "".join(
        "".join(output["text"])
        for cell in record["cells"]
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream"
    )
    assert "accuracy: 0.9" in texts
    assert "cell 7/7  done" in hub.jobs.log(train.job_id)


def test_a_failing_notebook_names_its_cell(hub: Hub) -> None:
    project = hub.projects.ensure(showcase.PROJECT).id
    broken = json.loads(showcase.notebook_bytes())
    broken["cells"] = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [],
         "execution_count": None, "source": source}
        for i, source in enumerate(["x = 1", "raise ValueError('too small')", "y = 2"])
    ]  # fmt: skip
    made = hub.workflows.apply(
        project,
        "name: broken\njobs: {a: {uses: notebook@v1, with: {notebook: broken.ipynb}}}\n",
        files={"broken.ipynb": json.dumps(broken)},
    )
    run = hub.workflows.wait(hub.workflows.start(made.id))
    assert (run.state, run.reason) == ("Failed", "code")
    assert "Cell 2 of 3 failed: ValueError: too small" in run.message
    record = hub.transport.get(run.jobs[0].notebook)
    ran = [c for c in record["cells"] if c["cell_type"] == "code"]
    assert [c["metadata"]["papermill"]["status"] for c in ran] == ["completed", "failed", "pending"]
