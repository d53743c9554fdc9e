"""Escrows for vouchers: credits set aside for one payee, who may be paid from them while nobody is online.

    open      until its payee closes it, all of it is redeemed, or its last height and moment have passed
    closed    by the payee, or redeemed in full        ) what was not redeemed
    expired   at a close, when both have passed        ) goes back to the payer

Two clocks guard the payee's time to redeem, because each alone can run away: a payer could make traffic until
the height has come, and ledger time jumps when a network that stood still goes on, before a payee that was
away could say anything in it.

`until` and `until_time` are what the payer chose and the network's grace; `until` is later by a few heights
when so many escrows end at one that its close would take long. A payer cannot take anything back before: what
it vouched for is there. Whatever becomes of the payer's account or its devices meanwhile, its vouchers stay
good: the key that signed `escrow.open` signs them, for this escrow, for good.

What must always hold: redeemed <= amount; what an open escrow has left is in its payer's escrow; an escrow is
booked once: in the calendar until the height `until` has passed, in the agenda at `until_time` from then on.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from domain.effects import EscrowIs, EscrowState
from domain.payloads import EscrowClose, EscrowOpen, EscrowRedeem
from domain.rules import accounts, agenda, calendar, checks
from domain.rules.agenda import Entry
from domain.rules.codes import Refused, in_credits
from domain.rules.draft import Draft
from domain.rules.params import DAY_MS
from domain.rules.records import ESCROW, ESCROWS, ONLY, Escrow
from domain.vouchers import Voucher
from ledger.cid import CID_SIZE, Cid
from ledger.state import State

ESCROWS_MAX: Final = 10_000
"""Open at once in the network, as jobs are: state that somebody may leave behind."""

ESCROWS_OF_ONE_MAX: Final = 64
"""Open at once of one payer: some 150 accounts would be needed to take up all of them."""

ENDS_PER_CLOSE_MAX: Final = 256
"""Escrows that end in one close by either clock: some 20 ms. So an `until` is at most 40 heights later than
it might be."""

AHEAD_MAX: Final = 365 * 24 * 60
"""Heights to an expiry: a year in a network in which nothing happens, which makes a checkpoint a minute.
Where they come faster, it is the time that is waited for."""

AHEAD_MS_MAX: Final = 365 * DAY_MS
"""Ledger time to an expiry: with the heights, no mistake locks credits up for longer, but for the grace, in a
network that goes on."""


def open(draft: Draft, order: EscrowOpen) -> None:
    """Put `amount` into an escrow under the id of its event.

    Refused without effect: `to_self`, `expiry_too_soon`, `expiry_too_far`, `escrows_full`,
    `insufficient_funds`.
    """
    if order.payee == draft.author:
        raise Refused("to_self", f"{order.payee.hex()} would be its own payee")
    _check_expiry(draft, order)
    if _count(draft, ONLY) >= ESCROWS_MAX:
        raise Refused("escrows_full", f"{ESCROWS_MAX} escrows are open in this network, and no more may be")
    if _count(draft, draft.author) >= ESCROWS_OF_ONE_MAX:
        raise Refused("escrows_full", f"the account has {ESCROWS_OF_ONE_MAX} open, and may not have more")
    accounts.require(accounts.account_of(draft, draft.author), order.amount, "the escrow")
    accounts.hold(draft, draft.author, order.amount)
    id = draft.id
    assert id is not None, "an escrow is opened by an event"
    earliest = order.expiry + draft.params.grace_checkpoints
    until = calendar.first_free(draft, calendar.ESCROW, earliest, CID_SIZE, ENDS_PER_CLOSE_MAX)
    calendar.write(draft, calendar.ESCROW, until, id)
    _recount(draft, draft.author, +1)
    times = order.expiry_time, order.expiry_time + draft.params.grace_ms
    escrow = Escrow(draft.author, order.payee, draft.device, order.amount, 0, order.expiry, until, *times)
    _write(draft, id, escrow)


def _check_expiry(draft: Draft, order: EscrowOpen) -> None:
    height, expiry, ahead_ms = draft.context.height, order.expiry, order.expiry_time - draft.time
    if expiry <= height:
        raise Refused("expiry_too_soon", f"the escrow would expire at height {expiry}, and this is {height}")
    if expiry > height + AHEAD_MAX:
        raise Refused(
            "expiry_too_far", f"the escrow would expire {expiry - height} heights ahead; most is {AHEAD_MAX}"
        )
    if ahead_ms <= 0:
        raise Refused(
            "expiry_too_soon",
            f"the escrow would expire at {order.expiry_time}, and ledger time is {draft.time}",
        )
    if ahead_ms > AHEAD_MS_MAX:
        raise Refused(
            "expiry_too_far", f"the escrow would expire {ahead_ms} ms ahead; most is {AHEAD_MS_MAX} ms"
        )


def redeem(draft: Draft, order: EscrowRedeem) -> None:
    """Pay the payee what the voucher's total is above what it had so far.

    Refused without effect: `unknown_escrow`, `not_yours`, `over_escrow`, `nothing_new`, `escrow_rests`,
    `checks_spent`, `bad_voucher`.
    """
    escrow = _of_payee(draft, order.escrow)
    if order.total > escrow.amount:
        raise Refused(
            "over_escrow",
            f"a voucher for {in_credits(order.total)} credits on an escrow of {in_credits(escrow.amount)}",
        )
    if order.total <= escrow.redeemed:
        raise Refused(
            "nothing_new",
            f"{in_credits(escrow.redeemed)} credits were redeemed already, this voucher is for "
            f"{in_credits(order.total)} in all",
        )
    checks.voucher(draft, order.escrow)
    voucher = Voucher(draft.context.net, order.escrow, order.total)
    if not voucher.is_signed(escrow.key, order.signature):  # last, because it is the dearest
        checks.false_voucher(draft, order.escrow)
        raise Refused("bad_voucher", f"the voucher is not signed by {escrow.key.hex()}")
    accounts.settle(draft, escrow.payer, escrow.payee, order.total - escrow.redeemed)
    after = replace(escrow, redeemed=order.total)
    if after.rest:
        _write(draft, order.escrow, after)
    else:
        _end(draft, order.escrow, after, "closed")


def close(draft: Draft, order: EscrowClose) -> None:
    """Give the payer back what was not redeemed.

    Refused without effect: `unknown_escrow`, `not_yours`, `escrow_rests`.
    """
    escrow = _of_payee(draft, order.escrow)
    checks.require_awake(draft, order.escrow)
    _end(draft, order.escrow, escrow, "closed")


def any_ends(state: State, height: int) -> bool:
    return calendar.has(state, calendar.ESCROW, height)


def expire(draft: Draft) -> None:
    """At the close of a height: end what is in the calendar for it, unless its time is not over."""
    for id in calendar.at(draft, calendar.ESCROW, draft.context.height, CID_SIZE):
        escrow = draft.row(ESCROW, id)
        if escrow.until_time <= draft.time:
            _end(draft, Cid(id), escrow, "expired")
        else:
            calendar.strike(draft, calendar.ESCROW, escrow.until, id)
            agenda.write(draft, escrow.until_time, agenda.ESCROW, id)


def lapse(draft: Draft, entry: Entry) -> None:
    """Its height had passed, and now its time has as well."""
    _end(draft, Cid(entry.id), draft.row(ESCROW, entry.id), "expired")


def _of_payee(draft: Draft, id: Cid) -> Escrow:
    """An open escrow, for its payee alone."""
    escrow = draft.get(ESCROW, id)
    if escrow is None:
        raise Refused("unknown_escrow", f"no escrow {id} is open: it never was, or it has ended")
    if escrow.payee != draft.author:
        raise Refused("not_yours", f"escrow {id} is for {escrow.payee.hex()}")
    return escrow


def _write(draft: Draft, id: Cid, escrow: Escrow) -> None:
    draft.put(ESCROW, id, escrow)
    draft.stands("escrow", id, as_effect(id, escrow, "open"))


def _end(draft: Draft, id: Cid, escrow: Escrow, state: EscrowState) -> None:
    accounts.give_back(draft, escrow.payer, escrow.rest)
    if draft.context.height <= escrow.until:
        calendar.strike(draft, calendar.ESCROW, escrow.until, id)
    else:
        agenda.strike(draft, escrow.until_time, agenda.ESCROW, id)
    _recount(draft, escrow.payer, -1)
    draft.drop(ESCROW, id)
    checks.forget(draft, id)
    draft.stands("escrow", id, as_effect(id, escrow, state))


def as_effect(id: Cid, escrow: Escrow, state: EscrowState) -> EscrowIs:
    return EscrowIs(
        id,
        escrow.payer,
        escrow.payee,
        escrow.key,
        escrow.amount,
        escrow.redeemed,
        escrow.expiry,
        escrow.until,
        escrow.expiry_time,
        escrow.until_time,
        state,
    )


def _count(draft: Draft, whose: bytes) -> int:
    row = draft.get(ESCROWS, whose) or b""
    return int.from_bytes(row, "big")


def _recount(draft: Draft, payer: bytes, change: int) -> None:
    for whose in (payer, ONLY):
        count = _count(draft, whose) + change
        assert count >= 0, "more escrows ended than were open"
        if count:
            draft.put(ESCROWS, whose, count.to_bytes(4, "big"))
        else:
            draft.drop(ESCROWS, whose)
