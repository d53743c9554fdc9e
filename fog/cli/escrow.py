"""`fog escrow` and `fog voucher`: money set aside for one payee, and paid without a network.

payer                                  payee
fog escrow open PAYEE 50               (both online)
fog voucher write ESCROW 12.5    ->    fog voucher check fogv1…       (nobody online)
fog voucher write ESCROW 20      ->    fog escrow redeem fogv1…       (the payee online again)
"""

from __future__ import annotations

from typing import Annotated, get_args

import typer
from rich.table import Table

from domain.effects import EscrowState
from domain.vouchers import SignedVoucher, Voucher
from domain.vouchers import check as require
from fog import escrow_methods, methods, voucher_line
from fog.cli.running import load_key
from fog.cli.session import examples, session_of
from fog.cli.wallet import account_from
from fog.escrow_methods import (
    ESCROWS_LISTED_MAX,
    MINUTES_MAX,
    EscrowLine,
    EscrowList,
    EscrowName,
    Escrows,
    Opened,
)
from fog.methods import Recorded
from fog.quantities import amount_from, credits_text, moment_text
from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError

escrow = typer.Typer(
    help="Credits set aside for one payee.", no_args_is_help=True, epilog=examples("fog escrow list")
)
voucher = typer.Typer(
    help="Payments from an escrow, without a network.",
    no_args_is_help=True,
    epilog=examples("fog voucher write bafyrei… 12.5"),
)

Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is final.")]
EscrowId = Annotated[str, typer.Argument(metavar="ESCROW", help="Its id, as `fog escrow list` shows it.")]
Line = Annotated[str, typer.Argument(metavar="VOUCHER", help="The line that `fog voucher write` printed.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(escrow, name="escrow")
    app.add_typer(voucher, name="voucher")
    escrow.command(
        name="open", epilog=examples("fog escrow open 3f1c… 50", "fog escrow open 3f1c… 50 --expires 1440")
    )(open_escrow)
    escrow.command(epilog=examples("fog escrow redeem fogv1…", "fog escrow redeem fogv1… --json"))(redeem)
    escrow.command(epilog=examples("fog escrow close bafyrei…"))(close)
    escrow.command(
        name="list", epilog=examples("fog escrow list", "fog escrow list --state open --everyone")
    )(list_escrows)
    voucher.command(
        epilog=examples("fog voucher write bafyrei… 12.5", "fog voucher write bafyrei… 12.5 --json")
    )(write)
    voucher.command(epilog=examples("fog voucher check fogv1…", "fog voucher check fogv1… --by 3f1c…"))(check)


def open_escrow(
    context: typer.Context,
    payee: Annotated[str, typer.Argument(help="The only account that can be paid from it: 64 hex digits.")],
    amount: Annotated[str, typer.Argument(help="Credits, with up to 6 decimals.")],
    expires: Annotated[
        int | None,
        typer.Option(min=1, max=MINUTES_MAX, help="Minutes, and checkpoints, from now (else 30 days)."),
    ] = None,
    wait: Wait = True,
) -> None:
    """Set credits aside for one payee; what it does not redeem comes back after the expiry and a grace."""
    session = session_of(context)
    micro = amount_from(amount)
    asked = {"payee": account_from(payee), "amount": micro, "minutes": expires, "wait": wait}
    params = methods.shape(escrow_methods.EscrowOpen, asked)
    opened = session.ask_quietly(Opened, "escrow.open", params, "waiting for it to be final")
    session.remark(
        f"{opened.standing}: {credits_text(micro)} credits for {payee}, "
        f"until {moment_text(opened.expiry_time)} and height {opened.expiry}\n"
        f"next: fog voucher write {opened.escrow} CREDITS"
    )
    session.say(opened, opened.escrow)


def redeem(context: typer.Context, line: Line, wait: Wait = True) -> None:
    """Be paid what a voucher gives beyond the ones redeemed before."""
    session = session_of(context)
    signed = voucher_line.read(line)
    params = methods.shape(escrow_methods.EscrowRedeem, {"voucher": voucher_line.write(signed), "wait": wait})
    paid = session.ask_quietly(Recorded, "escrow.redeem", params, "waiting for it to be final")
    session.say(
        paid, f"{paid.standing}: {credits_text(signed.voucher.total)} credits in all (event {paid.event})"
    )


def close(context: typer.Context, escrow_id: EscrowId) -> None:
    """As its payee: want no more, and give the payer the rest back at once."""
    session = session_of(context)
    params = EscrowName(escrow=str(_id(escrow_id)))
    closed = session.ask_quietly(Recorded, "escrow.close", params, "waiting for it to be final")
    session.say(closed, f"{closed.standing}: closed (event {closed.event})")


def list_escrows(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="64 hex digits; else your own.")] = None,
    everyone: Annotated[bool, typer.Option("--everyone", help="Of all accounts.")] = False,
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(get_args(EscrowState))}.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=ESCROWS_LISTED_MAX, help="Newest first, at most.")] = 50,
) -> None:
    """Escrows that an account pays from or is paid from."""
    session = session_of(context)
    asked = {
        "account": None if account is None else account_from(account),
        "everyone": everyone,
        "state": state,
        "limit": limit,
    }
    params = methods.shape(EscrowList, asked)
    found = session.ask_quietly(Escrows, "escrow.list", params, "asking the node")
    session.say(found, _table(found.escrows) if found.escrows else "No escrows.", f"height {found.height}")


def write(
    context: typer.Context,
    escrow_id: EscrowId,
    total: Annotated[str, typer.Argument(help="Credits in all, those of earlier vouchers included.")],
) -> None:
    """Sign a voucher, with the key alone: no node, no network. Prints one line for the payee."""
    session = session_of(context)
    net = session.home.read_genesis().net
    body = Voucher(net, _id(escrow_id), amount_from(total))
    signed = SignedVoucher.make(load_key(session), body)
    line = voucher_line.write(signed)
    session.remark(f"{credits_text(body.total)} credits in all; hand the line to the payee")
    session.say({"voucher": line} | _plain(signed), line)


def check(
    context: typer.Context,
    line: Line,
    by: Annotated[str | None, typer.Option(help="The key that must have signed it: 64 hex digits.")] = None,
    escrow_id: Annotated[str | None, typer.Option("--escrow", help="The escrow it must be for.")] = None,
) -> None:
    """Judge a voucher without a network: whole, signed, of this network. Exit 6 if it is not what it says.

    That the escrow holds so much, and that this key may sign for it, only the ledger knows: look at `key`
    and `amount` in `fog escrow list --json` while you are online.
    """
    session = session_of(context)
    signed = voucher_line.read(line)
    net = session.home.read_genesis().net if session.home.is_set_up() else signed.voucher.net
    require(
        signed,
        net=net,
        by=None if by is None else bytes.fromhex(account_from(by)),
        escrow=None if escrow_id is None else _id(escrow_id),
    )
    table = Table(show_header=False, box=None)
    table.add_row("escrow", str(signed.voucher.escrow))
    table.add_row("in all", f"{credits_text(signed.voucher.total)} credits")
    table.add_row("signed by", signed.by.hex())
    table.add_row("network", str(signed.voucher.net))
    session.say(_plain(signed), table)


def _plain(signed: SignedVoucher) -> dict[str, str | int]:
    body = signed.voucher
    return {
        "net": str(body.net),
        "escrow": str(body.escrow),
        "total": body.total,
        "by": signed.by.hex(),
    }


def _table(escrows: list[EscrowLine]) -> Table:
    table = Table(
        "escrow", "state", "payer", "signs", "payee", "credits", "redeemed", "until", "and height", box=None
    )
    for one in escrows:
        table.add_row(
            one.escrow,
            one.state,
            one.payer[:16],
            one.key[:16],
            one.payee[:16],
            credits_text(one.amount),
            credits_text(one.redeemed),
            moment_text(one.until_time),
            str(one.until),
        )
    return table


def _id(text: str) -> Cid:
    try:
        return Cid.parse(text)
    except RemoteError as error:
        raise UsageError(
            f"{text!r} is not the id of an escrow",
            code="bad_escrow",
            next_step="`fog escrow open` printed it, and `fog escrow list` shows it",
        ) from error
