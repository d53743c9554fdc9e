"""Bonds: the stake that an account has pledged for its own conduct, and the money that moves in and out.

    bonded     counts in the next validator set that is computed, unless the account is in jail
    leaving    on its way back: counts for nothing any more, and is within reach of evidence until released

A bond has a row while it holds anything. Jail ends with the row: what comes later is a new bond.

What must always hold: `Supply.bonded` and `Supply.unbonding` are the sums over all bonds, `Supply.bonds` is
their number; the agenda has an entry for every moment at which something of a bond is released.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from domain.effects import BondIs
from domain.rules import agenda, former
from domain.rules.draft import Draft
from domain.rules.records import ONLY, RESTS, SUPPLY, Table, as_list
from ledger import canonical
from ledger.state import State

BONDS_MAX: Final = 4096
"""Accounts with bonds at once: computing a validator set looks at them all (some 10 ms), once an epoch."""

LEAVING_MAX: Final = 7
"""Moments of release that one account may wait for at once."""


class Bond(msgspec.Struct, frozen=True):
    """Micro-credits.

    jailed    the ledger time until which the account is in jail; 0: it is not
    punished  1 + the epoch in which it was last punished; 0: it never was
    leaving   (ledger time of release, amount), sorted, each time once
    """

    bonded: int = 0
    jailed: int = 0
    punished: int = 0
    leaving: tuple[tuple[int, int], ...] = ()

    @property
    def unbonding(self) -> int:
        return sum(amount for _, amount in self.leaving)

    @property
    def at_stake(self) -> int:
        """All that evidence can reach."""
        return self.bonded + self.unbonding


NOTHING: Final = Bond()


def _encode(bond: Bond) -> bytes:
    return canonical.encode([bond.bonded, bond.jailed, bond.punished, [list(part) for part in bond.leaving]])


def _decode(data: bytes) -> Bond:
    bonded, jailed, punished, leaving = as_list(data)
    return Bond(bonded, jailed, punished, tuple((time, amount) for time, amount in leaving))


BOND: Final = Table("bond", _encode, _decode)


def bond_of(draft: Draft, account: bytes) -> Bond:
    """An account that never bonded anything has nothing at stake."""
    return draft.get(BOND, account) or NOTHING


def bond_in(state: State, account: bytes) -> Bond:
    """The same, for whoever looks at a state from outside."""
    row = state.get(BOND.name, account)
    return NOTHING if row is None else BOND.decode(row)


def change(draft: Draft, account: bytes, after: Bond) -> None:
    """Write a bond, with its entries in the agenda and the totals. Where the money goes is the caller's."""
    before = bond_of(draft, account)
    assert after.bonded >= 0, f"{account.hex()} would have {after.bonded} bonded"
    _schedule(draft, account, before, after)
    draft.moved["bonded"] += after.bonded - before.bonded
    draft.moved["unbonding"] += after.unbonding - before.unbonding
    if after.at_stake:
        draft.put(BOND, account, after)
    else:
        after = NOTHING
        draft.drop(BOND, account)
        draft.drop(RESTS, account)
        former.forget(draft, account)
    if bool(before.at_stake) != bool(after.at_stake):
        supply = draft.supply
        draft.put(SUPPLY, ONLY, replace(supply, bonds=supply.bonds + (1 if after.at_stake else -1)))
    draft.stands("bond", account, BondIs(account, after.bonded, after.unbonding, after.jailed))


def _schedule(draft: Draft, account: bytes, before: Bond, after: Bond) -> None:
    assert all(amount > 0 for _, amount in after.leaving), "nothing, on its way out"
    old, new = ({time for time, _ in bond.leaving} for bond in (before, after))
    for time in sorted(old - new):
        agenda.strike(draft, time, agenda.BOND, account)
    for time in sorted(new - old):
        agenda.write(draft, time, agenda.BOND, account)
