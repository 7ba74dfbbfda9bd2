"""What a spec may say, and what is told of each fault."""

from __future__ import annotations

from typing import Any

import pytest

from nablahub.deployments.errors import BadSpec
from nablahub.deployments.servers import scale_of
from nablahub.deployments.specs import (
    check_instance,
    check_scale,
    fingerprint,
    pick_engine,
    read_spec,
)
from nablahub.jobs.types import Scale

GOOD = "name: digits\nmodel: digits\n"


def test_a_spec_needs_a_name_and_a_model() -> None:
    spec, _ = read_spec(GOOD)
    assert (spec.name, spec.model, spec.replicas, spec.instance_type) == (
        "digits",
        "digits",
        1,
        "C4",
    )
    assert (spec.engine, spec.enabled, spec.wanted) == (None, True, 1)


def test_json_is_read_alike() -> None:
    spec, _ = read_spec({"name": "digits", "model": "mo1:abc", "replicas": 3, "enabled": False})
    assert (spec.replicas, spec.wanted) == (3, 0)


SCALED = GOOD + "replicas: 2\nautoscaling:\n  {}: 4\n  metrics: [{{metric: cpu, value: 70}}]\n"


@pytest.mark.parametrize("name", ["max_replicas", "maxReplicas"])
def test_autoscaling_is_read_as_gradient_wrote_it(name: str) -> None:
    spec, source = read_spec(SCALED.format(name))
    check_scale(source, spec, several=True)
    assert scale_of(spec) == Scale(least=2, most=4, cpu=70)
    both = {
        "enabled": True, "maxReplicas": 3,
        "metrics": [{"metric": m, "summary": "average", "value": 80} for m in ("cpu", "memory")],
    }  # fmt: skip
    spec, _ = read_spec({"name": "d", "model": "d", "autoscaling": both})
    assert scale_of(spec) == Scale(least=1, most=3, cpu=80, memory=80)
    spec, _ = read_spec({"name": "d", "model": "d", "autoscaling": {**both, "enabled": False}})
    assert scale_of(spec) == Scale(least=1, most=1)


@pytest.mark.parametrize(
    ("text", "several", "line", "said"),
    [
        (SCALED.format("max_replicas"), False, 4, "processes of one machine"),
        (SCALED.format("max_replicas").replace("replicas: 2", "replicas: 5"), True, 5, "at most"),
        (GOOD + "engine: seldon\n", False, 3, "Kubernetes cluster"),
    ],
)
def test_what_only_a_cluster_has_is_refused_elsewhere(
    text: str, several: bool, line: int, said: str
) -> None:
    spec, source = read_spec(text)
    with pytest.raises(BadSpec) as caught:
        check_scale(source, spec, several=several)
    (fault,) = caught.value.errors
    assert fault.line == line
    assert said in str(fault)


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        (SCALED.format("max_replicas").replace("cpu", "requestDuration"), 6, 22, "'metric'"),
        ("model: digits\n", 1, 1, "'name' is missing"),
        (GOOD + "replicas: many\n", 3, 11, "'replicas' must be a whole number"),
        (GOOD + "replicas: -1\n", 3, 11, "'replicas'"),
        (GOOD + "replicas: 1000\n", 3, 11, "'replicas'"),
        (GOOD + "replica: 2\n", 3, 1, "Did you mean 'replicas'?"),
        (GOOD + "enabled: maybe\n", 3, 10, "'enabled' must be true or false"),
        (GOOD + "engine: onx\n", 3, 9, "Did you mean 'onnx'?"),
        (GOOD + "engine: custom\n", 3, 9, "'custom' is not available yet"),
        (GOOD + "image: nginx\n", 3, 1, "own images come with a later release"),
        (GOOD + "resources:\n  replicas: 2\n", 3, 1, "at the top level"),
        ("name: a/b\nmodel: digits\n", 1, 7, "'/'"),
        ("- name\n", 1, 1, "mapping"),
    ],
)
def test_each_fault_has_its_place(text: str, line: int, column: int, said: str) -> None:
    with pytest.raises(BadSpec) as caught:
        read_spec(text)
    fault = caught.value.errors[0]
    assert said in str(fault)
    assert (fault.line, fault.column) == (line, column)


def test_all_faults_come_at_once() -> None:
    with pytest.raises(BadSpec) as caught:
        read_spec("replicas: x\nmodle: digits\nimage: nginx\n")
    assert len(caught.value.errors) == 5


@pytest.mark.parametrize(
    ("engine", "format_", "picked"),
    [(None, "ONNX", "onnx"), ("sklearn", "sklearn", "sklearn"), (None, "Custom", "python")],
)
def test_the_engine_follows_the_format(engine: Any, format_: str, picked: str) -> None:
    spec, source = read_spec({"name": "a", "model": "m", **({"engine": engine} if engine else {})})
    assert pick_engine(source, spec, format_) == picked


def test_a_model_is_never_handed_to_an_engine_that_would_run_its_code() -> None:
    spec, source = read_spec(GOOD + "engine: sklearn\n")
    with pytest.raises(BadSpec, match="sklearn can't serve a model of the format ONNX"):
        pick_engine(source, spec, "ONNX")
    with pytest.raises(BadSpec, match="format Tensorflow can't be served"):
        pick_engine(source, spec, "Tensorflow")


def test_instance_types_are_checked() -> None:
    spec, source = read_spec(GOOD + "instance_type: C5\n")
    known = {"C4": None, "C5": "Needs 4 CPUs; this machine has 2.", "C6": None}
    with pytest.raises(BadSpec, match="C5 can't be had here: Needs 4 CPUs") as caught:
        check_instance(source, spec, known)
    assert caught.value.errors[0].hint == "Those that fit: C4, C6."
    spec, source = read_spec(GOOD + "instance_type: c4\n")
    with pytest.raises(BadSpec, match="no instance type 'c4'") as caught:
        check_instance(source, spec, known)
    assert "'C4'" in caught.value.errors[0].hint


def test_only_what_servers_are_made_from_changes_the_fingerprint() -> None:
    one = fingerprint("mo1:a", "onnx", "C4")
    assert one == fingerprint("mo1:a", "onnx", "C4")
    assert len({one, fingerprint("mo1:b", "onnx", "C4"), fingerprint("mo1:a", "onnx", "C5")}) == 3
