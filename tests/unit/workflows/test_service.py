"""Workflows by the real service: real database, real jobs in real sandboxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nablahub.client import Hub
from nablahub.core.errors import Invalid, NablaError, NotFound
from nablahub.core.transport import Transport
from nablahub.jobs.runners.process.shutdown import end_all
from nablahub.workflows.types import Run
from tests.support.environments import FOLDER, environment
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS
from tests.support.service import RunningService, running
from tests.support.waiting import until

CHAIN = """\
name: chain
inputs:
  word: {type: string, with: {value: hello}}
jobs:
  first:
    uses: script@v1
    outputs:
      text: {type: string}
      folder: {type: volume}
      data: {type: dataset, with: {ref: chained}}
    inputs: {word: workflow.inputs.word}
    with:
      script: |-
        cat /inputs/word > /outputs/text
        echo in a volume > /outputs/folder/file
        mkdir /outputs/data/sub; echo "$GREETING" > /outputs/data/sub/a.txt
    env: {GREETING: good day}
  second:
    uses: script@v1
    needs: [first]
    inputs: {text: first.outputs.text, folder: first.outputs.folder, data: first.outputs.data}
    outputs: {all: {type: string}}
    with:
      script: |-
        cat /inputs/text > /outputs/all
        cat /inputs/folder/file /inputs/data/sub/a.txt >> /outputs/all
        touch /inputs/folder/x 2>/dev/null && exit 9
        echo once >> /storage/lines
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    environment("default")
    root = tmp_path_factory.mktemp("hub")
    with running(root, environments_dir=FOLDER, allow_private_addresses=True) as made:
        yield made
    end_all(made.state)


@pytest.fixture(scope="module")
def hub(service: RunningService) -> Hub:
    return service.hub("alice")


@pytest.fixture(scope="module")
def project(hub: Hub) -> str:
    return str(hub.projects.create("flows").id)


def run(hub: Hub, project: str, spec: str, **inputs: str) -> Run:
    made = hub.workflows.apply(project, spec)
    ended = hub.workflows.wait(hub.workflows.start(made.id, inputs))
    assert isinstance(ended, Run)
    return ended


def test_a_chain_of_jobs_passes_everything_on(
    service: RunningService, hub: Hub, project: str
) -> None:
    ended = run(hub, project, CHAIN, word="hi there\n")
    assert [(j.name, j.state, j.message) for j in ended.jobs] == [
        ("first", "Succeeded", ""),
        ("second", "Succeeded", ""),
    ]
    assert (ended.state, ended.number) == ("Succeeded", 1)
    assert ended.outputs["second.all"].value == "hi there\nin a volume\ngood day\n"
    assert set(ended.outputs) == {"first.text", "first.data", "second.all"}
    version = ended.outputs["first.data"].ref
    assert version is not None
    dataset = hub.datasets.get("chained")
    assert dataset.latest_version.ref == version
    assert dataset.project_id == project
    until(lambda: not (service.state.volumes / ended.uuid).exists(), "the volumes are removed")
    (storage,) = service.state.storage.iterdir()
    assert (storage / "lines").read_text() == "once\n"
    again = run(hub, project, CHAIN)
    assert (again.number, again.state) == (2, "Succeeded")
    assert [r.number for r in hub.workflows.runs(again.workflow_id)] == [2, 1]
    assert [r.uuid for r in hub.workflows.runs(project=project)][:2] == [again.uuid, ended.uuid]


BUCKET = """\
name: bucket
inputs:
  raw: {type: bucket, with: {ref: ours/nowhere, readOnly: false}}
jobs:
  add:
    uses: script@v1
    inputs: {raw: workflow.inputs.raw}
    with: {script: "cat /inputs/raw/a > /inputs/raw/b"}
  look:
    uses: script@v1
    needs: [add]
    inputs: {mine: {type: bucket, with: {ref: ours/raw}}}
    outputs: {all: {type: string}}
    with: {script: "cat /inputs/mine/b > /outputs/all; touch /inputs/mine/c && exit 9; true"}
"""


def test_jobs_read_and_write_a_bucket(
    service: RunningService, hub: Hub, project: str, s3: SeaweedFS
) -> None:
    bucket = s3.bucket()
    s3.client().put_object(Bucket=bucket, Key="raw/a", Body=b"one")
    made = hub.workflows.apply(project, BUCKET)
    with pytest.raises(NablaError) as refused:
        hub.workflows.start(made.id, inputs={"raw": "ours/raw"})
    assert [fault.message for fault in refused.value.errors] == [
        "There is no storage provider 'ours'.", "There is no storage provider 'ours'."
    ]  # fmt: skip
    hub.storage.create(
        "ours", bucket=bucket, access_key=KEY, secret_key=SECRET, endpoint=s3.endpoint,
        region=REGION,
    )  # fmt: skip
    done = run(hub, project, BUCKET, raw="ours/raw")
    assert done.state == "Succeeded", done.message
    assert done.outputs["look.all"].value == "one"
    assert s3.keys(bucket) == {"raw/a", "raw/b"}
    assert done.inputs["raw"].given == "ours/raw"


def test_a_failed_job_fails_the_run_and_skips_the_rest(hub: Hub, project: str) -> None:
    ended = run(hub, project, """\
name: failing
jobs:
  good: {uses: script@v1, with: {script: "true"}}
  bad: {uses: script@v1, with: {script: "echo no >&2; exit 3"}}
  after: {uses: script@v1, needs: [bad], with: {script: "true"}}
""")  # fmt: skip
    assert (ended.state, ended.reason) == ("Failed", "code")
    assert ended.message.startswith("Job 'bad' failed")
    assert [j.state for j in ended.jobs] == ["Succeeded", "Failed", "Skipped"]


def test_a_run_can_be_cancelled(hub: Hub, project: str) -> None:
    made = hub.workflows.apply(project, """\
name: slow
jobs:
  sleeps: {uses: script@v1, with: {script: "sleep 600"}}
  after: {uses: script@v1, needs: [sleeps], with: {script: "true"}}
""")  # fmt: skip
    started = hub.workflows.start(made.id)
    with pytest.raises(NablaError, match="still runs"):
        hub.workflows.delete(made.id)
    hub.workflows.cancel(made.id, started.number)
    ended = hub.workflows.wait(started)
    assert (ended.state, ended.reason) == ("Canceled", "cancelled")
    assert [j.state for j in ended.jobs] == ["Canceled", "Canceled"]
    hub.workflows.delete(made.id)
    with pytest.raises(NotFound):
        hub.workflows.get(made.id)


def test_what_can_not_run_here_starts_nothing(hub: Hub, project: str) -> None:
    made = hub.workflows.apply(project, """\
name: elsewhere
inputs: {data: {type: dataset}}
jobs:
  a:
    uses: script@v1
    with: {script: "true", image: "tensorflow/tensorflow:1.14.0"}
    resources: {instance-type: H100x8}
""")  # fmt: skip
    assert [(w.line, w.column) for w in made.warnings] == [(6, 35), (7, 32)]
    with pytest.raises(Invalid) as caught:
        hub.workflows.start(made.id)
    assert caught.value.code == "cannot_run_here"
    assert [(f.line, f.column) for f in caught.value.errors] == [(6, 35), (7, 32)]
    assert list(hub.workflows.runs(made.id)) == []


def test_a_run_gets_what_its_user_may_take_and_nothing_else(service: RunningService) -> None:
    service.state.instance_types.write_text(
        "types: {kept: {cpus: 1, memory_gib: 0.5, groups: [research]}}"
    )
    spec = """\
name: kept
jobs:
  a:
    uses: script@v1
    with: {script: "true"}
    resources: {instance-type: kept}
"""
    try:
        service.fake.add("frank")
        outside = service.hub("frank")
        made = outside.workflows.apply(outside.projects.create("outside").id, spec)
        with pytest.raises(Invalid) as caught:
            outside.workflows.start(made.id)
        (fault,) = caught.value.errors
        assert (fault.line, fault.column) == (6, 32)
        assert "It is kept for members of the group research." in fault.message
        assert "kept" not in fault.hint
        service.fake.add("dora", groups=["research"])
        inside = service.hub("dora")
        ended = run(inside, inside.projects.create("inside").id, spec)
        assert ended.state == "Succeeded", ended.message
    finally:
        service.state.instance_types.unlink()


@pytest.mark.parametrize(
    ("spec", "code", "place"),
    [
        ("jobs:\n\ta: 1\n", "malformed_spec", (2, 1)),
        ("jobs: {a: {uses: nope@v1}}\n", "invalid_workflow", (1, 18)),
        (
            "jobs:\n  a: {uses: script@v1, with: {script: x}, needs: [b]}\n"
            "  b: {uses: script@v1, with: {script: x}, needs: [a]}\n",
            "invalid_workflow", (2, 51),
        ),
    ],
)  # fmt: skip
def test_bad_specs_are_refused_with_their_places(
    hub: Hub, project: str, spec: str, code: str, place: tuple[int, int]
) -> None:
    with pytest.raises(NablaError) as caught:
        hub.workflows.create(project, spec, name="bad")
    assert caught.value.code == code
    (fault,) = caught.value.errors
    assert (fault.line, fault.column) == place
    assert "bad" not in [w.name for w in hub.workflows.list(project)]


def test_missing_and_unknown_inputs_are_named(hub: Hub, project: str) -> None:
    made = hub.workflows.apply(project, """\
name: wants
inputs: {data: {type: dataset}}
jobs: {a: {uses: script@v1, with: {script: "true"}, inputs: {data: workflow.inputs.data}}}
""")  # fmt: skip
    with pytest.raises(Invalid, match="no run was started") as caught:
        hub.workflows.start(made.id, {"date": {"value": "x"}})
    assert [f.pointer for f in caught.value.errors] == ["/inputs/date", "/inputs/data"]
    with pytest.raises(Invalid) as caught:
        hub.workflows.start(made.id, {"data": "no-such-dataset"})
    assert caught.value.errors[0].pointer == "/inputs/data"


def test_nobody_elses_workflow_exists(service: RunningService, hub: Hub, project: str) -> None:
    made = hub.workflows.apply(project, CHAIN)
    bob: Transport = service.transport("bob")
    paths = [f"/workflows/{made.id}", f"/workflows/{made.id}/runs", f"/workflows/{made.id}/runs/1"]
    for path in paths:
        with pytest.raises(NotFound):
            bob.get(path)
    with pytest.raises(NotFound):
        bob.post(f"/workflows/{made.id}/runs", {"inputs": {}})
    with pytest.raises(NotFound):
        bob.post(f"/workflows/{made.id}/runs/1/cancel")
    assert bob.get("/runs")["items"] == []
    assert bob.get("/workflows")["items"] == []


def test_a_run_started_twice_with_one_key_is_one_run(hub: Hub, project: str) -> None:
    made = hub.workflows.apply(
        project, "name: once\njobs: {a: {uses: script@v1, with: {script: 'true'}}}\n"
    )
    first = hub.workflows.start(made.id, key="same")
    assert hub.workflows.start(made.id, key="same").uuid == first.uuid
    assert hub.workflows.wait(first).state == "Succeeded"
    assert [r.number for r in hub.workflows.runs(made.id)] == [1]


def test_files_reach_the_jobs(hub: Hub, project: str, tmp_path: Path) -> None:
    spec = "name: carrying\njobs: {a: {uses: script@v1, with: {script: 'cat lib/words'}}}\n"
    made = hub.workflows.apply(project, spec, files={"lib/words": "carried\n"})
    assert hub.workflows.apply(project, spec, files={"lib/words": "carried\n"}).revision == 1
    ended = hub.workflows.wait(hub.workflows.start(made.id))
    assert ended.state == "Succeeded"
    assert hub.jobs.log(ended.jobs[0].job_id) == "carried\n"


def test_a_run_goes_on_after_the_service_came_back(tmp_path: Path) -> None:
    with running(tmp_path, environments_dir=FOLDER) as first:
        hub = first.hub()
        project = hub.projects.create("again").id
        made = hub.workflows.apply(project, """\
name: long
jobs:
  waits:
    uses: script@v1
    outputs: {kept: {type: volume}}
    with: {script: "echo x > /outputs/kept/f; until [ -e /storage/go ]; do sleep 0.05; done"}
  after:
    uses: script@v1
    needs: [waits]
    inputs: {kept: waits.outputs.kept}
    with: {script: "cat /inputs/kept/f >> /storage/lines"}
""")  # fmt: skip
        started = hub.workflows.start(made.id)
        for now in hub.workflows.follow(started):
            if now.jobs[0].state == "Running":
                break
    (storage,) = first.state.storage.iterdir()
    (storage / "go").touch()
    leftover = first.state.volumes / "of-a-run-that-nobody-knows" / "a.b"
    leftover.mkdir(parents=True)
    with running(tmp_path, environments_dir=FOLDER) as second:
        hub = second.hub()
        ended = hub.workflows.wait(hub.workflows.run(made.id, started.number))
        assert (ended.state, ended.uuid) == ("Succeeded", started.uuid)
        assert len(list(hub.jobs.list())) == 2
        assert (storage / "lines").read_text() == "x\n"
        assert list(second.state.volumes.iterdir()) == []
    end_all(second.state)
