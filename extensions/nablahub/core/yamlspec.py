"""The one YAML loader: documents whose every part remembers its line and column.

`load` turns text into plain Python (dicts with string keys, lists, scalars) and keeps where each
part stood; :mod:`nablahub.core.specmodel` checks such a document and says what is wrong where.

YAML 1.2 is read: ``on`` and ``yes`` are words, not booleans.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import Event
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from nablahub.core.errors import Fault, Malformed

# A spec is written by hand; these bound what a hostile one (aliases of aliases) can cost.
MAX_CHARACTERS = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 60
TOO_MANY = f"The document has more than {MAX_NODES} parts, aliases counted."
TOO_DEEP = f"The document is nested deeper than {MAX_DEPTH} levels."

Path = tuple[str | int, ...]


class Position(NamedTuple):
    """A place in a text, both counted from 1."""

    line: int
    column: int


class Marks(NamedTuple):
    """Where an entry's key (or list item) and its value stand."""

    key: Position
    value: Position


class SourceInt(int):
    """An integer that remembers how it was written, since ``007`` may be meant as text."""

    source: str


class SourceFloat(float):
    """A float that remembers how it was written: ``1.10`` as text is not ``1.1``."""

    source: str


class MalformedSpec(Malformed):
    """The text is no YAML that a spec can be made of."""

    code = "malformed_spec"


@dataclass(frozen=True)
class Document:
    """Plain data and the place of each of its parts.

    Parameters
    ----------
    data
        Dicts with string keys, lists, str, int, float, bool, None.
    marks
        Place of each part by its path; empty where the document came as JSON.
    """

    data: Any
    marks: Mapping[Path, Marks] = field(default_factory=dict)

    def position(self, path: Path, *, key: bool = False) -> Position | None:
        """Return where `path` (or its key) stands, else its nearest ancestor that exists."""
        while path and path not in self.marks:
            path = path[:-1]
        marks = self.marks.get(path)
        if marks is None:
            return None
        return marks.key if key else marks.value

    def fault(self, path: Path, message: str, *, hint: str = "", key: bool = False) -> Fault:
        """Return a fault that names the place of `path` (its key's where `key`)."""
        place = self.position(path, key=key)
        return Fault(
            message,
            pointer=pointer(path),
            line=place.line if place else None,
            column=place.column if place else None,
            hint=hint,
        )


class LaterMarks(Mapping[Path, Marks]):
    """The places of a text that was sound before: read only when somebody asks for one.

    Parameters
    ----------
    text
        What :func:`load` has read without complaint.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    @functools.cached_property
    def _marks(self) -> Mapping[Path, Marks]:
        return load(self._text).marks

    def __getitem__(self, path: Path) -> Marks:
        return self._marks[path]

    def __iter__(self) -> Iterator[Path]:
        return iter(self._marks)

    def __len__(self) -> int:
        return len(self._marks)


def pointer(path: Path) -> str:
    """Return the JSON pointer (RFC 6901) of `path`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def load(text: str) -> Document:
    """Parse YAML (or JSON, its subset) text.

    Raises
    ------
    MalformedSpec
        With line, column and a hint: no YAML, a key given twice, a tag, too large, nested too deep.
    """
    if len(text) > MAX_CHARACTERS:
        raise MalformedSpec(
            f"The text has {len(text)} characters; a spec may have at most {MAX_CHARACTERS}.",
            hint="Keep data and long programs in files and datasets, not in the spec.",
        )
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Composer
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        raise _malformed(error) from None
    except YAMLError as error:
        raise MalformedSpec(f"This is not YAML: {_first_line(str(error))}.") from None
    except RecursionError:
        raise MalformedSpec("The document is nested too deep to be read.") from None
    if node is None:
        raise MalformedSpec("The document is empty.", hint="Write the spec's keys into it.")
    builder = _Builder(yaml)
    return Document(builder.build(node, (), 0), builder.marks)


def document(source: str | Mapping[str, Any]) -> Document:
    """Return the document of YAML text, or of a spec that came as JSON (without places)."""
    if isinstance(source, str):
        return load(source)
    stack: list[tuple[Any, int]] = [(source, 0)]
    seen = 0
    while stack:
        item, depth = stack.pop()
        seen += 1
        if seen > MAX_NODES:
            raise MalformedSpec(TOO_MANY)
        if depth > MAX_DEPTH:
            raise MalformedSpec(TOO_DEEP)
        if isinstance(item, Mapping):
            stack.extend((inner, depth + 1) for inner in item.values())
        elif isinstance(item, list):
            stack.extend((inner, depth + 1) for inner in item)
    return Document(dict(source))


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "unreadable text"


def _malformed(error: MarkedYAMLError) -> MalformedSpec:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    column = mark.column + 1 if mark else None
    problem = (error.problem or error.context or "unreadable text").strip()
    place = f" at line {line}, column {column}" if mark else ""
    hint = _syntax_hint(problem, error)
    return MalformedSpec(
        f"The YAML can't be read{place}: {problem}.",
        hint=hint,
        errors=[Fault(problem, line=line, column=column, hint=hint)],
    )


def _syntax_hint(problem: str, error: MarkedYAMLError) -> str:
    if "'\\t'" in problem or "tab" in problem:
        return "Indent with spaces; YAML takes no tabs."
    if "block end" in problem or "block mapping" in problem:
        mark = error.context_mark
        where = f" (it began at line {mark.line + 1})" if mark else ""
        return f"Check the indentation here: it fits no level of the block around it{where}."
    if "mapping values are not allowed" in problem:
        return "Quote a value that contains ': ', and check the indentation of this line."
    if "could not find expected ':'" in problem:
        return "A key needs ': ' and its value; a text over many lines needs '|-' before it."
    if "found character" in problem:
        return "Quote a value that begins with a special character."
    return "Check quotes, brackets and indentation around this place."


class _Composer(Composer):
    """Stops where a limit is passed: what comes behind it is not even scanned."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False
        self._nodes = 0
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _at(self.parser.peek_event(), TOO_MANY)
        if self._depth > MAX_DEPTH:
            raise _at(self.parser.peek_event(), TOO_DEEP)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    """Makes plain data of composed nodes, noting where each stood."""

    def __init__(self, yaml: YAML) -> None:
        self.marks: dict[Path, Marks] = {}
        self._construct = yaml.constructor.construct_object
        self._nodes = 0
        self._open: set[int] = set()

    def build(self, node: Node, path: Path, depth: int, key: Node | None = None) -> Any:
        value_at = _position(node)
        self.marks[path] = Marks(_position(key) if key is not None else value_at, value_at)
        self._count(node)
        if depth > MAX_DEPTH or id(node) in self._open:
            raise _at(node, TOO_DEEP)
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                _plain(node, "tag:yaml.org,2002:seq")
                return [self.build(n, (*path, i), depth + 1) for i, n in enumerate(node.value)]
            assert isinstance(node, MappingNode)
            _plain(node, "tag:yaml.org,2002:map")
            return self._mapping(node, path, depth)
        finally:
            self._open.discard(id(node))

    def _count(self, node: Node) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _at(node, TOO_MANY)

    def _mapping(self, node: MappingNode, path: Path, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, value, merged in self._entries(node, frozenset()):
            if not isinstance(key, ScalarNode):
                raise _at(key, "A key must be a plain word.", "Write keys as `name: value`.")
            name = _text(key)
            if name in data:
                if merged:
                    self._count(key)
                    continue
                raise _at(
                    key,
                    f"The key '{name}' stands here a second time (first at line {first[name]}).",
                    "Keep one of the two.",
                )
            first[name] = key.start_mark.line + 1
            data[name] = self.build(value, (*path, name), depth + 1, key)
        return data

    def _entries(
        self, node: MappingNode, seen: frozenset[int]
    ) -> Iterator[tuple[Node, Node, bool]]:
        """Yield the entries of a mapping: its own, then those that ``<<`` merges in."""
        if id(node) in seen:
            raise _at(node, "A mapping can't be merged into itself.")
        if len(seen) > MAX_DEPTH:
            raise _at(node, TOO_DEEP)
        merges: list[Node] = []
        for key, value in node.value:
            if str(key.tag).endswith(":merge"):
                merges += value.value if isinstance(value, SequenceNode) else [value]
            else:
                yield key, value, False
        for source in merges:
            if not isinstance(source, MappingNode):
                raise _at(source, "'<<' can only merge mappings.", "Give it an alias of a mapping.")
            # A merge of merges of nothing costs time too.
            self._count(source)
            for key, value, _ in self._entries(source, seen | {id(node)}):
                yield key, value, True

    def _scalar(self, node: ScalarNode) -> Any:
        kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
        text = _text(node)
        if kind == "null":
            return None
        if kind in ("bool", "int", "float"):
            try:
                value = self._construct(node)
            except (ValueError, KeyError):
                raise _at(
                    node, f"'{text}' can't be read as a {kind}.", "Quote it to mean text."
                ) from None
            return value if kind == "bool" else _sourced(value, text)
        if kind in ("str", "timestamp"):
            return text
        raise _at(node, f"The tag {node.tag} is not supported.", "Remove the tag.")


def _sourced(value: float, text: str) -> float:
    sourced: SourceInt | SourceFloat
    sourced = SourceInt(value) if isinstance(value, int) else SourceFloat(value)
    sourced.source = text
    return sourced


def _plain(node: Node, tag: str) -> None:
    if str(node.tag) != tag:
        raise _at(node, f"The tag {node.tag} is not supported.", "Remove the tag.")


def _text(node: ScalarNode) -> str:
    text = str(node.value)
    # UTF-8, and so no answer of ours, can hold what the escape "\ud800" says.
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise _at(node, "The text holds half a character (a lone surrogate).",
                  "Write the character itself.")  # fmt: skip
    return text


def _position(node: Node | Event) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _at(node: Node | Event, message: str, hint: str = "") -> MalformedSpec:
    line, column = _position(node)
    return MalformedSpec(
        f"Line {line}, column {column}: {message}",
        hint=hint,
        errors=[Fault(message, line=line, column=column, hint=hint)],
    )
