"""`fog fleet`: the machines of one account, what each is and does and why, and what it earned."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from fog.cli.session import examples, session_of
from fog.fleet_methods import DeviceLine, FleetState
from fog.methods import Nothing
from fog.quantities import credits_text, moment_text
from ledger.errors import UsageError

MIB = 1 << 20


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog=examples("fog fleet", "fog fleet --label room=attic", "fog fleet --json"),
    )(fleet)


def fleet(
    context: typer.Context,
    label: Annotated[
        list[str] | None, typer.Option(help="Only machines with this label, `name=value`; repeatable.")
    ] = None,
) -> None:
    """Your machines: what each is, what it does now and why, and what it earned for your account."""
    session = session_of(context)
    wanted = dict(_pair(one) for one in label or [])
    state = session.ask_quietly(FleetState, "fleet.show", Nothing(), "asking your machines")
    devices = [one for one in state.devices if wanted.items() <= one.labels.items()]
    found = FleetState(account=state.account, devices=devices, time=state.time)
    table = Table("machine", "", "slots", "earned", "last day", "does", box=None)
    for one in devices:
        slots = f"{one.busy}/{one.slots}" if one.slots else "-"
        earned = credits_text(one.earned), credits_text(one.earned_day)
        table.add_row(_name(one), _kind(one), slots, *earned, _does(one))
    total = credits_text(sum(one.earned for one in devices))
    session.say(found, table, f"{len(devices)} machines, {total} credits earned")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(
            f"--label {text!r} is not of the form name=value",
            code="bad_label",
            next_step="fog fleet --label room=attic",
        )
    return name, value


def _name(one: DeviceLine) -> str:
    words = [one.name, one.device[:8]] if one.name else [one.device[:16]]
    labels = " ".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
    return " ".join([*words, *(["(here)"] if one.here else []), *([labels] if labels else [])])


def _kind(one: DeviceLine) -> str:
    if not one.reachable:
        return ""
    return f"{one.profile or one.system}, {one.cores} cores, {one.memory // MIB:,} MiB"


def _does(one: DeviceLine) -> str:
    if not one.acts:
        return "may not act for the account any more"
    if not one.reachable:
        last = f"; last paid {moment_text(one.paid)}" if one.paid else ""
        return f"not reachable from here{last}"
    return "; ".join(one.doing) if one.doing and one.action == "run" else one.why
