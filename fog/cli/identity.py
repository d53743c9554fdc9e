"""`fog identity`: which devices act for an account, and who brings it a new one when the last is lost.

A machine acts for another's account with `fog join INVITE --account ACCOUNT` (or the setting
`identity.account`), once the account has delegated to its key, or its guardians have agreed on it.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from domain.payloads import GUARDIANS_MAX
from fog import methods
from fog.cli.session import examples, session_of
from fog.cli.wallet import account_from
from fog.identity_methods import DeviceName, Identity, IdentityGuard, IdentityRecover, IdentityShow
from fog.methods import Message, Nothing, Recorded
from fog.quantities import moment_text
from ledger.errors import UsageError

identity = typer.Typer(
    help="Devices and guardians of an account.",
    no_args_is_help=True,
    epilog=examples("fog identity show"),
)

Device = Annotated[str, typer.Argument(help="The key of a machine: 64 hex digits, `fog status` there.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(identity, name="identity")
    identity.command(epilog=examples("fog identity show", "fog identity show --account 3f1c… --json"))(show)
    identity.command(epilog=examples("fog identity delegate 7a2b…"))(delegate)
    identity.command(epilog=examples("fog identity revoke 7a2b…"))(revoke)
    identity.command(epilog=examples("fog identity guard 2 3f1c… 7a2b… 9c0d…", "fog identity guard 0"))(guard)
    identity.command(epilog=examples("fog identity recover 3f1c… 7a2b…"))(recover)
    identity.command(epilog=examples("fog identity cancel"))(cancel)


def show(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="64 hex digits; else the node's.")] = None,
) -> None:
    """Who may act for an account, who may recover it, and what they ask for."""
    session = session_of(context)
    params = IdentityShow(account=None if account is None else account_from(account))
    found = session.ask_quietly(Identity, "identity.show", params, "asking the node")
    table = Table(show_header=False, box=None)
    table.add_row("account", found.account + (" (its own key is retired)" if found.retired else ""))
    table.add_row("this device", f"{found.device} {'acts' if found.acts else 'does not act'} for it")
    for device in found.devices:
        table.add_row("device", device)
    for guardian in found.guardians:
        table.add_row("guardian", guardian)
    if found.guardians:
        table.add_row("", f"{found.threshold} of them may recover it")
    if found.recovery is not None:
        for ask in found.recovery.asked:
            table.add_row("asked for", f"{ask.device} by {ask.guardian[:16]}")
        if found.recovery.device is not None:
            table.add_row("waiting", f"{found.recovery.device} {_when(found)}")
            table.add_row("", "to stop it: fog identity cancel")
    session.say(found, table)


def delegate(context: typer.Context, device: Device) -> None:
    """Let another machine act for your account, as this one does."""
    params = DeviceName(device=account_from(device))
    _record(context, "identity.delegate", params, f"{device} may act for the account")


def revoke(context: typer.Context, device: Device) -> None:
    """Let a machine act for your account no more; the account's own key, too, while another device can."""
    params = DeviceName(device=account_from(device))
    _record(context, "identity.revoke", params, f"{device} may not act for the account any more")


def guard(
    context: typer.Context,
    threshold: Annotated[int, typer.Argument(min=0, max=GUARDIANS_MAX, help="How many must agree.")],
    guardians: Annotated[list[str] | None, typer.Argument(help="Their accounts: 64 hex digits each.")] = None,
) -> None:
    """Say who may let a new machine act for your account if you lose yours; 0 alone: nobody."""
    named = sorted({account_from(one) for one in guardians or []})
    if len(named) > GUARDIANS_MAX or not (1 <= threshold <= len(named) or threshold == len(named) == 0):
        raise UsageError(
            f"{threshold} of {len(named)} guardians can never agree, or never had to",
            code="bad_guardians",
            next_step=f"name up to {GUARDIANS_MAX}, and how many of them it takes",
        )
    params = methods.shape(IdentityGuard, {"guardians": named, "threshold": threshold})
    _record(
        context, "identity.guard", params, f"{threshold} of {len(named)} guardians may recover the account"
    )


def recover(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="The account to recover: 64 hex digits.")],
    device: Device,
) -> None:
    """As its guardian: would have this machine act for an account. Ask its owner first, by voice."""
    params = IdentityRecover(account=account_from(account), device=account_from(device))
    _record(context, "identity.recover", params, f"you would have {device} act for {account}")


def cancel(context: typer.Context) -> None:
    """Stop what your guardians ask for: you need no recovery."""
    _record(context, "identity.cancel", Nothing(), "the recovery is cancelled")


def _record(context: typer.Context, method: str, params: Message, done: str) -> None:
    session = session_of(context)
    recorded = session.ask_quietly(Recorded, method, params, "waiting for it to be final")
    session.say(recorded, f"{recorded.standing}: {done} (event {recorded.event})")


def _when(found: Identity) -> str:
    assert found.recovery is not None, "nothing is waiting"
    epoch = f"after height {found.recovery.height} and " if found.recovery.height else ""
    return f"may act {epoch}from {moment_text(found.recovery.time)} on"
