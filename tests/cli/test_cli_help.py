"""What the help says: every command is there, explained, and shown in an example that is right."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib import import_module

import click
import pytest
from isogloss.cli.main import COMMANDS, Entry, main
from isogloss.cli.options import DTYPES, SEMANTICS
from isogloss.dsl.fields import FIELDS
from isogloss.dsl.meaning.semantics import DEFAULT_SEMANTICS
from isogloss.dsl.meaning.semantics import SEMANTICS as PLANNED


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all below it, each with how it is called."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, f"{path} {name}")


EVERYTHING = dict(walk(main, "isogloss"))


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_the_table_says_what_the_command_says(entry: Entry) -> None:
    command = EVERYTHING[f"isogloss {entry.name}"]
    assert command.get_short_help_str(limit=200) == entry.help


def test_every_command_of_the_modules_is_in_the_table() -> None:
    defined = set()
    for name in {entry.module for entry in COMMANDS}:
        module = import_module(f"isogloss.cli.{name}")
        commands = [value for value in vars(module).values() if isinstance(value, click.Command)]
        below = {
            id(child)
            for group in commands
            if isinstance(group, click.Group)
            for child in group.commands.values()
        }
        defined |= {(name, one.name) for one in commands if id(one) not in below}
    assert defined == {(entry.module, entry.name) for entry in COMMANDS}


@pytest.mark.parametrize("path", EVERYTHING)
def test_every_command_is_explained(path: str) -> None:
    command = EVERYTHING[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.help.rstrip("] ").endswith((".", "]")) or "[" in parameter.help


@pytest.mark.parametrize("path", EVERYTHING)
def test_every_example_can_be_parsed(path: str) -> None:
    command = EVERYTHING[path]
    assert command.epilog is not None
    joined = command.epilog.replace("\\\n", " ")
    examples = [line for line in joined.splitlines() if line.startswith("  isogloss ")]
    assert any(line.startswith(f"  {path} ") or line == f"  {path}" for line in examples) or (
        isinstance(command, click.Group)
    )
    for example in examples:
        parse(shlex.split(example)[1:])


def parse(arguments: list[str]) -> None:
    """Parse a command line as far as the options of the innermost command."""
    command: click.Command = main
    context = main.make_context("isogloss", arguments)
    while isinstance(command, click.Group):
        left = [*context._protected_args, *context.args]
        if not left and command.invoke_without_command:
            return
        name, found, rest = command.resolve_command(context, left)
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)


@pytest.mark.parametrize("path", EVERYTHING)
def test_no_line_of_help_is_cut_short(path: str) -> None:
    text = click.Context(EVERYTHING[path], info_name=path).get_help()
    assert "..." not in text.replace("[ARGS]...", "")


def test_find_names_every_field() -> None:
    epilog = EVERYTHING["isogloss find"].epilog
    assert epilog is not None
    named = epilog.partition("The fields are")[2].split()
    assert sorted(named) == sorted(FIELDS)


def test_choices_are_those_of_the_language() -> None:
    assert set(SEMANTICS) == set(PLANNED)
    assert SEMANTICS[0] == DEFAULT_SEMANTICS
    assert DTYPES == ("float32", "float16", "bfloat16")
