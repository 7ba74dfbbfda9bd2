"""One validator for paths: what it lets through is the same file everywhere."""

from __future__ import annotations

import posixpath
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nablahub.datasets.errors import BadPath
from nablahub.datasets.paths import TreeRules, case_twins, check_path


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("", "is empty"),
        ("..", "leads out"),
        ("a/../b", "leads out"),
        ("../etc/passwd", "leads out"),
        ("/etc/passwd", "is absolute"),
        ("C:/windows", "is absolute"),
        ("a\\b", "backslash"),
        ("a\0b", "NUL"),
        ("a\nb", "newline"),
        ("a\rb", "carriage return"),
        ("a\x1bb", "control character"),
        ("a//b", "empty name"),
        ("a/./b", "empty name or '.'"),
        ("a/", "empty name"),
        ("%2e%2e/a", "percent-decoded"),
        ("a/%2E%2E/b", "percent-decoded"),
        ("%252e%252e/a", "percent-decoded"),
        ("a%2fb", "percent-decoded"),
        ("a%00", "percent-decoded"),
        ("a%5cb", "percent-decoded"),
        ("x" * 256, "255 bytes"),
        ("é" * 128, "255 bytes"),
        ("/".join(["x" * 200] * 11), "is the limit"),
        ("\udcff.txt", "UTF-8"),
    ],
)
def test_refused_in_a_sentence(path: str, rule: str) -> None:
    with pytest.raises(BadPath, match=rule) as caught:
        check_path(path)
    text = str(caught.value)
    assert text.isprintable()
    assert text.endswith(".")


@pytest.mark.parametrize(
    "path",
    [
        "a", "a/b.csv", "...", "..a", "a..", ".hidden", "a b/c", "100%.txt", "50%25.txt", "a:b",
        "x" * 255, "é" * 127, "日本語/ファイル.txt", "-rf", "~", "a\u2028b", "CON",
    ],
)  # fmt: skip
def test_accepted_as_it_is(path: str) -> None:
    assert check_path(path) == path


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_whatever_passes_stays_in_its_folder(path: str) -> None:
    try:
        check_path(path)
    except BadPath:
        return
    once = unquote(path)
    for form in (path, once, unquote(once)):
        joined = posixpath.normpath(posixpath.join("/root/tree", form))
        assert joined.startswith("/root/tree/")
        assert "\0" not in form
    assert posixpath.normpath(path) == path


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "", "%2e%2e", "\\", "é"]), max_size=5))
def test_segments_never_lead_out(names: list[str]) -> None:
    path = "/".join(names)
    try:
        check_path(path)
    except BadPath:
        assert not names or {"..", ".", "", "%2e%2e", "\\"} & set(names)
    else:
        assert set(names) <= {"a", "b", "é"}


def rules(*paths: str) -> None:
    checker = TreeRules()
    for path in sorted(paths, key=str.encode):
        checker.add(path)


def test_a_file_is_no_folder() -> None:
    with pytest.raises(BadPath, match="'a' is a file"):
        rules("a", "a-b", "a/b")


def test_unicode_twins_are_refused() -> None:
    composed, decomposed = "café", unicodedata.normalize("NFD", "café")
    with pytest.raises(BadPath, match="looks the same"):
        rules(composed, decomposed)
    with pytest.raises(BadPath, match="looks the same"):
        rules("K", "\u212a")  # The Kelvin sign is a K once it is normalised.
    rules(decomposed)


@pytest.mark.parametrize("other", ["x", "y", "x/z", ""])
def test_folders_that_are_unicode_twins_are_refused(other: str) -> None:
    composed, decomposed = "café", unicodedata.normalize("NFD", "café")
    for one, two in ((composed, decomposed), (decomposed, composed), ("K", "\u212a")):
        for above in ("", "a/", "ü/"):
            with pytest.raises(BadPath, match="looks the same"):
                rules(f"{above}{one}/x", f"{above}{two}/{other}".rstrip("/"))
            rules(*{f"{above}{one}/x", f"{above}{one}/y", f"{above}other/{two}"})


def test_case_twins_are_kept_and_found() -> None:
    rules("A/x", "a/x")
    assert case_twins(["A/x", "a/x"]) == ("A/x", "a/x")
    assert case_twins(["A/x", "b/x"]) is None


def test_order_and_doubles() -> None:
    checker = TreeRules()
    checker.add("b")
    with pytest.raises(BadPath, match="twice"):
        checker.add("b")
    with pytest.raises(BadPath, match="not sorted"):
        checker.add("a")
