"""The catalogue of instance types, and what fits a machine."""

from __future__ import annotations

import pytest

from nablahub.core.instances import CATALOGUE, Gpu, InstanceType, Machine, suggestion

SMALL = Machine(cpus=2, memory_gib=7.6)
H200 = Machine(cpus=16, memory_gib=128, gpus=(Gpu("NVIDIA H200", 139.8),))
A100S = Machine(cpus=96, memory_gib=800, gpus=(Gpu("NVIDIA A100-SXM4-80GB", 79.4),) * 4)


def test_every_name_of_gradient_is_there() -> None:
    names = """C3 C4 C5 C7 Free-CPU Free-GPU Free-GPU+ Free-P5000 P5000 Free-RTX4000 RTX4000
        Free-RTX5000 RTX5000 Free-P4000 P4000 P6000 V100 V100x2 V100x4 V100-32G V100-32Gx2
        V100-32Gx4 Free-A4000 A4000 A4000x2 A4000x4 Free-A5000 A5000 A5000x2 A5000x4 Free-A6000
        A6000 A6000x2 A6000x4 A100 A100x2 A100x4 A100x8 Free-A100-80G A100-80G H100 H100x8"""
    assert set(names.split()) <= set(CATALOGUE)


def test_numbers_scale_with_the_gpus() -> None:
    assert CATALOGUE["V100x4"] == InstanceType("V100x4", 32, 120, "V100", 4, 16, price=9.2)


@pytest.mark.parametrize(
    ("name", "machine", "reason"),
    [
        ("C4", SMALL, None),
        ("C5", SMALL, "Needs 4 CPUs; this machine has 2."),
        ("C5", Machine(8, 7.6), "Needs 8 GiB of memory; this machine has 7.6 GiB."),
        ("V100", SMALL, "Needs 1 × V100; this machine has no GPU."),
        ("H100", H200, "Needs 1 × H100; this machine has none of them (1 × NVIDIA H200)."),
        ("A100-80Gx4", A100S, None),
        ("A100", A100S, None),
        (
            "A100-80Gx8",
            A100S,
            "Needs 8 × A100; this machine has 4 of them (4 × NVIDIA A100-SXM4-80GB).",
        ),
    ],
)
def test_the_reason_says_what_is_missing(name: str, machine: Machine, reason: str | None) -> None:
    assert CATALOGUE[name].fits(machine) == reason


def test_an_80_gb_type_is_not_given_a_40_gb_card() -> None:
    machine = Machine(96, 800, (Gpu("NVIDIA A100-PCIE-40GB", 39.6),))
    assert CATALOGUE["A100"].fits(machine) is None
    assert CATALOGUE["A100-80G"].fits(machine) is not None


def test_a_suggestion_fits() -> None:
    found = suggestion(SMALL, CATALOGUE.values())
    assert found is not None
    assert found.fits(SMALL) is None
    assert suggestion(Machine(1, 0.5), CATALOGUE.values()) is None


def test_of_types_of_the_same_size_the_default_one_is_suggested() -> None:
    found = suggestion(SMALL, CATALOGUE.values())
    assert found is not None
    assert found.name == "C4"


def test_this_machine_is_seen() -> None:
    machine = Machine.detect()
    assert machine.cpus >= 1
    assert machine.memory_gib > 0.1
