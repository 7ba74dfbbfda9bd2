"""The command line, ``nablahub NOUN VERB``: put together from what extensions declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import get_completion_class

from nablahub.core import console
from nablahub.core.errors import NablaError
from nablahub.core.extension import Extension, discover, load


class Assembled(click.Group):
    """A group whose commands are loaded when they are used, not when they are listed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._extensions: list[Extension] | None = None

    def _known(self) -> dict[str, tuple[str, str]]:
        if self._extensions is None:
            self._extensions = discover()
        return {
            word: (place, extension.help.get(word, ""))
            for extension in self._extensions
            for word, place in extension.commands.items()
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all words."""
        return sorted({*super().list_commands(ctx), *self._words()})

    def _words(self) -> dict[str, tuple[str, str]]:
        return {word: known for word, known in self._known().items() if " " not in word}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command of a word."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in self._known():
            return own
        command = _loaded(self._known()[cmd_name][0], cmd_name)
        others = {
            words.removeprefix(f"{cmd_name} "): place
            for words, (place, _) in self._known().items()
            if words.startswith(f"{cmd_name} ")
        }
        return Joined(command, others) if others and isinstance(command, click.Group) else command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List words and what they are for, loading none of them."""
        rows = [(word, text) for word, (_, text) in sorted(self._words().items())]
        rows += [
            (word, command.get_short_help_str(60))
            for word, command in sorted(self.commands.items())
        ]
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))


class Joined(click.Group):
    """A group with commands of other extensions, each of which is loaded when it is used.

    Parameters
    ----------
    own : click.Group
        The group as it was declared.
    others : mapping of str to str
        Word → ``"package.module:command"``.
    """

    def __init__(self, own: click.Group, others: Mapping[str, str]) -> None:
        super().__init__(
            own.name, own.commands, callback=own.callback, params=own.params, help=own.help,
            epilog=own.epilog, context_settings=own.context_settings,
            invoke_without_command=own.invoke_without_command,
        )  # fmt: skip
        self._others = others

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all words."""
        return sorted({*super().list_commands(ctx), *self._others})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command of a word."""
        if cmd_name in self._others:
            return _loaded(self._others[cmd_name], cmd_name)
        return super().get_command(ctx, cmd_name)


def _loaded(place: str, word: str) -> click.Command:
    try:
        command: click.Command = load(place)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("nablahub"):
            raise
        return _not_installed(word, error)
    return command


def _not_installed(word: str, error: ModuleNotFoundError) -> click.Command:
    """Return a command that says which extra is missing: the base install is the client alone."""

    @click.command(word, context_settings={"ignore_unknown_options": True})
    @click.argument("rest", nargs=-1)
    @console.guarded
    def missing(rest: tuple[str, ...]) -> None:
        raise NotInstalled(
            f"`nablahub {word}` needs the package {error.name!r}, which is not installed here.",
            hint="Install NablaHub with its extra: pip install 'nablahub[hub]'.",
        )

    return missing


class NotInstalled(NablaError):
    """The command belongs to an extra that is not installed."""

    code = "not_installed"
    title = "Not installed"


@click.group(cls=Assembled, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nablahub", prog_name="nablahub")
def main() -> None:
    """NablaHub: projects, data, workflows, models and deployments on a JupyterHub."""


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(nablahub completion bash)"."""
    from_click = get_completion_class(shell)
    if from_click is None:
        raise click.UsageError(f"No completion for {shell}.")
    click.echo(from_click(main, {}, "nablahub", "_NABLAHUB_COMPLETE").source())
