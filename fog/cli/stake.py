"""`fog stake`: the bond behind an account's votes: put in, taken out, looked at."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from fog.cli.session import examples, session_of
from fog.cli.wallet import account_from
from fog.methods import Nothing, Recorded
from fog.quantities import amount_from, credits_text, moment_text
from fog.stake_methods import StakeMove, StakeShow, StakeState, Wait
from ledger.errors import UsageError

stake = typer.Typer(
    help="The bond behind your votes.", no_args_is_help=True, epilog=examples("fog stake show")
)

Waiting = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is final.")]
Amount = Annotated[str, typer.Argument(help="Credits, with up to 6 decimals.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(stake, name="stake")
    stake.command(epilog=examples("fog stake show", "fog stake show --account 3f1c… --json"))(show)
    stake.command(epilog=examples("fog stake bond 5000"))(bond)
    stake.command(epilog=examples("fog stake unbond 2500.5", "fog stake unbond 5000 --no-wait"))(unbond)
    stake.command(epilog=examples("fog stake unjail"))(unjail)
    stake.command(epilog=examples("fog stake forget --i-know"))(forget)


def show(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="64 hex digits; else your own.")] = None,
) -> None:
    """What an account has at stake, what is on its way out, and with how much it votes."""
    session = session_of(context)
    params = StakeShow(account=None if account is None else account_from(account))
    held = session.ask_quietly(StakeState, "stake.show", params, "asking the node")
    table = Table(show_header=False, box=None)
    table.add_row("account", held.account)
    table.add_row("bonded", f"{credits_text(held.bonded)} credits, at height {held.height}")
    for part in held.leaving:
        table.add_row("on its way out", f"{credits_text(part.amount)} credits, free {moment_text(part.time)}")
    table.add_row("votes with", f"{credits_text(held.votes)} in epoch {held.epoch}")
    table.add_row("", f"{credits_text(held.votes_next)} in the next")
    if held.jailed:
        table.add_row("in jail", f"until {moment_text(held.jailed)}, then: fog stake unjail")
    session.say(held, table)


def bond(context: typer.Context, amount: Amount, wait: Waiting = True) -> None:
    """Put credits into your bond; they count two epochs later."""
    _move(context, "stake.bond", amount, wait, "into the bond")


def unbond(context: typer.Context, amount: Amount, wait: Waiting = True) -> None:
    """Take credits out of your bond; they are free after the network's unbonding time."""
    _move(context, "stake.unbond", amount, wait, "on their way out of the bond")


def unjail(context: typer.Context, wait: Waiting = True) -> None:
    """Be counted among validators again, once your term in jail is over."""
    session = session_of(context)
    done = session.ask_quietly(Recorded, "stake.unjail", Wait(wait=wait), "waiting for it to be final")
    session.say(done, f"{done.standing}{_at(done)}: out of jail (event {done.event})")


def forget(
    context: typer.Context,
    i_know: Annotated[bool, typer.Option("--i-know", help="You read the above, and it is so.")] = False,
) -> None:
    """Let a validator that lost its disk vote again, where nothing becomes final without it, or where too few
    others are left to say what it voted.

    It may have voted in the slots that are open now, and does not know how. If it votes there again and
    anybody still holds an earlier vote that contradicts this one, its bond is lost, and two histories may
    become final.
    So only do this when the disk is lost for good, no other copy of this node runs or will ever start again,
    and every other validator is connected (what they heard of its votes is kept to) or is lost as well.
    """
    session = session_of(context)
    if not i_know:
        raise UsageError(
            "a validator that forgets its votes may contradict them",
            code="not_confirmed",
            next_step="read `fog stake forget --help`, then add --i-know",
        )
    done = session.ask_quietly(Nothing, "stake.forget", Nothing(), "asking the node")
    session.say(done, "The validator votes on.")


def _move(context: typer.Context, method: str, amount: str, wait: bool, whither: str) -> None:
    session = session_of(context)
    micro = amount_from(amount)
    params = StakeMove(amount=micro, wait=wait)
    done = session.ask_quietly(Recorded, method, params, "waiting for it to be final")
    session.say(
        done, f"{done.standing}{_at(done)}: {credits_text(micro)} credits {whither} (event {done.event})"
    )


def _at(done: Recorded) -> str:
    return "" if done.height is None else f" at height {done.height}"
