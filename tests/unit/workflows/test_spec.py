"""Reading and checking a workflow: every fault at once, each with its place and the way out."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from nablahub.core.errors import Fault, Invalid
from nablahub.core.yamlspec import Document, MalformedSpec, document, load
from nablahub.workflows.checks import check
from nablahub.workflows.files import check_files
from nablahub.workflows.machine import Machine, check_here
from nablahub.workflows.spec import Spec, parse, restore

GOOD = """\
on:
  github: {branches: {only: main}}
defaults:
  env: {RELEASE: 1.10, DEBUG: true}
  resources: {instance-type: C4}
inputs:
  data: {type: dataset, with: {ref: digits}}
  epochs: {type: string, with: {value: 3}}
jobs:
  prepare:
    uses: script@v1
    inputs: {data: workflow.inputs.data}
    outputs:
      split: {type: dataset, with: {id: digits-split}}
      scratch: {type: volume}
      rows: {type: string}
    with:
      image: python:3.12
      script: |-
        echo "${HOME} $(date) ${{ not.ours }}" > /outputs/rows
  train:
    uses: notebook@v1
    needs: [prepare]
    inputs: {split: prepare.outputs.split, rows: prepare.outputs.rows}
    outputs: {model: {type: dataset, with: {ref: digits-model}}}
    with: {notebook: train.ipynb, parameters: {epochs: 3, rate: 1.0e-3}}
  register:
    uses: create-model@v1
    needs: train
    inputs: {model: train.outputs.model}
    outputs: {model-id: {type: string}}
    with: {name: digits, type: onnx}
"""

MACHINE = Machine(
    environment={"python:3.12": "default", "bash:5": "shell"}.get,
    environments=lambda: ["python:3.12", "bash:5"],
    instance=lambda name: {"C4": None, "C7": "it needs 12 CPUs; this machine has 2"}[name],
    instances=lambda: ["C4", "C7"],
    has_kernel=lambda name: name == "default",
)


def faults(text: str, files: tuple[str, ...] = ("train.ipynb",)) -> list[Fault]:
    source = load(textwrap.dedent(text))
    spec, found = parse(source)
    if spec is not None:
        found = [*found, *check(source, spec, files)]
    return found


def only(text: str) -> Fault:
    found = faults(text)
    assert len(found) == 1, [str(f) for f in found]
    return found[0]


def sound(text: str) -> Spec:
    assert faults(text) == []
    spec, _ = parse(load(textwrap.dedent(text)))
    assert spec is not None
    return spec


def test_a_sound_workflow_is_read_whole() -> None:
    spec = sound(GOOD)
    assert spec.env("train") == {"RELEASE": "1.10", "DEBUG": "true"}
    assert spec.instance_type("train") == "C4"
    assert spec.jobs["register"].needs == ["train"]
    assert spec.jobs["prepare"].arguments["script"] == (
        'echo "${HOME} $(date) ${{ not.ours }}" > /outputs/rows'
    )
    target = spec.jobs["prepare"].outputs["split"].target
    assert target is not None
    assert target.reference == "digits-split"
    assert restore(spec.dump()) == spec


@pytest.mark.parametrize("key", ["on", "'on'", '"on"', "true"])
def test_on_is_a_word_whatever_the_reader_made_of_it(key: str) -> None:
    spec = sound(f"{key}: {{github: {{branches: {{only: main}}}}}}\n" + JOB)
    assert spec.on is not None
    assert spec.on.github is not None
    assert spec.on.github.branches is not None
    assert spec.on.github.branches.only == ["main"]


JOB = "jobs: {a: {uses: script@v1, with: {script: 'true'}}}\n"


def test_a_spec_that_came_as_json_has_faults_with_pointers() -> None:
    data: dict[str, Any] = {"true": None, "jobs": {"a": {"uses": "skript@v1"}}}
    source = document(data)
    spec, found = parse(source)
    assert spec is not None
    assert found == []
    (fault,) = check(source, spec)
    assert (fault.pointer, fault.line) == ("/jobs/a/uses", None)
    assert fault.hint == "Did you mean 'script@v1'?"


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("job:\n  a: {}\n" + JOB, (1, 1), "'job' is unknown", "Did you mean 'jobs'?"),
        ("on: {}\n", (1, 1), "needs `jobs`", ""),
        ("jobs: []\n", (1, 7), "'jobs' must be a mapping (`key: value` lines), not a list.", ""),
        ("jobs:\n  a:\n    uses: script@v2\n", (3, 11), "no action 'script@v2'", "script@v1"),
        ("jobs:\n  a: {with: {script: x}}\n", (2, 3), "which action it uses", "script@v1"),
        ("jobs:\n  a:\n    uses: script@v1\n", (2, 3), "needs `with`", "script: 'echo hello'"),
        ("jobs:\n  a:\n    uses: script@v1\n    with: {image: x}\n", (4, 5), "'script' is", ""),
        ("jobs:\n  a:\n    uses: script@v1\n    with: {script: ''}\n", (4, 20), "it is empty", ""),
        ("jobs:\n  a/b: {uses: script@v1, with: {script: x}}\n", (2, 8), "name is made of", ""),
        (
            "jobs:\n  a: {uses: script@v1, with: {script: x}, timeout: soon}\n",
            (2, 52), "'timeout' must be a whole number, not the text 'soon'.", "",
        ),
        (
            "jobs:\n  a:\n    uses: script@v1\n    with: {script: x}\n    outputs:\n"
            "      d: {type: datasets}\n",
            (6, 17), "'type' can't be the text 'datasets'", "Did you mean 'dataset'?",
        ),
        (
            "jobs:\n  a:\n    uses: script@v1\n    with: {script: x}\n    outputs:\n"
            "      d: {type: dataset}\n",
            (6, 7), "does not say which dataset", "with: {ref:",
        ),
        (
            "jobs:\n  CloneRepo: {uses: script@v1, with: {script: x}}\n"
            "  b: {uses: script@v1, with: {script: x}, needs: [cloneRepo]}\n",
            (3, 51), "needs 'cloneRepo', and no job is called so", "Did you mean 'CloneRepo'?",
        ),
        (
            "jobs:\n  a: {uses: script@v1, with: {script: x}, outputs: {o: {type: volume}}}\n"
            "  b:\n    uses: script@v1\n    with: {script: x}\n    inputs: {o: a.outputs.o}\n",
            (6, 17), "takes an output of 'a' and does not wait", "Add 'a' to its `needs`.",
        ),
        (
            "inputs: {data: {type: dataset}}\njobs:\n  b:\n    uses: script@v1\n"
            "    with: {script: x}\n    inputs: {o: workflow.inputs.date}\n",
            (6, 17), "no input 'date'", "Did you mean 'data'?",
        ),
        (
            "jobs:\n  a: {uses: notebook@v1, with: {notebook: trian.ipynb}}\n",
            (2, 43), "carries no file 'trian.ipynb'", "Did you mean 'train.ipynb'?",
        ),
        (
            "jobs:\n  a: {uses: notebook@v1, with: {notebook: /inputs/repo/t.ipynb}}\n",
            (2, 43), "no input 'repo'", "Declare it",
        ),
        ("jobs:\n  a: {uses: script@v1, with: {script: x}}\n  a: {}\n", (3, 3), "second time", ""),
        ("jobs:\n\ta: {}\n", (2, 1), "", "spaces"),
        ("jobs: !!python/object:os.system {}\n", (1, 7), "tag", "Remove"),
        ("jobs: &a {a: *a}\n", (1, 7), "nested", ""),
        ("jobs:\n  a: {uses: script@v1\n", (3, 1), "", "Check"),
    ],
)  # fmt: skip
def test_each_fault_has_its_place_and_a_way_out(
    text: str, place: tuple[int, int], message: str, hint: str
) -> None:
    try:
        fault = only(text)
    except MalformedSpec as error:
        (fault,) = error.errors
    assert message in fault.message
    assert hint in fault.hint
    assert (fault.line, fault.column) == place


def test_a_cycle_is_named() -> None:
    job = "{uses: script@v1, with: {script: x}, needs: [%s]}"
    text = "jobs:\n" + "".join(
        f"  {name}: {job % needs}\n"
        for name, needs in {"a": "b", "b": "c", "c": "a", "d": "a", "e": "e"}.items()
    )
    found = faults(text)
    assert [f.message for f in found] == [
        "The job 'e' needs itself.",
        "These jobs wait for each other: a → b → c → a (each needs the next).",
    ]
    assert (found[1].line, found[1].pointer) == (2, "/jobs/a/needs/0")


def test_all_faults_are_told_at_once() -> None:
    found = faults("""\
        trigger: push
        jobs:
          a:
            uses: scirpt@v1
            retries: 3
          b:
            uses: script@v1
            needs: [c]
            with: {script: 1, images: x}
            inputs: {o: a.outputs.o}
    """)
    assert [(f.line, f.message.split(".")[0]) for f in found] == [
        (1, "The key 'trigger' is unknown here"),
        (5, "The key 'retries' is unknown here"),
        (8, "'b' needs 'c', and no job is called so"),
        (4, "There is no action 'scirpt@v1'"),
        (9, "The key 'images' is unknown here"),
        (10, "The job 'a' has no output 'o'"),
    ]


def test_what_this_machine_lacks_is_told_with_its_line() -> None:
    text = """\
        defaults: {resources: {instance-type: C9}, env: {KEY: secret:key}}
        jobs:
          a: {uses: script@v1, with: {script: x, image: 'pyton:3.12'}}
          b: {uses: notebook@v1, with: {notebook: train.ipynb, image: 'bash:5'}}
          c: {uses: git-checkout@v1, with: {url: x}, resources: {instance-type: C7}}
    """
    source = load(textwrap.dedent(text))
    spec, found = parse(source)
    assert spec is not None
    assert found == check(source, spec, ["train.ipynb"]) == []
    assert [str(f) for f in check_here(source, spec, MACHINE)] == [
        "line 3, column 49: No environment here answers to the image 'pyton:3.12'. "
        "Did you mean 'python:3.12'?",
        "line 4, column 63: The environment 'shell' can't run notebooks: it has no ipykernel. "
        "Add ipykernel to it, or use another.",
        "line 5, column 13: git-checkout@v1 can't be run by this version. Put the files into a "
        "dataset (`nablahub datasets put`) and name it under the job's inputs.",
        "line 5, column 73: The instance type 'C7' can't be had here. It needs 12 CPUs; this "
        "machine has 2. Here fit: C4.",
        "line 1, column 39: There is no instance type 'C9'. There are: C4, C7.",
        "line 1, column 55: 'secret:key' names a secret, and this version keeps none. "
        "Take the line out; a job has its own PAPERSPACE_API_KEY.",
    ]


def test_aliases_and_merges_are_read_and_bounded() -> None:
    spec = sound("""\
        jobs:
          a: &base {uses: script@v1, with: {script: x}, env: {A: 1}}
          b: {<<: *base, env: {B: 2}}
    """)
    assert spec.jobs["b"].env == {"B": "2"}
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
        for old, new in zip("abcdefg", "bcdefgh", strict=True)
    )
    with pytest.raises(MalformedSpec, match="more than 50000 parts"):
        load(bomb)
    with pytest.raises(MalformedSpec, match="nested"):
        load("[" * 2000)


def test_needs_are_limited_in_all() -> None:
    job = {"uses": "script@v1", "with": {"script": "true"}}
    jobs = {f"a{n}": job for n in range(101)}
    jobs |= {f"b{n}": {**job, "needs": [f"a{m}" for m in range(101)]} for n in range(100)}
    source = Document({"jobs": jobs})
    spec, faults = parse(source)
    assert spec is not None
    assert faults == []
    (fault,) = check(source, spec)
    assert "10000 needs in all, not 10100" in fault.message
    assert fault.pointer == "/jobs"


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"a": "", "a/b": ""}, "/files/a~1b"),
        ({"x": "", "x/y/z": "", "x/y": ""}, "/files/x~1y~1z"),
        ({"a\r\nb": ""}, "/files/a\r\nb"),
        ({"../a": ""}, "/files/..~1a"),
        ({".nablahub/script": ""}, "/files/.nablahub~1script"),
    ],
)
def test_files_that_no_folder_can_hold(files: dict[str, str], named: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_files(files)
    assert named in [fault.pointer for fault in caught.value.errors]
    check_files({"a": "", "b/c": "", "b/d": "", "ab/c": ""})
