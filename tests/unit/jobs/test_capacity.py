"""Whose turn it is: promises of one machine, and nodes of a cluster."""

from __future__ import annotations

from nablahub.core.instances import InstanceType, Machine
from nablahub.jobs.capacity import Capacity
from nablahub.jobs.gathering import Gathering

SMALL, BIG = InstanceType("small", 1, 0.1), InstanceType("big", 3, 2)
A100 = InstanceType("A100", 8, 90, node_selector={"gpu": "a100"})
V100 = InstanceType("V100", 8, 30, node_selector={"gpu": "v100"})
HERE = InstanceType("here", 8, 30, node_selector={"zone": "here"})
ANY = InstanceType("any", 2, 4)


def test_a_small_job_does_not_pass_a_big_one() -> None:
    room = Capacity(Machine(cpus=3, memory_gib=4))
    assert room.take("a", "task", SMALL)
    assert not room.take("b", "task", BIG)
    assert not room.take("c", "task", SMALL)  # there would be room
    assert room.first() == "b"
    assert room.release("a") == "b"
    assert not room.take("c", "task", SMALL)
    assert room.take("b", "task", BIG)
    assert room.take("b", "task", BIG)  # promised is promised
    assert room.first() == "c"
    assert not room.take("c", "task", SMALL)
    assert room.release("b") == "c"
    assert room.take("c", "task", SMALL)


def test_what_waits_may_go_away() -> None:
    room = Capacity(Machine(cpus=3, memory_gib=4))
    assert room.take("a", "task", BIG)
    assert not room.take("b", "task", BIG)
    assert not room.take("c", "task", SMALL)
    assert room.release("b") == "c"
    assert room.release("nonsuch") == "c"
    assert room.release("a") == "c"


def test_promises_add_up_to_what_there_is() -> None:
    room = Capacity(Machine(cpus=40, memory_gib=1))
    for number in range(10):  # ten tenths are one, also of numbers that binary fractions are not
        assert room.take(str(number), "task", SMALL)
        room.hold(str(number), "task", SMALL)  # held twice, counted once
    assert not room.has("serve", SMALL)
    assert not room.take("more", "task", SMALL)
    for number in range(10):
        room.release(str(number))
    assert room.has("task", InstanceType("all", 40, 1))
    assert not room.has("task", InstanceType("more", 41, 1))
    assert room.has("serve", InstanceType("more", 41, 1))  # servers share processors


def test_jobs_that_could_have_the_same_nodes_gather_one_after_another() -> None:
    turns = Gathering()
    assert turns.take("a", ANY)
    assert turns.take("a", ANY)
    assert not turns.take("b", A100)
    assert not turns.take("c", ANY)
    assert turns.done("a") == ["b", "c"]
    assert turns.take("b", A100)
    assert not turns.take("c", ANY)
    assert turns.done("b") == ["c"]
    assert turns.take("c", ANY)
    assert turns.done("c") == []
    assert turns.done("c") == []


def test_jobs_that_cannot_have_the_same_nodes_gather_side_by_side() -> None:
    turns = Gathering()
    assert turns.take("a", A100)
    assert turns.take("v", V100)
    assert not turns.take("h", HERE)  # an a100 may be here
    # Behind the one that waits, which could have its nodes as well.
    assert not turns.take("v2", V100)
    assert turns.done("v") == ["h", "v2"]
    assert not turns.take("h", HERE)
    assert not turns.take("v2", V100)
    assert turns.done("h") == ["v2"]  # cancelled
    assert turns.take("v2", V100)


def test_one_that_gathered_before_a_restart_goes_on() -> None:
    turns = Gathering()
    turns.hold("a", ANY)
    assert not turns.take("b", ANY)
    assert turns.done("a") == ["b"]
