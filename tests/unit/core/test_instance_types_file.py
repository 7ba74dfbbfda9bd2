"""The file of instance types: what it may say, what is told of a wrong one, and when it is read."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from nablahub.core.instances import (
    CATALOGUE,
    BadInstanceTypes,
    InstanceType,
    LiveCatalogue,
    Toleration,
    parse,
)


def faults(text: str) -> list[str]:
    with pytest.raises(BadInstanceTypes) as caught:
        parse(text, "types.yaml")
    return [str(fault) for fault in caught.value.errors]


def test_a_shipped_type_keeps_what_is_not_written_and_null_takes_a_limit_away() -> None:
    found = parse("types: {Free-CPU: {cpus: 1, max_hours: null}}", "f")
    assert found["Free-CPU"] == InstanceType("Free-CPU", 1, 4, price=0, idle_minutes=60)
    assert found["C5"] == CATALOGUE["C5"]
    assert list(found) == list(CATALOGUE)


def test_a_new_type_may_say_everything() -> None:
    text = """
offered: [big, C4]
types:
  big:
    cpus: 64
    memory_gib: 256.5
    gpu: H100
    gpu_memory_gib: 80
    price: 2
    users: [alice]
    groups: [research]
    max_hours: 12
    idle_minutes: 30
    node_selector: {example.com/pool: gpu, fast: true}
    tolerations:
      - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
    runtime_class: nvidia
    gpu_resource: nvidia.com/mig-1g.10gb
"""
    found = parse(text, "f")
    assert list(found) == ["big", "C4"]
    assert found["big"] == InstanceType(
        "big", 64, 256.5, "H100", 1, 80, 2, frozenset({"alice"}), frozenset({"research"}), 12, 30,
        {"example.com/pool": "gpu", "fast": "true"},
        (Toleration("nvidia.com/gpu", "Exists", None, "NoSchedule"),),
        "nvidia", "nvidia.com/mig-1g.10gb",
    )  # fmt: skip
    assert InstanceType.load(found["big"].save()) == found["big"]


def test_a_gpu_can_be_taken_from_a_shipped_type() -> None:
    found = parse("types: {V100x2: {gpu: null}}", "f")["V100x2"]
    assert (found.gpu, found.gpus, found.gpu_memory_gib) == (None, 0, 0)


@pytest.mark.parametrize("text", ["", "# types:\n#   C4: {cpus: 1}\n", "\n\n"])
def test_a_file_that_says_nothing_changes_nothing(text: str) -> None:
    assert parse(text, "f") == dict(CATALOGUE)


def test_all_faults_are_told_at_once_each_with_its_line_and_the_way_out() -> None:
    text = """\
offered: [C4, C55]
types:
  C4:
    cpuss: 3
    price: -1
    idle_minutes: 0
  big:
    cpus: 2.5
    gpus: 2
  "a b": {cpus: 1, memory_gib: 1}
  late: {cpus: 1, memory_gib: .inf, users: bob}
  none:
"""
    assert faults(text) == [
        "line 1, column 15: There is no instance type 'C55' to be offered. Did you mean 'C5'?",
        "line 4, column 5: The key 'cpuss' is unknown here. Did you mean 'cpus'?",
        "line 5, column 12: 'price' must be at least 0, not -1.",
        "line 6, column 19: 'idle_minutes' must be more than 0, not 0.",
        "line 7, column 3: The instance type 'big' is new, so it needs 'memory_gib'. "
        "Add it, such as `memory_gib: 16`.",
        "line 8, column 11: 'cpus' must be a whole number, not the number 2.5.",
        "line 9, column 11: 'big' has 2 GPUs and does not say which. "
        "Add `gpu:` with their model, such as `gpu: A100`.",
        "line 10, column 10: 'a b': a name has up to 63 letters, digits and the signs + . _ -, "
        "the first a letter or digit.",
        "line 11, column 31: 'memory_gib': input should be a finite number.",
        "line 11, column 44: 'users' must be a list (`- item` lines), not the text 'bob'.",
        "line 12, column 3: 'none' must be a mapping (`key: value` lines), not nothing.",
    ]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ("node_selector: {-x: a}", "'-x' can't be a key in Kubernetes."),
        ("node_selector: {x: -a}", "'-a' can't be a value in Kubernetes"),
        ("tolerations: [{operator: Exists, value: v}]", "`Exists` takes no value."),
        ("tolerations: [{value: v}]", "`Equal` needs a key."),
        ("tolerations: [{key: k, seconds: 3}]", "`seconds` needs `effect: NoExecute`"),
        ("tolerations: [{key: k, effect: Never}]", "'effect' can't be the text 'Never'."),
        ("runtime_class: NVIDIA", "'NVIDIA' can't be a name in Kubernetes"),
        ("gpu_resource: gpu", "Write it as nvidia.com/gpu"),
        ("cpus: true", "'cpus' must be a whole number, not `true`."),
        ("memory_gib: '4'", "'memory_gib' must be a number, not the text '4'."),
        ("gpu: A100, gpus: 0", "names the GPU A100 and has none of them."),
    ],
)
def test_what_kubernetes_or_sense_would_refuse_is_refused(fields: str, fault: str) -> None:
    (said,) = faults(f"types:\n  C4: {{{fields}}}\n")
    assert said.startswith("line 2, ")
    assert fault in said


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("types: [\n", "line 2, column 1: "),
        ("- C4\n", "line 1, column 1: The file must be a mapping. Begin with `types:`."),
        ("types: {C4: {cpus: 1}, C4: {cpus: 2}}", "line 1, column 24: The key 'C4' stands here"),
        ("offered: []", "line 1, column 10: No instance type is offered."),
    ],
)
def test_a_file_that_is_no_such_file_says_where(text: str, fault: str) -> None:
    (said,) = faults(text)
    assert said.startswith(fault)


def test_the_error_names_the_file_and_the_way_out() -> None:
    with pytest.raises(BadInstanceTypes) as caught:
        parse("types: {C4: {cpus: 0}}", "/etc/types.yaml")
    assert caught.value.detail == "/etc/types.yaml cannot be used: it has a fault."
    assert "`nablahub instances check /etc/types.yaml`" in caught.value.hint
    assert "line 1, column 20: 'cpus' must be at least 1" in caught.value.story


@pytest.mark.parametrize(
    ("user", "groups", "reason"),
    [
        ("alice", (), None),
        ("bob", ("b", "research"), None),
        ("bob", ("b",), "It is kept for members of one of the groups ops, research."),
    ],
)
def test_a_type_is_kept_for_its_users_and_groups(
    user: str, groups: tuple[str, ...], reason: str | None
) -> None:
    kind = parse("types: {C4: {users: [alice], groups: [research, ops]}}", "f")["C4"]
    assert kind.kept_from(user, groups) == reason


def test_a_type_may_be_kept_for_users_alone() -> None:
    kind = parse("types: {C4: {users: [alice]}}", "f")["C4"]
    assert kind.kept_from("bob", ["alice"]) == (
        "It is kept for certain users, and you are none of them."
    )


# The file while the hub runs.


def test_a_change_is_in_force_at_the_next_look(tmp_path: Path) -> None:
    file = tmp_path / "types.yaml"
    live = LiveCatalogue(file)
    assert live.types == CATALOGUE
    file.write_text("types: {C4: {cpus: 1}}")
    assert live.types["C4"].cpus == 1
    same = live.now()
    assert live.now() is same  # nothing is read while nothing changes
    other = tmp_path / "other"
    other.write_text("types: {C4: {cpus: 3}}")  # as long, and moved over it as editors do
    os.utime(other, ns=(file.stat().st_mtime_ns,) * 2)
    other.replace(file)
    assert live.types["C4"].cpus == 3
    file.unlink()
    assert live.types == CATALOGUE


def test_a_broken_edit_keeps_what_was_in_force_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, kept = tmp_path / "types.yaml", tmp_path / "run" / "types.yaml"
    file.write_text("types: {C4: {cpus: 1, groups: [research]}}")
    live = LiveCatalogue(file, kept)
    assert live.now().problem is None
    file.write_text("types: {C4: {cpus: -1}}")
    with caplog.at_level(logging.ERROR):
        offer = live.now()
        live.now()
    assert offer.types["C4"].cpus == 1
    assert offer.problem is not None
    (told,) = caplog.messages  # once for each edit
    assert str(file) in told
    assert "line 1, column 20: 'cpus' must be at least 1, not -1." in told
    assert "Those of before stay in force." in told
    again = LiveCatalogue(file, kept)  # a hub that is started anew knows them too
    assert again.types == offer.types
    assert again.now().problem is not None
    file.write_text("types: {C4: {cpus: 4}}")
    assert again.types["C4"].cpus == 4
    assert again.now().problem is None


def test_a_file_that_never_was_sound_opens_nothing_to_anybody(tmp_path: Path) -> None:
    file = tmp_path / "types.yaml"
    file.write_text("types: {C4: {group: [research]}}")
    offer = LiveCatalogue(file, tmp_path / "kept").now()
    assert offer.types == {}
    assert offer.problem is not None
    assert "Did you mean 'groups'?" in offer.problem.story


def test_a_folder_in_the_file_s_place_is_told(tmp_path: Path) -> None:
    offer = LiveCatalogue(tmp_path).now()
    assert offer.problem is not None
    assert "It cannot be read: Is a directory." in offer.problem.story
