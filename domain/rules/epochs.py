"""Epochs: who may vote in which, computed from the bonds at the end of the epoch two before.

    wanted   the VALIDATORS_MAX largest bonds (ties by key) of at least `bond_min` whose owner is not in jail,
             each with all that is bonded; nobody: what was before
    next     what was before (epoch e+1), moved towards what is wanted by at most a tenth of its stake

The tenth is shared: what goes and what comes get half each, and what one does not use the other may. What
goes is taken first from who is in jail, then by key; what comes goes to the largest bonds first. So whoever
is to go and holds more than that goes over several epochs, and no set is ever far from the one before it: who
knows one can follow, and the stake that signed a set stands behind it until the next is signed.

Whether a validator votes at all is not known to rules, so staying away costs nothing here
(docs/decisions/008-stake.md).

What must always hold: a set is never empty and has at most VALIDATORS_MAX members; the changes of stake
between two sets add up to at most `budget` of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from domain.effects import Seat
from domain.rules.bonds import BOND, Bond
from domain.rules.draft import Draft
from domain.rules.records import ONLY, PARAMS, Table
from ledger.execution import Context
from ledger.genesis import VALIDATORS_MAX, Genesis
from ledger.state import State
from ledger.validators import (
    TABLE,
    ValidatorSet,
    is_last_of_epoch,
    parse_set,
    row_key,
    with_genesis_sets,
)

CHURN_PART: Final = 10
"""At most one part in so many of the stake changes from one epoch's set to the next."""

AHEAD: Final = 2
"""How many epochs ahead a set is decided, once an epoch ends."""

KEPT: Final = 2
"""How many epochs before the one that ends still have their row: its own, and the one before."""

VALIDATORS: Final[Table[ValidatorSet]] = Table(TABLE, ValidatorSet.encode, parse_set)

Stakes = Mapping[bytes, int]


def begin(state: State, genesis: Genesis) -> State:
    """The sets of epochs 0 and 1."""
    return with_genesis_sets(state, genesis)


def ends(state: State, context: Context) -> bool:
    """Whether this height is the last of its epoch."""
    params = state.get(PARAMS.name, ONLY)
    assert params is not None, "a state that was never given its genesis"
    return is_last_of_epoch(context.height, PARAMS.decode(params).epoch_checkpoints)


def decide(draft: Draft) -> None:
    """At the end of an epoch: who may vote in the one after the next."""
    params = draft.params
    epoch = draft.epoch
    before = draft.row(VALIDATORS, row_key(epoch + 1)).stakes
    held = dict(draft.items(BOND))
    jailed = {key for key, bond in held.items() if bond.jailed}
    after = towards(before, wanted(held, params.bond_min) or before, jailed)
    chosen = ValidatorSet(dict(sorted(after.items())))
    draft.put(VALIDATORS, row_key(epoch + AHEAD), chosen)
    if epoch >= KEPT:
        draft.drop(VALIDATORS, row_key(epoch - KEPT))
    for key, stake in chosen.stakes.items():
        draft.tell(Seat(epoch + AHEAD, key, stake))


def voters(draft: Draft) -> Stakes:
    """Who may vote in the present epoch."""
    return draft.row(VALIDATORS, row_key(draft.epoch)).stakes


def votes_to_come(draft: Draft, account: bytes) -> int:
    """The most stake with which the account may vote in this epoch, or in a later one that is decided."""
    epoch = draft.epoch
    decided = (draft.get(VALIDATORS, row_key(epoch + ahead)) for ahead in range(AHEAD + 1))
    return max(chosen.stakes.get(account, 0) for chosen in decided if chosen is not None)


def wanted(bonds: Mapping[bytes, Bond], least: int) -> Stakes:
    """Who would vote if there were no limit to how fast sets change."""
    eligible = [(key, bond.bonded) for key, bond in bonds.items() if not bond.jailed and bond.bonded >= least]
    return dict(sorted(eligible, key=_largest_first)[:VALIDATORS_MAX])


def budget(before: Stakes) -> int:
    """By how much stake the next set may differ from this one, in micro-credits: at least 1."""
    return max(1, sum(before.values()) // CHURN_PART)


def towards(before: Stakes, aim: Stakes, jailed: Iterable[bytes] = ()) -> Stakes:
    """The next set: `before`, moved as far towards `aim` as its budget allows."""
    limit = budget(before)
    less = {key: stake - aim.get(key, 0) for key, stake in before.items() if stake > aim.get(key, 0)}
    more = {key: stake - before.get(key, 0) for key, stake in aim.items() if stake > before.get(key, 0)}
    going = min(sum(less.values()), max(limit // 2, limit - sum(more.values())))
    coming = limit - going
    after = dict(before)
    first = set(jailed)
    for key in sorted(less, key=lambda key: (key not in first, key)):
        part = min(less[key], going)
        going -= part
        after[key] -= part
        if not after[key]:
            del after[key]
    for key, part in sorted(more.items(), key=lambda one: _largest_first((one[0], aim[one[0]]))):
        part = min(part, coming)
        if not part or (key not in after and len(after) >= VALIDATORS_MAX):
            continue
        coming -= part
        after[key] = after.get(key, 0) + part
    assert after, "a network without validators"
    return after


def _largest_first(one: tuple[bytes, int]) -> tuple[int, bytes]:
    key, stake = one
    return -stake, key
