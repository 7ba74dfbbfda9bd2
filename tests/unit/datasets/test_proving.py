"""Packs are proved by other processes as they would be here, whatever becomes of those."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nablahub.datasets.errors import BadObject
from nablahub.datasets.packs import PackBuilder, pack_name
from nablahub.datasets.proving import Provers


@pytest.fixture(scope="module")
def provers() -> Iterator[Provers]:
    found = Provers(1)
    yield found
    found.close()


def pack(count: int) -> tuple[str, bytes]:
    builder = PackBuilder()
    for _ in range(count):
        data = os.urandom(100)
        builder.add(hashlib.md5(data).digest(), hashlib.sha256(data).digest(), data)
    parts = builder.parts()
    return pack_name(parts[0]), b"".join(parts)


def test_a_pack_is_proved_by_its_bytes_and_in_its_file(provers: Provers, tmp_path: Path) -> None:
    name, data = pack(300)
    (tmp_path / "ä b").write_bytes(data)
    assert provers.prove_data(name, data) == 300
    assert provers.prove_file(name, tmp_path / "ä b") == 300


@pytest.mark.parametrize("place", [0, 20, 300, -1])
def test_one_wrong_byte_is_told_of_as_it_is_here(
    provers: Provers, tmp_path: Path, place: int
) -> None:
    name, data = pack(50)
    wrong = bytearray(data)
    wrong[place] ^= 1
    (tmp_path / "pack").write_bytes(wrong)
    proofs: list[Callable[[], int]] = [
        lambda: provers.prove_data(name, bytes(wrong)),
        lambda: provers.prove_file(name, tmp_path / "pack"),
    ]
    for prove in proofs:
        with pytest.raises(BadObject) as told:
            prove()
        assert told.value.detail
        assert told.value.hint
    assert provers.prove_data(name, data) == 50


def test_a_process_that_dies_costs_nothing(provers: Provers, tmp_path: Path) -> None:
    name, data = pack(20)
    assert provers.prove_data(name, data) == 20
    for worker in list(provers._all):
        worker._process.kill()
        worker._process.wait()
    assert provers.prove_data(name, data) == 20
    with pytest.raises(BadObject):
        provers.prove_data(name, data[:-1])


def test_those_who_wait_for_a_process_that_dies_go_on(provers: Provers) -> None:
    name, data = pack(20)
    assert provers.prove_data(name, data) == 20
    (worker,) = provers._all
    os.kill(worker._process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(provers.prove_data, name, data) for _ in range(4)]
        worker._process.kill()
        assert [one.result(60) for one in found] == [20] * 4


def test_a_file_that_is_gone_is_told_of(provers: Provers, tmp_path: Path) -> None:
    name, data = pack(20)
    with pytest.raises(FileNotFoundError):
        provers.prove_file(name, tmp_path / "nothing")
    assert provers.prove_data(name, data) == 20
