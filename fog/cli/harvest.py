"""`fog harvest`: whether this machine works for others now and why, the log of that, a pause and its end."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from domain.harvest.policy import FOR_GOOD
from fog.cli.session import Session, examples, session_of
from fog.harvest_methods import HarvestEntries, HarvestLog, HarvestPause, HarvestState
from fog.methods import Nothing
from fog.quantities import duration_from, moment_text

harvest = typer.Typer(
    help="When this machine works for others, and why it does or does not now.",
    invoke_without_command=True,
    epilog=examples("fog harvest", "fog harvest pause 2h", "fog harvest log"),
)

WORDS = {"run": "working", "suspend": "suspended", "evict": "not working"}


def add_to(app: typer.Typer) -> None:
    app.add_typer(harvest, name="harvest")
    harvest.callback()(show)
    harvest.command(epilog=examples("fog harvest log", "fog harvest log --limit 500 --json"))(log)
    harvest.command(epilog=examples("fog harvest pause 2h", "fog harvest pause"))(pause)
    harvest.command(epilog=examples("fog harvest resume"))(resume)


def show(context: typer.Context) -> None:
    """What it is doing now and why, and what is known of the machine."""
    if context.invoked_subcommand is not None:
        return
    session = session_of(context)
    state = session.ask_quietly(HarvestState, "harvest.show", Nothing(), "asking the node")
    _say(session, state)


def log(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the last changes.")] = 50,
) -> None:
    """Every change from working to not, with its reason; kept across restarts, the last thousand."""
    session = session_of(context)
    found = session.ask_quietly(HarvestEntries, "harvest.log", HarvestLog(limit=limit), "asking the node")
    table = Table("since", "", "why", box=None)
    for entry in found.entries:
        table.add_row(moment_text(entry.at), WORDS[entry.action], entry.sentence.partition(": ")[2])
    session.say(found, table if found.entries else "No changes yet.")


def pause(
    context: typer.Context,
    duration: Annotated[str | None, typer.Argument(help="Like 90s, 30m or 2h; else until `resume`.")] = None,
) -> None:
    """Stop at once, whatever the machine is like. What would wait too long is given back."""
    session = session_of(context)
    params = HarvestPause(for_ms=None if duration is None else max(1, duration_from(duration)))
    state = session.ask_quietly(HarvestState, "harvest.pause", params, "stopping the work")
    _say(session, state)


def resume(context: typer.Context) -> None:
    """End a pause. Work goes on when nothing else is in the way."""
    session = session_of(context)
    state = session.ask_quietly(HarvestState, "harvest.resume", Nothing(), "asking the node")
    _say(session, state)


def _say(session: Session, state: HarvestState) -> None:
    table = Table(show_header=False, box=None)
    if state.action != "run" and state.remedy:
        table.add_row("what to do", state.remedy)
    if state.paused:
        until = "until `fog harvest resume`" if state.paused == FOR_GOOD else moment_text(state.paused)
        table.add_row("paused until" if state.paused != FOR_GOOD else "paused", until)
    table.add_row("limits of", state.profile or "none: the machine is not watched (harvest.enabled)")
    for name, value in state.readings.items():
        table.add_row(name, str(value).lower() if isinstance(value, bool) else f"{value}")
    if state.profile and state.unknown:
        table.add_row("unknown", ", ".join(state.unknown))
    for name, why in state.failures.items():
        table.add_row(f"not told by {name}", why)
    session.say(state, state.sentence, table)
