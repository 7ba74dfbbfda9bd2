"""Jobs of the real service on the real cluster: data comes in, data goes out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nablahub.core.environments import UnknownEnvironment
from tests.cluster.lives import Life
from tests.cluster.target import Cluster


@pytest.fixture
def life(tmp_path: Path, cluster: Cluster) -> Iterator[Life]:
    made = Life(tmp_path / "state", cluster)
    yield made
    made.service.stop()


def test_a_version_comes_in_and_a_version_goes_out(life: Life, tmp_path: Path) -> None:
    (tmp_path / "given" / "deep").mkdir(parents=True)
    (tmp_path / "given" / "deep" / "word").write_text("from a dataset")
    hub = life.service.hub()
    hub.datasets.create("given", project=life.project)
    version = hub.datasets.upload("given", tmp_path / "given")
    job = life.shell(
        "cat /inputs/d/deep/word; touch /inputs/d/x 2>/dev/null; cp -r /inputs/d/deep "
        "/outputs/made; printf said > /outputs/word; echo 1 > /artifacts/a; echo 1 > /storage/s; "
        "python -c 'import numpy; print(numpy.ones(2).sum())'",
        inputs=[{"name": "d", "kind": "dataset", "ref": version.id}],
        outputs=[
            {"name": "made", "kind": "dataset", "ref": "made"},
            {"name": "word", "kind": "string"},
        ],
    )
    log = life.jobs.log(job.id)
    assert (job.state, log) == ("Succeeded", "from a dataset2.0\n"), job.message
    assert job.outputs["word"].value == "said"
    made = job.outputs["made"].ref
    assert made is not None
    assert hub.datasets.read(made, "deep/word") == b"from a dataset"
    assert [a.path for a in life.jobs.artifacts(job.id)] == ["a"]
    again = life.shell("cat /storage/s")
    assert life.jobs.log(again.id) == "1\n"


def test_what_ended_leaves_nothing_in_the_cluster(life: Life) -> None:
    life.shell("exit 3")
    running = life.submit("echo one; sleep 600")
    life.service.stop()
    life.begin()
    life.jobs.cancel(running.id)
    assert life.jobs.wait(running.id).state == "Canceled"
    for _ in range(2):  # Whatever the first life had no time for, the second one's sweep does.
        life.service.stop()
        life.begin()
    life.service.stop()
    assert life.objects() == []
    life.begin()


@pytest.mark.parametrize("environment", ["nowhere", "broken"])
def test_an_image_that_is_not_there_is_told(life: Life, environment: str) -> None:
    job = life.shell("true", environment=environment)
    assert (job.state, job.reason) == ("Error", "start")
    assert "The" in job.message
    assert "image" in job.message


def test_an_unknown_environment_is_refused(life: Life) -> None:
    with pytest.raises(UnknownEnvironment, match="nonsuch"):
        life.submit("true", environment="nonsuch")
