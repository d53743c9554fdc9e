"""What a shard needs next, decided from its runs alone, after any of them changed.

    live runs                             what it needs
    none                                  work: it is open again, or ends when its job is being given up
    one, of a job that adapts             the draw of its fate: whether it is to be compared with another
    fewer than must be compared           one more run: it waits to be drawn
    one of them still computing           nothing yet
    all committed, some not revealed      their time to reveal begins with the next fresh clock
    all revealed                          judgement, unless a dispute needs more of them

A shard that needs more runs than it has attempts left fails; so does one that nobody is there to check
(`domain.rules.waiting`).
"""

from __future__ import annotations

from domain.payloads import ATTEMPTS_MAX
from domain.rules import pulse, tallies, waiting
from domain.rules.draft import Draft
from domain.rules.records import (
    COIN,
    DRAW,
    SHARD,
    TALLY,
    WINDOW,
    Checks,
    Fate,
    Job,
    JobState,
    RunState,
    Shard,
    draw_key,
)
from domain.rules.runs import Spot, draw_fate, is_disputed, runs_needed
from domain.rules.settlement import end, judge


def advance(draft: Draft, spot: Spot) -> None:
    """Take the next step of a shard, and conclude its job if that was the last."""
    waiting.forget(draft, spot)
    shard = draft.row(SHARD, spot.key)
    live = shard.live
    if len(live) < runs_needed(shard, spot.job):
        _need_run(draft, spot, shard)
    elif any(run.state == RunState.COMMITTED and not run.until for run in live):
        if all(run.state != RunState.LEASED for run in live):
            draft.put(WINDOW, spot.key, b"")
            pulse.stir(draft)
    elif all(run.state == RunState.REVEALED for run in live):
        judge(draft, spot, shard)
    tallies.conclude(draft, spot.id, spot.job)


def attempts_max(draft: Draft, job: Job, shard: Shard) -> int:
    """Runs after which a shard is given up.

    Where bonds stand against each other it takes as many as there can be: else whoever is drawn and gives
    back would let a liar keep its bond.
    """
    if job.bond and is_disputed(shard):
        return ATTEMPTS_MAX
    return draft.params.attempts_max


def _missing(job: Job, shard: Shard) -> int:
    """How many more runs it takes; when it is open again, at least one."""
    is_open = not shard.live and job.appeals is None
    return 1 if is_open else runs_needed(shard, job) - len(shard.live)


def _need_run(draft: Draft, spot: Spot, shard: Shard) -> None:
    tally = draft.row(TALLY, spot.id)
    if not shard.live and tally.state != JobState.RUNNING:
        end(draft, spot, tallies.ENDINGS[tally.state], reason="job_ended")
    elif len(shard.runs) + _missing(spot.job, shard) > attempts_max(draft, spot.job, shard):
        end(draft, spot, "failed", reason="attempts_exhausted")
    elif not shard.live and spot.job.appeals is None:
        draw_fate(draft, spot, Fate.UNDRAWN)
        tallies.reopen(draft, spot.id, spot.job, spot.shard)
    else:
        now = draft.context.height.to_bytes(8, "big")
        if spot.job.checks == Checks.ADAPTIVE and shard.fate == Fate.UNDRAWN:
            draft.put(COIN, spot.key, now)
        else:
            draft.put(DRAW, draw_key(spot.job, spot.id, spot.shard), now)
        waiting.begin(draft, spot)
        pulse.stir(draft)
