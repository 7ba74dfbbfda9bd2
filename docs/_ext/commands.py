"""The reference of the command line, from click's own objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from docs._ext import markdown as md
from nablahub.cli import main


def reference() -> str:
    """Return a section for each command."""
    root = click.Context(main, info_name="nablahub", max_content_width=88)
    parts: list[str] = []
    for depth, context in _walk(root, 0):
        command = context.command
        if depth == 0:
            continue
        parts += [
            f"{'#' * (depth + 1)} {context.command_path}",
            md.prose(command.help),
            _usage(context) if not isinstance(command, click.Group) else "",
            _parameters(context),
        ]
    return md.sections(*parts)


def names() -> list[str]:
    """Return every command that can be typed, such as ``nablahub projects create``."""
    root = click.Context(main, info_name="nablahub")
    return [
        context.command_path
        for _, context in _walk(root, 0)
        if not isinstance(context.command, click.Group)
    ]


def _walk(context: click.Context, depth: int) -> Iterator[tuple[int, click.Context]]:
    yield depth, context
    group = context.command
    if isinstance(group, click.Group):
        for word in group.list_commands(context):
            command = group.get_command(context, word)
            assert command is not None, word
            yield from _walk(click.Context(command, info_name=word, parent=context), depth + 1)


def _usage(context: click.Context) -> str:
    pieces = context.command.collect_usage_pieces(context)
    return md.block(" ".join([context.command_path, *pieces]))


def _parameters(context: click.Context) -> str:
    rows: list[Sequence[str]] = []
    for parameter in context.command.get_params(context):
        if not isinstance(parameter, click.Option) or parameter.hidden:
            continue
        record = parameter.get_help_record(context)
        if record is None or "--help" in parameter.opts:
            continue
        rows.append((md.code(record[0]), record[1]))
    return md.table(("option", "about"), rows)
