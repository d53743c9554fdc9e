"""Checks: how many signatures that others bring are looked at in one checkpoint.

A signature that is false costs everybody some 2 ms, forty times what a good one does: no library's no is
final (`ledger.zip215`). Whoever brings one has nothing to lose by it, and any number of accounts. So what is
looked at is counted, in rows that the end of the checkpoint takes away; what is beyond is refused unseen, and
may be said again.

    evidence    every check. Those who could be slashed themselves have a share of their own against those who
                could, so that strangers, and forks of keys that cost nothing, cannot keep a fault from being
                punished. Whoever brings false evidence there counts as a stranger for a while
    vouchers    those that turned out false. The escrow rests then, and is not closed, so that liars with all
                the escrows there may be do not use up the share of every checkpoint

Honest nodes and payees look before they bring anything.

What must always hold: in one checkpoint no more is false than all shares together; a check is counted
whatever comes of it; nothing of that is left in the state when the checkpoint ends; what rests is an escrow
that is open or an account that has a bond.
"""

from __future__ import annotations

from typing import Final

from domain.rules import bonds
from domain.rules.codes import Refused
from domain.rules.draft import Draft
from domain.rules.records import RESTS, Table, raw
from ledger.cid import Cid
from ledger.state import State

SIGNATURES: Final = 2
"""Of evidence, in one check: a fork and a fault of votes have two, a warrant up to ten. All may be dear: good
ones, too, if their signer made them oddly."""

EVIDENCE_MAX: Final = 64
"""Checks a checkpoint, for those without a bond: 0.3 s if all is dear."""

EVIDENCE_BONDED_MAX: Final = 256
"""For those who have `bond_min` at stake, against those who have anything. More evidence than validators is
never needed."""

FALSE_VOUCHERS_MAX: Final = 64

OF_ONE_MAX: Final = 8
"""Of one account, evidence and false vouchers together."""

REST_HEIGHTS: Final = 512
"""Of an escrow after a false voucher, of a bond after false evidence. With all 10,000 escrows
(`escrows.ESCROWS_MAX`) a liar uses up the share of three checkpoints in ten, with 4,096 bonds that of one in
thirty. Less than the grace by default: every escrow stays open for longer, and its vouchers count."""

SPENT: Final[Table[bytes]] = raw("spent")
"""Key: a share, or the account; a row: how much of it is spent in this checkpoint."""

_STRANGERS: Final = b"e"
_BONDED: Final = b"b"
_VOUCHERS: Final = b"v"
_SHARES: Final = {_STRANGERS: EVIDENCE_MAX, _BONDED: EVIDENCE_BONDED_MAX, _VOUCHERS: FALSE_VOUCHERS_MAX}


def evidence(draft: Draft, signatures: int, *, at_stake: bool) -> None:
    """Before so many signatures of evidence are looked at; `at_stake`: whether an accused has anything to
    lose. Refused: `checks_spent`."""
    share = _BONDED if at_stake and _has_bond(draft) and not _rests(draft, draft.author) else _STRANGERS
    checks = -(-signatures // SIGNATURES)
    _require(draft, share, checks)
    _count(draft, share, checks)


def false_evidence(draft: Draft) -> None:
    """It was looked at, and proves nothing."""
    if _has_bond(draft) and not _rests(draft, draft.author):
        _rest(draft, draft.author)


def voucher(draft: Draft, escrow: Cid) -> None:
    """Before the signature of a voucher is looked at. Refused: `escrow_rests`, `checks_spent`."""
    require_awake(draft, escrow)
    _require(draft, _VOUCHERS)


def false_voucher(draft: Draft, escrow: Cid) -> None:
    """It was looked at, and is false."""
    _count(draft, _VOUCHERS)
    _rest(draft, escrow)


def require_awake(draft: Draft, escrow: Cid) -> None:
    """Refused: `escrow_rests`."""
    if _rests(draft, escrow):
        until = _number(draft.get(RESTS, escrow))
        raise Refused("escrow_rests", f"a false voucher was brought for it; it rests up to height {until}")


def forget(draft: Draft, escrow: Cid) -> None:
    """The escrow has ended. The rest of an account ends with its bond (`bonds.change`)."""
    draft.drop(RESTS, escrow)


def refill(state: State) -> State:
    """At the end of a checkpoint."""
    if all(state.get(SPENT.name, share) is None for share in _SHARES):
        return state
    return state.change(((SPENT.name, key), None) for key, _ in state.items(SPENT.name))


def _has_bond(draft: Draft) -> bool:
    return bonds.bond_of(draft, draft.author).at_stake >= draft.params.bond_min


def _rests(draft: Draft, what: bytes) -> bool:
    return draft.context.height <= _number(draft.get(RESTS, what))


def _rest(draft: Draft, what: bytes) -> None:
    draft.keep(RESTS, what, (draft.context.height + REST_HEIGHTS).to_bytes(8, "big"))


def _require(draft: Draft, share: bytes, checks: int = 1) -> None:
    if _spent(draft, share) + checks > _SHARES[share]:
        raise Refused("checks_spent", f"{_SHARES[share]} checks of its sort were made in this checkpoint")
    if _spent(draft, draft.author) + checks > OF_ONE_MAX:
        raise Refused("checks_spent", f"{OF_ONE_MAX} checks were made for the account in this checkpoint")


def _spent(draft: Draft, whose: bytes) -> int:
    return _number(draft.get(SPENT, whose))


def _count(draft: Draft, share: bytes, checks: int = 1) -> None:
    for whose in (share, draft.author):
        draft.keep(SPENT, whose, (_spent(draft, whose) + checks).to_bytes(2, "big"))


def _number(row: bytes | None) -> int:
    return 0 if row is None else int.from_bytes(row, "big")
