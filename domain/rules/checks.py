"""Checks: how many signatures that others bring are looked at in one checkpoint.

A signature that is false costs everybody some 2 ms, forty times what a good one does: no library's no is
final (`ledger.zip215`). Whoever brings one has nothing to lose by it, and any number of accounts. So what is
looked at is counted, in rows that the end of the checkpoint takes away; what is beyond is refused unseen, and
may be said again.

    evidence    every check. Those who could be slashed themselves have a share of their own, so that
                strangers cannot keep a fault from being punished
    vouchers    those that turned out false. The escrow rests then, so that liars with all the escrows there
                may be do not use up the share of every checkpoint. Honest payees look before they bring one

What must always hold: in one checkpoint no more is false than all shares together; a check is counted
whatever comes of it; nothing of that is left in the state when the checkpoint ends.
"""

from __future__ import annotations

from typing import Final

from domain.rules import bonds
from domain.rules.codes import Refused
from domain.rules.draft import Draft
from domain.rules.records import Table, raw
from ledger.cid import Cid
from ledger.state import State

EVIDENCE_MAX: Final = 64
"""Checks a checkpoint, for those without a bond: 0.2 s if all is false."""

EVIDENCE_BONDED_MAX: Final = 256
"""For those who have `bond_min` at stake. More evidence than validators is never needed."""

FALSE_VOUCHERS_MAX: Final = 64

OF_ONE_MAX: Final = 8
"""Of one account, evidence and false vouchers together."""

REST_HEIGHTS: Final = 512
"""Of an escrow after a false voucher: with 10,000 escrows (`escrows.ESCROWS_MAX`) a liar uses up the share of
three checkpoints in ten; and less than the grace in which a voucher counts by default."""

SPENT: Final[Table[bytes]] = raw("spent")
"""Key: a share, or the account; a row: how much of it is spent in this checkpoint."""

RESTS: Final[Table[bytes]] = raw("rests")
"""Key: an escrow; a row: the height up to which it rests."""

_STRANGERS: Final = b"e"
_BONDED: Final = b"b"
_VOUCHERS: Final = b"v"
_SHARES: Final = {_STRANGERS: EVIDENCE_MAX, _BONDED: EVIDENCE_BONDED_MAX, _VOUCHERS: FALSE_VOUCHERS_MAX}


def evidence(draft: Draft) -> None:
    """Before the signatures of evidence are looked at. Refused: `checks_spent`."""
    has_bond = bonds.bond_of(draft, draft.author).at_stake >= draft.params.bond_min
    share = _BONDED if has_bond else _STRANGERS
    _require(draft, share)
    _count(draft, share)


def voucher(draft: Draft, escrow: Cid) -> None:
    """Before the signature of a voucher is looked at. Refused: `escrow_rests`, `checks_spent`."""
    until = _number(draft.get(RESTS, escrow))
    if draft.context.height <= until:
        raise Refused("escrow_rests", f"a false voucher was brought for it; it rests up to height {until}")
    _require(draft, _VOUCHERS)


def false_voucher(draft: Draft, escrow: Cid) -> None:
    """It was looked at, and is false."""
    _count(draft, _VOUCHERS)
    draft.keep(RESTS, escrow, (draft.context.height + REST_HEIGHTS).to_bytes(8, "big"))


def forget(draft: Draft, escrow: Cid) -> None:
    """The escrow has ended."""
    draft.drop(RESTS, escrow)


def refill(state: State) -> State:
    """At the end of a checkpoint."""
    if all(state.get(SPENT.name, share) is None for share in _SHARES):
        return state
    return state.change(((SPENT.name, key), None) for key, _ in state.items(SPENT.name))


def _require(draft: Draft, share: bytes) -> None:
    if _spent(draft, share) >= _SHARES[share]:
        raise Refused("checks_spent", f"{_SHARES[share]} checks of its sort were made in this checkpoint")
    if _spent(draft, draft.author) >= OF_ONE_MAX:
        raise Refused("checks_spent", f"{OF_ONE_MAX} checks were made for the account in this checkpoint")


def _spent(draft: Draft, whose: bytes) -> int:
    return _number(draft.get(SPENT, whose))


def _count(draft: Draft, share: bytes) -> None:
    for whose in (share, draft.author):
        draft.keep(SPENT, whose, (_spent(draft, whose) + 1).to_bytes(2, "big"))


def _number(row: bytes | None) -> int:
    return 0 if row is None else int.from_bytes(row, "big")
