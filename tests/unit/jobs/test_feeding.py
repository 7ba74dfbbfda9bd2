"""Bytes that come over the network, read by a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from nablahub.jobs.runners.feeding import Fed, feed


async def pieces(*given: bytes, broken: bool = False) -> AsyncIterator[bytes]:
    for each in given:
        yield each
    if broken:
        raise ConnectionResetError


def whole(fed: Fed) -> bytes:
    found = b""
    while part := fed.read(3):
        found += part
    return found


async def test_everything_comes_in_order_to_many_at_once() -> None:
    # More than threads that the loop has by itself: nobody waits for another's thread.
    given = [f"{number:04}".encode() for number in range(100)]
    found = await asyncio.gather(*(feed(pieces(*given), whole) for _ in range(60)))
    assert set(found) == {b"".join(given)}


async def test_who_reads_no_further_stops_nobody() -> None:
    assert await feed(pieces(*[b"x" * 1000] * 100), lambda fed: fed.read(1)) == b"x"


async def test_who_has_read_enough_is_sent_no_more() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000

    assert await feed(endless(), lambda fed: fed.read(1)) == b"x"


async def test_a_half_is_not_taken_for_a_whole() -> None:
    with pytest.raises(ConnectionError, match="the sender went away"):
        await feed(pieces(b"one", broken=True), whole)
