"""The `isogloss` command: global options and the table of commands.

`isogloss --help` has to answer at once, so this module imports click alone: a command's module is
imported when the command is used, and what the help says about each stands in the table.
"""

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import click

from .errors import INTERRUPTED, PIPE_CLOSED, exit_code, quiet_streams, report
from .options import Folder, Settings, text_option


class Entry(NamedTuple):
    """One line of the help: a command, the module of this room it lives in, and what it does."""

    name: str
    module: str
    help: str


COMMANDS: Final = (
    Entry("init", "catalogue", "Make a new, empty catalogue."),
    Entry("add", "catalogue", "Put an adapter from a PEFT folder or a hub into the catalogue."),
    Entry("find", "catalogue", "List the adapters that fit a query."),
    Entry("show", "catalogue", "Show all that is known about one adapter."),
    Entry("related", "related", "Show which languages are close to one, and by which evidence."),
    Entry("explain", "explanation", "Say what an expression means, without composing it."),
    Entry(
        "functions",
        "explanation",
        "List the functions that expressions can call, and what holds for which PEFT type.",
    ),
    Entry("recipe", "recipe", "Look after named expressions."),
    Entry("compose", "composition", "Make a new adapter from an expression."),
    Entry("verify", "composition", "Prove that an adapter is what it claims to be."),
    Entry("diff", "difference", "Show how two adapters differ."),
    Entry("lineage", "lineage", "Show what an adapter was made of, to the last generation."),
    Entry("withdraw", "lineage", "Mark a version as one that should no longer be used."),
    Entry("outdated", "lineage", "List the compositions that would come out differently today."),
    Entry("train", "train", "Train language and task vectors, and catalogue them."),
    Entry("generate", "generate", "Write what follows each prompt, with an adapter on its base."),
    Entry("evaluate", "evaluate", "Score an adapter, or an expression, on labelled data."),
    Entry("tune", "tune", "Choose the parameters of an expression on validation data."),
    Entry("export", "export", "Write a model with an adapter merged into the base's own weights."),
    Entry("publish", "remote", "Publish an adapter to the Hugging Face Hub, or to your own."),
    Entry(
        "pull",
        "remote",
        "Put an adapter from the Hugging Face Hub, or your own, into the catalogue.",
    ),
    Entry("import", "importing", "Catalogue a hub's adapters by their metadata alone."),
    Entry(
        "reproduce",
        "reproduce",
        "Run the paper's tables, its Figure 2, and the controls that it lacks.",
    ),
    Entry("serve", "serve", "Serve the catalogue as a hub that other programs use."),
    Entry("fsck", "storage", "Check that the catalogue and the stored weights agree."),
    Entry("gc", "storage", "Remove weights that no version refers to."),
    Entry("db", "database", "Look after the tables of the catalogue's database."),
)

EPILOG: Final = """\
\b
Example, from two adapters on disk to a third:
  isogloss init
  isogloss add ./xlsum-en --kind task --task xlsum --language en
  isogloss add ./text-yo --kind lm --language yo
  isogloss compose '0.6*task[en] + 0.4*lm[yo]' --output ./xlsum-yo

\b
Exit codes:
  0  done; finding nothing is an answer too
  1  a mistake in an expression, a folder or a value
  2  a mistake in the command line
  3  not found
  4  refused: adapters that do not fit together, or pickled weights
  5  a remote service failed
  6  damaged: something is not what its digest says
"""


class CommandTable(click.Group):
    """A click group that has its commands from `COMMANDS` and imports a module when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order of the table."""
        return [entry.name for entry in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command, or None if there is none."""
        for entry in COMMANDS:
            if entry.name == cmd_name:
                module = import_module(f".{entry.module}", __package__)
                command: click.Command = getattr(module, _function(entry.name))
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant, or fail with the nearest name."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see the list in 'isogloss --help'."
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table into the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(entry.name, entry.help) for entry in COMMANDS])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error that a user can cause becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            report("interrupted")
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            quiet_streams(sys.stdout, sys.stderr)
            ctx.exit(PIPE_CLOSED)
        except Exception as error:
            code = exit_code(error)
            if code is None:
                raise
            report(str(error))
            ctx.exit(code)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run as click does, with the messages of click in the form of all other messages."""
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            if not standalone_mode:
                raise
            fail_usage(error)
        except click.Abort:
            sys.exit(INTERRUPTED)
        if standalone_mode:
            sys.exit(result)
        return result


def _function(command: str) -> str:
    """The name of the function that is a command: a word of Python gets an underscore."""
    return f"{command}_" if iskeyword(command) else command


def fail_usage(error: click.ClickException) -> NoReturn:
    """Print how the command is used and what was wrong with its use, and exit with 2."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        sys.exit(error.exit_code)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        click.echo(f"Try '{error.ctx.command_path} --help' for help.\n", err=True)
    report(error.format_message())
    sys.exit(error.exit_code)


@click.group(
    "isogloss", cls=CommandTable, epilog=EPILOG, context_settings={"max_content_width": 100}
)
@click.option(
    "--home",
    type=Folder(file_okay=False),
    envvar="ISOGLOSS_HOME",
    show_envvar=True,
    help="Folder of the catalogue and the weights.  [default: the platform's folder for data]",
)
@text_option(
    "--database",
    metavar="URL",
    envvar="ISOGLOSS_DATABASE_URL",
    show_envvar=True,
    help="SQLAlchemy URL of the catalogue.  [default: sqlite, in the home folder]",
)
@click.version_option(package_name="isogloss", prog_name="isogloss", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context, home: Path | None, database: str | None) -> None:
    """Catalogue PEFT adapters, compose new ones by an expression, and prove what they are made of.

    An expression is arithmetic on adapters, chosen by kind and language:
    task[en] + 0.4*(lm[pt] - lm[en]).
    """
    ctx.obj = Settings(home, database)
