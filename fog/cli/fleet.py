"""`fog fleet`: the machines of one account, what each is and does and why, and what it earned."""

from __future__ import annotations

from typing import Annotated

import typer

from fog.cli.screen import fleet_table
from fog.cli.session import examples, session_of
from fog.fleet_methods import FleetState
from fog.methods import Nothing
from fog.quantities import credits_text
from ledger.errors import UsageError


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
    total = credits_text(sum(one.earned for one in devices))
    session.say(found, fleet_table(devices, kinds=True), f"{len(devices)} machines, {total} credits earned")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(
            f"--label {text!r} is not of the form name=value",
            code="bad_label",
            next_step="fog fleet --label room=attic",
        )
    return name, value
