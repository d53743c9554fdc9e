"""`fog wallet`: what an account holds, and payments."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from fog import methods
from fog.cli.session import examples, session_of
from fog.methods import Balance, Recorded, WalletBalance, WalletSend
from fog.quantities import amount_from, credits_text
from ledger.errors import UsageError

wallet = typer.Typer(
    help="Balances and payments.", no_args_is_help=True, epilog=examples("fog wallet balance")
)


def add_to(app: typer.Typer) -> None:
    app.add_typer(wallet, name="wallet")
    wallet.command(epilog=examples("fog wallet balance", "fog wallet balance --account 3f1c… --json"))(
        balance
    )
    wallet.command(epilog=examples("fog wallet send 3f1c… 12.5", "fog wallet send 3f1c… 0.000001 --no-wait"))(
        send
    )


def balance(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="64 hex digits; else your own.")] = None,
) -> None:
    """Final credits, credits in escrow, and what becomes of them if all that is known becomes final."""
    session = session_of(context)
    params = WalletBalance(account=None if account is None else account_from(account))
    held = session.ask_quietly(Balance, "wallet.balance", params, "asking the node")
    table = Table(show_header=False, box=None)
    table.add_row("account", held.account)
    table.add_row("final", f"{credits_text(held.free)} credits, at height {held.height}")
    table.add_row("in escrow", f"{credits_text(held.escrow)} credits")
    table.add_row("pledged", f"{credits_text(held.pledged)} credits")
    if held.tentative_free != held.free:
        table.add_row("tentative", f"{credits_text(held.tentative_free)} credits, waiting for a checkpoint")
    session.say(held, table)


def send(
    context: typer.Context,
    to: Annotated[str, typer.Argument(help="The account to pay: 64 hex digits.")],
    amount: Annotated[str, typer.Argument(help="Credits, with up to 6 decimals.")],
    memo: Annotated[str, typer.Option(help="A note that everybody can read.")] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is final.")] = True,
) -> None:
    """Pay credits to another account."""
    session = session_of(context)
    micro = amount_from(amount)
    asked = {"to": account_from(to), "amount": micro, "memo": memo, "wait": wait}
    params = methods.shape(WalletSend, asked)
    paid = session.ask_quietly(Recorded, "wallet.send", params, "waiting for it to be final")
    height = "" if paid.height is None else f" at height {paid.height}"
    session.say(paid, f"{paid.standing}{height}: {credits_text(micro)} credits to {to} (event {paid.event})")


def account_from(text: str) -> str:
    """Raises UsageError (`bad_account`)."""
    lower = text.lower()
    if len(lower) != 64 or not set(lower) <= set("0123456789abcdef"):
        raise UsageError(
            f"{text!r} is not an account",
            code="bad_account",
            next_step="an account is 64 hex digits: `fog status` prints yours",
        )
    return lower
