"""The end of a checkpoint: what time has run out for, and, with a fresh clock, what is placed.

    1  lapses       whatever the agenda has up to this ledger time: leases, offers, jobs, bonds to release,
                    recoveries, verdicts that nobody appealed, waits in vain for a checker, escrows
    2  heights      whatever the calendar has for this height: escrows past their last one, recoveries past an
                    epoch, how far devices came that were dropped in it
    3  epochs       at the end of one: who may vote in the one after the next, and whose bond waits for that
    4  fates        whether runs that committed before are checked        )
    5  windows      committed runs whose time to reveal begins            ) only at a ready close:
    6  placement    checkers are drawn, work is leased                    ) see `domain.rules.pulse`
    7  pulse        whether the next checkpoint has something to do without waiting for an event

and what was spent on checks in this checkpoint is forgotten.

What must always hold: the work is bounded by LAPSES_MAX, PLACEMENTS_MAX and the indexes' own bounds; what is
left over makes the next close due at once. The end of a job is done whole, so up to SHARDS_MAX may be added;
and a height has at most ENDS_PER_CLOSE_MAX escrows, and recoveries of one checkpoint's events.
"""

from __future__ import annotations

from typing import Final

from domain.rules import (
    agenda,
    appeals,
    checking,
    checks,
    epochs,
    escrows,
    former,
    identity,
    jobs,
    offers,
    pledges,
    pulse,
    reputation,
    stake,
    tallies,
)
from domain.rules.agenda import Entry
from domain.rules.draft import Draft
from domain.rules.placement import place
from domain.rules.records import COIN, DRAW, IDLE, JOB, QUEUE, SHARD, TALLY, WINDOW, RunState
from domain.rules.runs import Act, Spot, is_short, is_trusted, set_clock_anew, start_clock, turn
from domain.rules.settlement import end
from domain.rules.shards import advance
from domain.rules.waiting import Standing, is_vain
from ledger.cid import Cid
from ledger.execution import Context
from ledger.state import State

LAPSES_MAX: Final = 4096
"""Offers, runs, bonds and shards of ending jobs that are dealt with in one close: under a second, and some
2 MB of effects at most (a store refuses to read a receipt of 16 MiB)."""

HEIGHTS: Final = (escrows.any_ends, identity.any_ripens, former.any_dropped)
"""Whether there is anything for a height."""


def close(state: State, context: Context) -> tuple[State, tuple[bytes, ...]]:
    state, told, more = _lapse(checks.refill(state), context)
    if any(waits(state, context.height) for waits in HEIGHTS):
        draft = Draft(state, context)
        former.settle(draft)
        escrows.expire(draft)
        identity.ripen(draft)
        state, ended = draft.finish()
        told += ended
    if epochs.ends(state, context):
        draft = Draft(state, context)
        stake.hold_voters(draft)
        epochs.decide(draft)
        state, seated = draft.finish()
        told += seated
    fresh = pulse.is_ready(state)
    if fresh:
        draft = Draft(state, context)
        more = checking.draw_fates(draft, Standing(draft)) or more
        _start_windows(draft)
        more = place(draft) or more
        state, placed = draft.finish()
        told += placed
    elif pulse.is_stirred(state):
        more = more or _is_placeable(state)
    return pulse.settle_down(state, context.time + 1 if more else None), told


def due(state: State) -> int | None:
    """Ledger time (unix ms) at which a close has something to do."""
    times = [time for time in (pulse.ready_at(state), agenda.earliest(state)) if time is not None]
    return min(times, default=None)


def _lapse(state: State, context: Context) -> tuple[State, tuple[bytes, ...], bool]:
    first = agenda.earliest(state)
    if first is None or first > context.time:
        return state, (), False
    draft = Draft(state, context)
    standing = Standing(draft)
    done = 0
    while done < LAPSES_MAX:
        entry = agenda.first(draft)
        if entry is None or entry.time > context.time:
            return *draft.finish(), False
        done += _fall_due(draft, entry, standing)
    return *draft.finish(), True


def _fall_due(draft: Draft, entry: Entry, standing: Standing) -> int:
    """Deal with an entry, or with the first of its runs; either is gone from the agenda after that.

    Returns how much work that was, at least 1.
    """
    if entry.kind == agenda.OFFER:
        offers.withdraw(draft, entry.id)
    elif entry.kind == agenda.BOND:
        stake.release(draft, entry)
    elif entry.kind == agenda.RECOVERY:
        identity.take_effect(draft, entry)
    elif entry.kind == agenda.VERDICT:
        appeals.lapse(draft, Cid(entry.id), agenda.first_run(draft, entry)[0])
    elif entry.kind == agenda.WAIT:
        id = Cid(entry.id)
        _wait_on(draft, Spot(id, draft.row(JOB, id), agenda.first_run(draft, entry)[0]), standing)
    elif entry.kind == agenda.ESCROW:
        escrows.lapse(draft, entry)
        return LAPSES_MAX // escrows.ENDS_PER_CLOSE_MAX
    elif entry.kind == agenda.JOB:
        return 1 + jobs.fall_due(draft, Cid(entry.id))
    else:
        id = Cid(entry.id)
        shard, attempt = agenda.first_run(draft, entry)
        _lose(draft, Spot(id, draft.row(JOB, id), shard), attempt)
    return 1


def _lose(draft: Draft, spot: Spot, attempt: int) -> None:
    shard = draft.row(SHARD, spot.key)
    run = shard.runs[attempt]
    if is_short(run, draft.context.height):
        return set_clock_anew(draft, spot, attempt)
    if run.state == RunState.COMMITTED and not is_trusted(shard, spot.job):
        turn(draft, spot, attempt, Act.LAPSE, reason="hidden_result", is_kept=True, hidden=1)
        pledges.forfeit(draft, spot, attempt, run, "hidden_result")
        reputation.lost(draft, run.worker, hidden=True)
    else:
        turn(draft, spot, attempt, Act.LAPSE, reason="out_of_time")
        reputation.lost(draft, run.worker)
    return advance(draft, spot)


def _wait_on(draft: Draft, spot: Spot, standing: Standing) -> None:
    if is_vain(draft, spot, standing, appeals.parties(draft, spot.job, spot.shard)):
        state = draft.row(TALLY, spot.id).state
        end(draft, spot, tallies.ENDINGS.get(state, "failed"), reason="no_checker")
        tallies.conclude(draft, spot.id, spot.job)


def _start_windows(draft: Draft) -> None:
    for key, _ in draft.items(WINDOW):
        id = Cid(key[:-2])
        start_clock(draft, Spot(id, draft.row(JOB, id), int.from_bytes(key[-2:], "big")))
        draft.drop(WINDOW, key)


def _is_placeable(state: State) -> bool:
    """Whether a ready close could have something to do: a cheap look, and a wrong yes is harmless."""
    waiting = set(state.tables())
    return not waiting.isdisjoint({WINDOW.name, COIN.name}) or (
        IDLE.name in waiting and (QUEUE.name in waiting or DRAW.name in waiting)
    )
