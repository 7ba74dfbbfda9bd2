"""What messages and pages tell one to type is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from nablahub.cli import main

ROOT = Path(__file__).resolve().parents[2]
PLACES = {
    "extensions": (".py", ".yaml", ".html"),
    "spawner": (".py", ".html"),
    "hub_config": (".py", ".html"),
    "server_ext": (".py",),
    "labextension/src": (".ts", ".tsx"),
    "docs": (".md",),
}
#: The concept that CONTRIBUTING makes up, and a name that is no command.
INVENTED = ("notes", "command line")
WORDS = re.compile(r"[`'\"$(>]nablahub((?: [a-z][a-z-]+)+)")


def told() -> Iterator[tuple[str, list[str]]]:
    """Yield each place with the words that stand behind ``nablahub`` there."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for folder, suffixes in PLACES.items():
        files += [p for p in (ROOT / folder).rglob("*") if p.suffix in suffixes]
    for path in sorted(files):
        if {"_build", "node_modules", "__pycache__"} & set(path.parts):
            continue
        text = path.read_text()
        shell = "\n".join(re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.M | re.S))
        lines = re.findall(r"^nablahub((?: [a-z][a-z-]+)+)", shell, re.M)
        for words in [*WORDS.findall(text), *lines]:
            if not words.strip().startswith(INVENTED):
                yield path.relative_to(ROOT).as_posix(), words.split()


def missing(words: list[str]) -> str | None:
    """Return the first word that no command answers to."""
    command: click.Command = main
    context = click.Context(main, info_name="nablahub")
    for word in words:
        if not isinstance(command, click.Group):
            return None  # its arguments
        found = command.get_command(context, word)
        if found is None:
            return word
        command, context = found, click.Context(found, info_name=word, parent=context)
    return None


def test_every_command_that_is_told_exists() -> None:
    places = list(told())
    assert len(places) > 60
    assert [f"{path}: nablahub {' '.join(w)}" for path, w in places if missing(w)] == []
