"""Checking: how often a run is run again, and the draw of which.

A run pays r if its result is taken, and S, its bond, is lost if it is proven wrong. Honest work costs c.
Checked with probability q,

    an honest run earns             r - c
    a made-up one earns      (1 - q) r - q S        so cheating gains nothing from    q >= c / (r + S)  on

(spot checking: Sarmenta, "Sabotage-tolerance mechanisms for volunteer computing systems", 2001). Nobody can
know c; an account that offers for r says that c <= r, so the floor takes c = r:

    floor = ceil(10^6 r / (r + S))        in millionths; r: fuel limit times the worker's own price

With S = 0 that is 10^6: without a bond everything is checked. As the fuel limit is the most that a run can
claim, a claim of more fuel than was used gains no more than r either. A price of 0 counts as 1 micro-credit,
and no rate is below RATE_MIN: work for nothing can be faked too.

Above the floor, history decides (adaptive replication, as BOINC has it): with a streak of n compared runs
that agreed, n < STREAK_MIN are all checked, and then one in n:

    rate = max(floor, RATE_MIN, ceil(10^6 / n))

A streak grows by runs that were compared, and never by those that were taken on trust: else a liar would
make its history of lies. n counts no more runs than the bonds of all of them add up to in S, so nobody makes
a history for nothing. It can still be bought with honest runs, or with two accounts and S for each; the floor
does not depend on it, and is what a patient liar meets. One wrong run, or one that is hidden when it is to be
compared, ends it.

Whether a run is checked is drawn from the beacon of a checkpoint after the one that ordered its commitment:
whoever commits cannot know it (decision 002). Who hides a committed result that is to be compared loses the
bond as if it had been wrong: else liars would open only what is not checked. Nothing is drawn while nobody
stands who could check: who alone pledges so much would be trusted with what is spared, and not lose the rest.

What must always hold: a run's fate is drawn once, whatever becomes of its checkers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from domain.rules import pulse, reputation
from domain.rules.draft import Draft
from domain.rules.records import COIN, DRAW, JOB, SHARD, WINDOW, Fate, Job, Run, draw_key
from domain.rules.runs import Spot, draw_fate
from domain.rules.terms import has_time_to_check, unit
from domain.rules.waiting import Standing, forget, in_turn
from ledger.cid import Cid

PPM: Final = 1_000_000

STREAK_MIN: Final = 10
"""Compared runs before any is taken on trust."""

RATE_MIN: Final = 10_000
"""Millionths: one run in a hundred is checked whatever the bond."""

COINS_MAX: Final = 4096
"""Runs looked at in one close, and mostly drawn for: some 100 ms."""


def floor(pay: int, bond: int) -> int:
    """Millionths, rounded up: how often a run that pays `pay` must be checked, if `bond` is at stake."""
    pay = max(1, pay)
    return max(RATE_MIN, -(-PPM * pay // (pay + bond)))


def by_history(streak: int) -> int:
    """Millionths, rounded up: how often a run after so many is checked, whatever is at stake."""
    return PPM if streak < STREAK_MIN else max(RATE_MIN, -(-PPM // streak))


def rate(streak: int, pay: int, bond: int) -> int:
    return max(floor(pay, bond), by_history(streak))


def draw_fates(draft: Draft, standing: Standing) -> bool:
    """Draw, for every run that committed before this beacon was known, whether it is checked; of every job
    one in turn. True when some are left for the next close."""
    rows = draft.items(COIN)
    since = {key: row for key, row in rows if is_unforeseen(row, draft.context.height)}
    turns, drawn = in_turn(since, draft.context.beacon), 0
    for _ in range(COINS_MAX):
        if not turns:
            break
        keys = turns.popleft()
        key = keys.pop()
        id = Cid(key[:-2])
        spot = Spot(id, draft.row(JOB, id), int.from_bytes(key[-2:], "big"))
        if not _is_decidable(draft, spot.job, standing):
            continue
        if keys:
            turns.append(keys)
        drawn += _draw_one(draft, spot, since[key], standing)
    return len(since) < len(rows) or (drawn > 0 and bool(turns))


def _is_decidable(draft: Draft, job: Job, standing: Standing, worker: Iterable[bytes] = ()) -> bool:
    """Whether somebody stands who could check, and there is time for it: while there is not, nothing is taken
    on trust either. Without a bond nothing ever is."""
    return not job.bond or (has_time_to_check(job, draft.time) and standing.could_check(job, worker))


def is_unforeseen(since: bytes, height: int) -> bool:
    """Whether the beacon of this height is younger than what was ordered at `since`."""
    return int.from_bytes(since, "big") < height


def _draw_one(draft: Draft, spot: Spot, since: bytes, standing: Standing) -> bool:
    runs = draft.row(SHARD, spot.key).runs
    [(attempt, run)] = [(attempt, run) for attempt, run in enumerate(runs) if run.is_live]
    if not _is_decidable(draft, spot.job, standing, [run.worker]):
        return False
    if is_drawn(draft.context.beacon, spot.key, attempt, rate_of(draft, spot, run)):
        draft.drop(COIN, spot.key)
        draw_fate(draft, spot, Fate.CHECKED)
        draft.put(DRAW, draw_key(spot.job, spot.id, spot.shard), since)
    else:
        forget(draft, spot)
        draw_fate(draft, spot, Fate.TRUSTED)
        draft.put(WINDOW, spot.key, b"")
    pulse.stir(draft)
    return True


def rate_of(draft: Draft, spot: Spot, run: Run) -> int:
    pay = unit(spot.job.fuel, run.price)
    return rate(reputation.history(reputation.standing_of(draft, run.worker), run.bond), pay, run.bond)


def is_drawn(beacon: bytes, spot: bytes, attempt: int, rate: int) -> bool:
    """Whether the beacon picks this run for a check."""
    seed = hashlib.sha256(b"check" + beacon + spot + bytes((attempt,))).digest()
    return int.from_bytes(seed, "big") % PPM < rate
