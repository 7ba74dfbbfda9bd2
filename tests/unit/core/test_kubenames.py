"""Names in a cluster: valid, and never the same for two things."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nablahub.core import kubenames

LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")

#: Names that are alike to people, to DNS, or when they are joined carelessly.
ALIKE = ["", "-", "a", "A", "a-b", "a_b", "a.b", "a--b", "b", "ab", "á", "a ", "a\u0301", "😀"]
TEXT = st.one_of(
    st.sampled_from(ALIKE), st.text(max_size=80), st.text(alphabet="aAbB-._@", max_size=9)
)


@given(TEXT, TEXT, TEXT)
def test_every_name_is_a_dns_label(hub: str, user: str, server: str) -> None:
    for name in (
        kubenames.server(hub, user, server),
        kubenames.home(hub, user),
        kubenames.home(hub, user, server),
        kubenames.storage(hub, user, server),
    ):
        assert LABEL.fullmatch(name)
        assert len(name) <= kubenames.LONGEST


@given(st.tuples(TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT))
def test_two_servers_share_no_pod_and_no_home(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (kubenames.server(*one) == kubenames.server(*other)) == (one == other)
    assert (kubenames.home(*one) == kubenames.home(*other)) == (one == other)
    assert (kubenames.home(*one[:2]) == kubenames.home(*other[:2])) == (one[:2] == other[:2])
    # a shared home is nobody's own one, whatever the server is called
    assert kubenames.home(*one[:2]) != kubenames.home(*other)


@given(TEXT, TEXT, TEXT)
def test_different_kinds_of_things_share_no_name(hub: str, one: str, other: str) -> None:
    found = [
        kubenames.server(hub, one, other), kubenames.home(hub, one, other),
        kubenames.home(hub, one), kubenames.storage(hub, one),
    ]  # fmt: skip
    assert len(set(found)) == len(found)


@given(TEXT, TEXT)
def test_two_people_share_no_folder(one: str, other: str) -> None:
    assert (kubenames.folder(one) == kubenames.folder(other)) == (one == other)
    assert re.fullmatch(r"[a-z0-9-]{1,63}", kubenames.folder(one))


def test_names_are_readable() -> None:
    assert kubenames.server("h", "Ada Lovelace", "gpu").startswith("nb-ada-lovelace-gpu-")
    assert kubenames.folder("ada") == "ada"
    assert kubenames.folder("Ada").startswith("ada--")


def test_a_kind_that_cannot_begin_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot begin"):
        kubenames.unique_name("9-", "x", readable="x")
