"""Reputation: what an account's runs came to. It orders and it is shown; it never votes and never pays.

A beta estimate in parts per million: agreed runs speak for an account, wrong ones three times against it,
lost ones once; two good and one bad are assumed beforehand. Of the mean one standard deviation is taken off,
so that few runs prove little. (A. Jøsang, R. Ismail, "The Beta Reputation System", 2002.)
"""

from __future__ import annotations

from math import isqrt
from typing import Final

from msgspec.structs import replace

from domain.effects import Reputation
from domain.rules.draft import Draft
from domain.rules.records import STANDING, Standing

PPM: Final = 1_000_000
GOOD_BEFORE: Final = 2
BAD_BEFORE: Final = 1
WRONG_WEIGHT: Final = 3

NEWCOMER: Final = Standing()


def standing_of(draft: Draft, account: bytes) -> Standing:
    return draft.get(STANDING, account) or NEWCOMER


def score(standing: Standing) -> int:
    """0 .. 1,000,000. A newcomer has 430,964."""
    good = standing.agreed + GOOD_BEFORE
    bad = WRONG_WEIGHT * standing.wrong + standing.lost + BAD_BEFORE
    runs = good + bad
    mean = PPM * good // runs
    deviation = isqrt(PPM * PPM * good * bad // (runs * runs * (runs + 1)))
    return max(0, mean - deviation)


def count(draft: Draft, account: bytes, *, agreed: int = 0, wrong: int = 0, lost: int = 0) -> None:
    """Add to an account's counts."""
    before = standing_of(draft, account)
    after = replace(
        before, agreed=before.agreed + agreed, wrong=before.wrong + wrong, lost=before.lost + lost
    )
    draft.put(STANDING, account, after)
    draft.stands("reputation", account, Reputation(account, after.agreed, after.wrong, after.lost))
