"""Whatever the text, it is read or refused in words with a place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from nablahub.core.specmodel import Text, closest, did_you_mean, read
from nablahub.core.yamlspec import MAX_CHARACTERS, MalformedSpec, load, pointer
from nablahub.core.yamlspec import document as read_document

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="ascii"), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.text(alphabet=" \t\n-:{}[]&*!|>'\"%@`#,?ab1.<", max_size=60))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    refused: MalformedSpec | None = None
    try:
        load(text)
    except MalformedSpec as error:
        refused = error
    if refused is not None:
        assert refused.detail
        assert all(fault.line is None or fault.line >= 1 for fault in refused.errors)


@given(st.dictionaries(st.text(st.characters(codec="ascii"), max_size=8), PLAIN, max_size=4))
def test_json_is_yaml(data: dict[str, Any]) -> None:
    assert load(json.dumps(data)).data == data


def test_every_part_knows_its_place() -> None:
    document = load("a: 1\nb:\n  - x\n  - c: [y,  z]\n")
    places = {pointer(path): (m.key, m.value) for path, m in document.marks.items()}
    assert places["/b"] == ((2, 1), (3, 3))
    assert places["/b/1/c/1"][1] == (4, 13)
    assert document.position(("b", 1, "c", 7)) == (4, 8)


def test_what_was_written_is_kept_where_text_is_meant() -> None:
    class Model(BaseModel):
        model_config = ConfigDict(extra="forbid")
        values: dict[str, Text]

    document = load("values: {a: 1.10, b: 007, c: yes, d: true, e: 2021-01-01, f: 1e3, g: 0x1F}")
    model, faults = read(document, Model)
    assert faults == []
    assert model is not None
    assert model.values == {
        "a": "1.10", "b": "007", "c": "yes", "d": "true", "e": "2021-01-01", "f": "1e3",
        "g": "0x1F",
    }  # fmt: skip


def test_too_much_is_refused() -> None:
    with pytest.raises(MalformedSpec, match="at most"):
        load("x" * (MAX_CHARACTERS + 1))
    with pytest.raises(MalformedSpec, match="empty"):
        load("# nothing\n")


def test_the_nearest_word_is_found() -> None:
    assert closest("CLONErepo", ["CloneRepo", "train"]) == "CloneRepo"
    assert closest("zzz", ["CloneRepo"]) is None
    assert did_you_mean("zzz", ["b", "a"]) == "There are: a, b."
    assert did_you_mean("zzz", []) == ""


def test_what_lies_beyond_a_limit_is_not_read() -> None:
    # Behind the limit stands what is no YAML: told of it is only who reads on.
    with pytest.raises(MalformedSpec, match="deeper than 60") as caught:
        load("[" * 2000 + "}")
    assert (caught.value.errors[0].line, caught.value.errors[0].column) == (1, 62)
    with pytest.raises(MalformedSpec, match="more than 50000 parts"):
        load("a: [" + "1, " * 60_000 + "} @")
    deep: dict[str, Any] = {}
    for _ in range(80):
        deep = {"a": deep}
    with pytest.raises(MalformedSpec, match="deeper than 60"):
        read_document(deep)


def test_merges_of_merges_count() -> None:
    lines = ["m0: &m0 {}"]
    lines += [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    with pytest.raises(MalformedSpec, match="more than 50000 parts"):
        load("\n".join(lines))
    chain = ["m0: &m0 {a: 1}"] + [f"m{n}: &m{n} {{<<: *m{n - 1}}}" for n in range(1, 90)]
    with pytest.raises(MalformedSpec, match="deeper than 60"):
        load("\n".join(chain))


@pytest.mark.parametrize("text", [r'a: "\ud800"', r'"\udfff": 1', r'- "x\uDC00"'])
def test_half_a_character_is_refused(text: str) -> None:
    with pytest.raises(MalformedSpec, match="half a character") as caught:
        load(text)
    assert caught.value.errors[0].line == 1
