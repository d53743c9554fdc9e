"""Stake: bonded, on its way out, released; and the way out of jail.

    bond      free    -> bonded      by the account
    unbond    bonded  -> leaving     by the account; it stops to count at once, and stays within reach of
                                     evidence for `unbond_ms` more
    release   leaving -> free        by itself, when its time has come; whoever votes with more than it has
                                     bonded waits until `unbond_ms` after the last epoch in which it could
    unjail                           by the account, when its term is over

What evidence does to a bond is `domain.rules.evidence`; what it means for validators `domain.rules.epochs`.

A set of validators is known two epochs ahead and changes slowly (`domain.rules.epochs`), while `unbond_ms` is
ledger time: without the wait, who leaves could vote with nothing at stake when epochs are long.

What must always hold: a bond that its owner left as it is, is at least `bond_min`; nothing is released to who
has more votes than it has bonded, in this epoch or any that is decided.
"""

from __future__ import annotations

from msgspec.structs import replace

from domain.payloads import StakeBond, StakeUnbond, StakeUnjail
from domain.rules import accounts, bonds, epochs
from domain.rules.agenda import Entry
from domain.rules.bonds import BONDS_MAX, LEAVING_MAX
from domain.rules.codes import Refused, in_credits
from domain.rules.draft import Draft


def bond(draft: Draft, order: StakeBond) -> None:
    """Add to the author's bond.

    Refused without effect: `insufficient_funds`, `bond_too_small`, `bonds_full`.
    """
    accounts.require(accounts.account_of(draft, draft.author), order.amount, "the bond")
    before = bonds.bond_of(draft, draft.author)
    _require_whole(draft, before.bonded + order.amount)
    if not before.at_stake and draft.supply.bonds >= BONDS_MAX:
        raise Refused("bonds_full", f"{BONDS_MAX} accounts hold bonds, and that is as many as there may be")
    accounts.move(draft, draft.author, -order.amount, 0)
    bonds.change(draft, draft.author, replace(before, bonded=before.bonded + order.amount))


def unbond(draft: Draft, order: StakeUnbond) -> None:
    """Begin to take something out of the author's bond.

    Refused without effect: `insufficient_bond`, `bond_too_small`, `unbonding_full`.
    """
    before = bonds.bond_of(draft, draft.author)
    if before.bonded < order.amount:
        raise Refused(
            "insufficient_bond",
            f"{in_credits(order.amount)} credits of a bond that holds {in_credits(before.bonded)}",
        )
    rest = before.bonded - order.amount
    if rest:
        _require_whole(draft, rest)
    leaving = dict(before.leaving)
    time = draft.time + draft.params.unbond_ms
    if len(leaving) >= LEAVING_MAX and time not in leaving:
        raise Refused(
            "unbonding_full",
            f"{LEAVING_MAX} parts of the bond are on their way out; the first is released at "
            f"{before.leaving[0][0]}",
        )
    leaving[time] = leaving.get(time, 0) + order.amount
    bonds.change(draft, draft.author, replace(before, bonded=rest, leaving=tuple(sorted(leaving.items()))))


def _require_whole(draft: Draft, bonded: int) -> None:
    least = draft.params.bond_min
    if bonded < least:
        raise Refused(
            "bond_too_small",
            f"the bond would hold {in_credits(bonded)} credits; the least is {in_credits(least)}, or nothing",
        )


def release(draft: Draft, entry: Entry) -> None:
    """What was on its way out until now is free, unless its owner still votes with it."""
    before = bonds.bond_of(draft, entry.id)
    if epochs.votes_to_come(draft, entry.id) > before.bonded:
        return _hold(draft, entry.id)
    leaving = dict(before.leaving)
    amount = leaving.pop(entry.time)
    bonds.change(draft, entry.id, replace(before, leaving=tuple(sorted(leaving.items()))))
    return accounts.move(draft, entry.id, amount, 0)


def hold_voters(draft: Draft) -> None:
    """At the end of an epoch: whoever could vote in it with more than it has bonded answers for it as long as
    if it had begun to leave now."""
    for account, votes in epochs.voters(draft).items():
        if votes > bonds.bond_of(draft, account).bonded:
            _hold(draft, account)


def _hold(draft: Draft, account: bytes) -> None:
    """All that is on its way out is free `unbond_ms` from now. (Nothing can be free later than that.)"""
    before = bonds.bond_of(draft, account)
    after = replace(before, leaving=((draft.time + draft.params.unbond_ms, before.unbonding),))
    if before.unbonding and after != before:
        bonds.change(draft, account, after)


def unjail(draft: Draft, order: StakeUnjail) -> None:
    """Be counted again from the next validator set on.

    Refused without effect: `not_jailed`, `jail_term`.
    """
    before = bonds.bond_of(draft, draft.author)
    if not before.jailed:
        raise Refused("not_jailed", f"{draft.author.hex()} is not in jail")
    if draft.time < before.jailed:
        raise Refused("jail_term", f"in jail until {before.jailed}, and ledger time is {draft.time}")
    bonds.change(draft, draft.author, replace(before, jailed=0))
