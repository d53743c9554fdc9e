"""One run of a command: where the node is, how to speak to it, and how to speak to the person.

Results go to standard output; progress, remarks and errors go to standard error, so output can be piped.
With `--json` the result is one line of JSON and there is no progress.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import typer
from rich.console import Console, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fog import config, control, methods
from fog.config import Configuration
from fog.methods import Message
from fog.paths import DataDir
from ledger.errors import UsageError

PASSPHRASE_VARIABLE = "FOG_PASSPHRASE"

T = TypeVar("T", bound=Message)


@dataclass
class Session:
    """What the global options said. `program_args` is everything after `--` on the command line."""

    home: DataDir
    config_given: Path | None
    json: bool
    verbose: bool
    program_args: list[str]
    out: Console = field(default_factory=lambda: Console(highlight=False))
    err: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    def configuration(self) -> Configuration:
        path, must_exist = config.config_path(self.config_given, self.home.config, os.environ)
        return config.load(path, os.environ, must_exist=must_exist)

    def ask(
        self, reply: type[T], method: str, params: Message, on_progress: Callable[[dict[str, Any]], None]
    ) -> T:
        """Ask the running node. Raises NodeDown, or whatever the node answered."""
        answer = control.call(self.home.control, method, methods.plain(params), on_progress)
        return methods.shape(reply, answer)

    def ask_quietly(self, reply: type[T], method: str, params: Message, doing: str) -> T:
        """`ask` with a spinner that says what is being waited for."""
        with self.spinner(doing):
            return self.ask(reply, method, params, lambda progress: None)

    def say(self, result: Message | dict[str, Any], *human: RenderableType) -> None:
        """The result: JSON if that was asked for, else `human`."""
        if self.json:
            sys.stdout.write(json.dumps(msgspec.to_builtins(result), ensure_ascii=False) + "\n")
            return
        for part in human:
            self.out.print(part, markup=False, soft_wrap=True)

    def remark(self, text: str) -> None:
        """For people, beside the result."""
        if not self.json:
            self.err.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def spinner(self, doing: str) -> Iterator[None]:
        with self.progress(TextColumn("{task.description}")) as progress:
            progress.add_task(doing, total=None)
            yield

    def progress(self, *columns: Any) -> Progress:
        """A rich progress display on standard error; silent with `--json` or when nobody watches."""
        quiet = self.json or not self.err.is_terminal
        return Progress(
            SpinnerColumn(), *columns, TimeElapsedColumn(), console=self.err, transient=True, disable=quiet
        )

    def new_passphrase(self, *, wanted: bool) -> str | None:
        """From FOG_PASSPHRASE, else typed twice. Never from the command line, which others can see."""
        given = os.environ.get(PASSPHRASE_VARIABLE)
        if given or not wanted:
            return given or None
        typed: str = typer.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True)
        return typed

    def known_passphrase(self) -> str:
        """The passphrase of a key that has one. Raises UsageError when there is nobody to ask."""
        given = os.environ.get(PASSPHRASE_VARIABLE)
        if given:
            return given
        if not sys.stdin.isatty():
            raise UsageError(
                f"{self.home.key} is under a passphrase",
                code="passphrase_needed",
                next_step=f"set {PASSPHRASE_VARIABLE}, or start it in a terminal",
            )
        typed: str = typer.prompt("passphrase", hide_input=True, err=True)
        return typed


def session_of(context: typer.Context) -> Session:
    session = context.find_object(Session)
    assert session is not None, "a command ran without the global options"
    return session


def examples(*lines: str) -> str:
    """The end of a command's `--help`. Every command has one; a test looks."""
    return "\n\n".join(("Examples:", *lines))
