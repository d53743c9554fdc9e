"""The command line: `fog` and its commands.

Each command reads its arguments, asks the running node over the control socket (or works on files alone),
and prints. No rule of the network lives here. Global options may stand anywhere before `--`; what stands
after `--` is for the program that `fog run` or `fog map` sends away, and is never looked at.

    a node        setup  running  runtime
    work          jobs  submit  statuses  screen
    what it has   wallet  stake  escrow  identity  fleet  harvest  blob
    checking      archive  proof  witness  simulate
    for all       session (what every command needs)  report (errors)
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fog.cli import (
    archive,
    blob,
    escrow,
    fleet,
    harvest,
    identity,
    jobs,
    proof,
    running,
    runtime,
    setup,
    simulate,
    stake,
    submit,
    wallet,
    witness,
)
from fog.cli.report import first_known, report, was_interrupted
from fog.cli.session import Session, examples
from fog.exits import Exit
from fog.paths import DataDir
from ledger.errors import FogError, UsageError

GLOBAL_FLAGS = ("--json", "--verbose")
GLOBAL_VALUES = ("--data-dir", "--config")
TAKE_PROGRAM_ARGS = ("run", "map")

app = typer.Typer(
    name="fog",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog=examples("fog init", "fog node", "fog run examples/hello.c", "fog status --json"),
)
for group in (
    setup,
    running,
    harvest,
    fleet,
    jobs,
    submit,
    blob,
    runtime,
    wallet,
    stake,
    escrow,
    identity,
    archive,
    proof,
    witness,
    simulate,
):
    group.add_to(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(version("fog") + "\n")
        raise typer.Exit


@app.callback()
def _everything(
    context: typer.Context,
    data_dir: Annotated[
        Path | None, typer.Option(help="Directory of the node (else FOG_DATA_DIR, else XDG).")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (else fog.toml there).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say more: causes, debug log.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Lend the hours your computer sleeps through. Run jobs on other people's, and check every credit."""
    program_args: list[str] = context.obj or []
    if program_args and context.invoked_subcommand not in TAKE_PROGRAM_ARGS:
        raise UsageError(
            f"`fog {context.invoked_subcommand}` takes nothing after --",
            next_step=f"fog {context.invoked_subcommand} --help",
        )
    context.obj = Session(DataDir.find(data_dir, os.environ), config, json, verbose, program_args)


def main() -> NoReturn:
    """What the shell starts."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code (`fog.exits.Exit`)."""
    ours, program_args = _split(list(argv))
    ours = _hoist(ours)
    try:
        if not __debug__:
            raise UsageError(
                "fog does not run under python -O: its assertions guard the ledger",
                next_step="run it without -O, and unset PYTHONOPTIMIZE",
            )
        return app(ours, prog_name="fog", standalone_mode=False, obj=program_args) or 0
    except FogError as error:
        return _report(error, ours)
    except typer.TyperException as error:
        return _report(UsageError(error.format_message(), next_step=_help_for(ours)), ours)
    except OSError as error:
        return _report(_of_the_system(error), ours)
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except BaseExceptionGroup as group:
        if was_interrupted(group):
            return Exit.INTERRUPTED
        if (known := first_known(group)) is None:
            raise
        return _report(known, ours)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is ours, and what is for the program."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _hoist(arguments: list[str]) -> list[str]:
    """Global options first, wherever they were typed: `fog status --json` is `fog --json status`."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in GLOBAL_FLAGS or word.startswith(tuple(f"{name}=" for name in GLOBAL_VALUES)):
            front.append(word)
        elif word in GLOBAL_VALUES:
            front += [word, *[value for value in [next(words, None)] if value is not None]]
        else:
            rest.append(word)
    return front + rest


def _help_for(arguments: list[str]) -> str:
    """The `--help` nearest to what was typed."""
    words: list[str] = []
    group = typer.main.get_command(app)
    for word in arguments:
        commands = getattr(group, "commands", {})
        if word in commands:
            group = commands[word]
            words.append(word)
    return " ".join(("fog", *words, "--help"))


def _of_the_system(error: OSError) -> FogError:
    """A file that is missing, forbidden or does not fit: yours to mend, not a fault of the program."""
    if error.errno == errno.ENOSPC:
        return FogError(
            f"the disk is full: {error}", code="store_full", next_step="make room, then try again"
        )
    return UsageError(str(error), code="file", next_step="check that the path is right and yours")


def _report(error: FogError, arguments: list[str]) -> int:
    return report(error, as_json="--json" in arguments, verbose="--verbose" in arguments)
