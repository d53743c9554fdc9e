"""Jobs: submitted with all their escrow, cancelled by their submitter, expired at their deadline.

    running    shards are leased, checked, settled
    cancelled  by the submitter      ) shards without a committed run end and are refunded at once; the others
    expired    at the deadline       ) go on, unpaid at the latest at the job's last moment
    done       every shard settled or failed

Submitting writes two rows whatever the number of shards: a shard has a row only from its first lease on. A
shard that never was leased has no effect of its own either; it is open while its job runs, and ends with it.
"""

from __future__ import annotations

from msgspec.structs import replace

from domain.payloads import BondedJob, JobCancel, JobSubmit
from domain.rules import accounts, agenda, tallies
from domain.rules.codes import Refused
from domain.rules.draft import Draft
from domain.rules.records import (
    JOB,
    JOBS_MAX,
    ONLY,
    QUEUE,
    SHARD,
    SUPPLY,
    TALLY,
    Job,
    JobState,
    Tally,
    queue_key,
)
from domain.rules.runs import Spot, has_committed
from domain.rules.settlement import end
from domain.rules.terms import escrow_of, last_moment, share_of
from ledger.cid import Cid


def submit(draft: Draft, order: JobSubmit | BondedJob) -> None:
    """Open a job under the id of its event, with escrow for every shard.

    Refused without effect: `lease_too_short`, `deadline_too_soon`, `deadline_too_far`, `jobs_full`,
    `insufficient_funds`.
    """
    _check_times(draft, order)
    supply = draft.supply
    if supply.jobs >= JOBS_MAX:
        raise Refused("jobs_full", f"{JOBS_MAX} jobs are running, and that is as many as there may be")
    job = Job(
        draft.author,
        order.spec,
        order.shards,
        order.fuel,
        order.price,
        order.lease,
        order.deadline,
        order.engine,
        order.checks,
        draft.time,
        order.bond if isinstance(order, BondedJob) else 0,
    )
    held = escrow_of(job)
    accounts.require(accounts.account_of(draft, draft.author), held, f"escrow for {order.shards} shards")
    accounts.hold(draft, draft.author, held)
    id, tally = draft.id, Tally(held=held)
    assert id is not None, "a job is submitted by an event"
    draft.put(JOB, id, job)
    draft.put(SUPPLY, ONLY, replace(supply, jobs=supply.jobs + 1))
    agenda.write(draft, job.deadline, agenda.JOB, id)
    tallies.requeue(draft, id, job, tally)
    tallies.write(draft, id, job, tally)


def _check_times(draft: Draft, order: JobSubmit | BondedJob) -> None:
    params = draft.params
    if order.lease < params.lease_min_ms:
        raise Refused(
            "lease_too_short",
            f"a lease of {order.lease} ms; this network's shortest is {params.lease_min_ms} ms",
        )
    if order.deadline < draft.time + order.lease:
        raise Refused(
            "deadline_too_soon",
            f"the deadline {order.deadline} is less than one lease of {order.lease} ms after {draft.time}, "
            f"the ledger time",
        )
    if order.deadline > draft.time + params.deadline_max_ms:
        raise Refused(
            "deadline_too_far",
            f"the deadline is {order.deadline - draft.time} ms ahead; the most is {params.deadline_max_ms}",
        )


def cancel(draft: Draft, order: JobCancel) -> None:
    """Give up what has no committed run, and refund it.

    Refused without effect: `unknown_job`, `appeal_stands`, `not_yours`, `job_not_running`.
    """
    job = running_job(draft, order.job)
    if job.appeals is not None:
        raise Refused("appeal_stands", f"{order.job} is an appeal")
    if job.submitter != draft.author:
        raise Refused("not_yours", f"job {order.job} was submitted by {job.submitter.hex()}")
    tally = draft.row(TALLY, order.job)
    if tally.state != JobState.RUNNING:
        raise Refused("job_not_running", f"job {order.job} is {tallies.WORDS[tally.state]} already")
    _give_up(draft, order.job, job, JobState.CANCELLED)


def running_job(draft: Draft, id: Cid) -> Job:
    """A job that has not ended. Refused: `unknown_job`."""
    job = draft.get(JOB, id)
    if job is None:
        raise Refused("unknown_job", f"no job {id} is running: it never was, or it has ended")
    return job


def fall_due(draft: Draft, id: Cid) -> int:
    """The job's entry in the agenda has come: its deadline, or after that its last moment.

    Returns how many shards were looked at.
    """
    job, tally = draft.row(JOB, id), draft.row(TALLY, id)
    if tally.state == JobState.RUNNING:
        _give_up(draft, id, job, JobState.EXPIRED)
    else:
        _end_all(draft, id, job, tally.state)
    return job.count


def _give_up(draft: Draft, id: Cid, job: Job, state: int) -> None:
    before = draft.row(TALLY, id)
    never_leased = job.shards - before.cursor
    refund = never_leased * share_of(job)
    accounts.give_back(draft, job.submitter, refund)
    after = replace(before, state=state, cursor=job.shards, reopened=b"", held=before.held - refund)
    tallies.write(draft, id, job, after)
    draft.drop(QUEUE, queue_key(job, id))
    agenda.strike(draft, job.deadline, agenda.JOB, id)
    agenda.write(draft, last_moment(job), agenda.JOB, id)
    for shard in range(job.first, before.cursor):
        row = draft.get(SHARD, Spot(id, job, shard).key)
        if row is not None and not has_committed(row):
            end(draft, Spot(id, job, shard), tallies.ENDINGS[state], reason="job_ended")
    tallies.conclude(draft, id, job)


def _end_all(draft: Draft, id: Cid, job: Job, state: int) -> None:
    for shard in range(job.first, job.shards):
        spot = Spot(id, job, shard)
        if draft.get(SHARD, spot.key) is not None:
            end(draft, spot, tallies.ENDINGS[state], reason="out_of_time")
    tallies.conclude(draft, id, job)
