"""How far a job is: its counts, its place in the queue, and its end.

What must always hold, for every job that has rows:
    held  == share * (shards not ended)         so escrow is never overspent
    it is in `queue` only while it runs and has an open shard
    it is in the agenda once: at its deadline while it runs, at its last moment after that
    it has at least one shard that has not ended
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from domain import effects
from domain.effects import JobIs
from domain.rules import accounts, agenda, packed, pulse
from domain.rules.draft import Draft
from domain.rules.records import (
    JOB,
    ONLY,
    QUEUE,
    SUPPLY,
    TALLY,
    Job,
    JobState,
    Tally,
    queue_key,
    queue_row,
)
from domain.rules.terms import escrow_of, last_moment, share_of
from ledger.cid import Cid

WORDS: Final[dict[int, effects.JobState]] = {
    JobState.RUNNING: "running",
    JobState.CANCELLED: "cancelled",
    JobState.EXPIRED: "expired",
}
ENDINGS: Final[dict[int, effects.ShardState]] = {
    JobState.CANCELLED: "cancelled",
    JobState.EXPIRED: "expired",
}
"""How a shard ends that a job has given up."""


def write(draft: Draft, id: Cid, job: Job, tally: Tally) -> None:
    draft.put(TALLY, id, tally)
    draft.stands("job", id, as_effect(id, job, tally, WORDS[tally.state]))


def as_effect(id: Cid, job: Job, tally: Tally, state: effects.JobState) -> JobIs:
    return JobIs(
        id,
        job.submitter,
        state,
        job.spec,
        job.count,
        tally.settled,
        tally.failed,
        escrow_of(job),
        tally.spent,
        job.price,
        job.fuel,
        job.submitted,
        job.deadline,
        job.checks,
        job.bond,
    )


def has_open(job: Job, tally: Tally) -> bool:
    return tally.state == JobState.RUNNING and (tally.cursor < job.shards or bool(tally.reopened))


def requeue(draft: Draft, id: Cid, job: Job, tally: Tally) -> None:
    """Stand in the queue exactly when there is an open shard."""
    if has_open(job, tally):
        draft.put(QUEUE, queue_key(job, id), queue_row(job))
        pulse.stir(draft)
    else:
        draft.drop(QUEUE, queue_key(job, id))


def reopen(draft: Draft, id: Cid, job: Job, shard: int) -> None:
    """A shard that was leased is open again."""
    tally = draft.row(TALLY, id)
    reopened = packed.with_item(tally.reopened, shard.to_bytes(2, "big"))
    tally = replace(tally, reopened=reopened)
    draft.put(TALLY, id, tally)
    requeue(draft, id, job, tally)


def shard_ended(draft: Draft, id: Cid, job: Job, ending: effects.ShardState, paid: int) -> None:
    """Count a shard's end and give back what its share held beyond what was `paid` for it."""
    tally = draft.row(TALLY, id)
    held = share_of(job)
    assert paid <= held <= tally.held, f"{paid} paid out of {held}, of {tally.held} that {id} holds"
    accounts.give_back(draft, job.submitter, held - paid)
    after = replace(
        tally,
        live=tally.live - 1,
        settled=tally.settled + (ending == "settled"),
        failed=tally.failed + (ending == "failed"),
        held=tally.held - held,
        spent=tally.spent + paid,
    )
    write(draft, id, job, after)


def conclude(draft: Draft, id: Cid, job: Job) -> None:
    """End the job if nothing of it is left."""
    tally = draft.row(TALLY, id)
    if tally.live or tally.cursor < job.shards:
        return
    running = tally.state == JobState.RUNNING
    assert tally.held == 0, f"{id} ends with {tally.held} still held"
    assert not tally.reopened, f"{id} ends with an open shard"
    assert not running or tally.settled + tally.failed == job.count, f"{id} lost count of its shards"
    agenda.strike(draft, job.deadline if running else last_moment(job), agenda.JOB, id)
    draft.drop(QUEUE, queue_key(job, id))
    draft.drop(JOB, id)
    draft.drop(TALLY, id)
    draft.put(SUPPLY, ONLY, replace(draft.supply, jobs=draft.supply.jobs - 1))
    draft.stands("job", id, as_effect(id, job, tally, "done" if running else WORDS[tally.state]))
