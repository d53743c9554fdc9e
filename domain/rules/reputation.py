"""Reputation: what an account's runs came to. It orders and it is shown; it never votes and never pays.

A beta estimate in parts per million: agreed runs speak for an account, wrong ones three times against it,
lost ones once; two good and one bad are assumed beforehand. Of the mean one standard deviation is taken off,
so that few runs prove little. (A. Jøsang, R. Ismail, "The Beta Reputation System", 2002.)

Beside it the streak: how many runs agreed in a row that could not have been copied. One that is wrong, or
hidden when it was to be compared, ends it. What it is good for is `domain.rules.checking`; and it is good for
as much as was at stake: towards a run with the bond S, the runs of a streak count as many as the bonds that
they had add up to, in S. So runs for nothing, among the accounts of one owner, make no history for others.
"""

from __future__ import annotations

from math import isqrt
from typing import Final

from msgspec.structs import replace

from domain.effects import Reputation
from domain.rules.draft import Draft
from domain.rules.records import STANDING, Standing
from ledger.state import State
from ledger.types import INT63_MAX

PPM: Final = 1_000_000
GOOD_BEFORE: Final = 2
BAD_BEFORE: Final = 1
WRONG_WEIGHT: Final = 3

NEWCOMER: Final = Standing()


def standing_of(draft: Draft, account: bytes) -> Standing:
    return draft.get(STANDING, account) or NEWCOMER


def standing_in(state: State, account: bytes) -> Standing:
    """The same, for whoever looks at a state from outside."""
    row = state.get(STANDING.name, account)
    return NEWCOMER if row is None else STANDING.decode(row)


def score(standing: Standing) -> int:
    """0 .. 1,000,000. A newcomer has 430,964."""
    good = standing.agreed + GOOD_BEFORE
    bad = WRONG_WEIGHT * standing.wrong + standing.lost + BAD_BEFORE
    runs = good + bad
    mean = PPM * good // runs
    deviation = isqrt(PPM * PPM * good * bad // (runs * runs * (runs + 1)))
    return max(0, mean - deviation)


def history(standing: Standing, bond: int) -> int:
    """How long the streak is towards a run that has `bond` at stake."""
    return min(standing.streak, standing.worth // bond) if bond else standing.streak


def agreed(draft: Draft, account: bytes, *, late: bool, bond: int) -> None:
    """A run agreed with another one. `late`: it might have been copied, so it makes no streak."""
    before = standing_of(draft, account)
    after = replace(before, agreed=before.agreed + 1)
    if not late:
        worth = min(before.worth + bond, INT63_MAX)
        after = replace(after, streak=before.streak + 1, worth=worth)
    _write(draft, account, after)


def wrong(draft: Draft, account: bytes) -> None:
    """Two other runs agreed on another result."""
    before = standing_of(draft, account)
    _write(draft, account, replace(before, wrong=before.wrong + 1, streak=0, worth=0))


def lost(draft: Draft, account: bytes, *, hidden: bool = False) -> None:
    """A lease came to nothing. `hidden`: it had a result that was to be compared, and did not show it."""
    before = standing_of(draft, account)
    after = replace(before, lost=before.lost + 1)
    _write(draft, account, replace(after, streak=0, worth=0) if hidden else after)


def _write(draft: Draft, account: bytes, after: Standing) -> None:
    draft.put(STANDING, account, after)
    draft.stands("reputation", account, as_effect(account, after))


def as_effect(account: bytes, after: Standing) -> Reputation:
    return Reputation(account, after.agreed, after.wrong, after.lost, after.streak)
