"""What a job's terms come to: its escrow, and its last moments.

    unit     ceil(fuel limit * highest price / 10^9): the most that one run can cost
    share    what escrow holds for one shard: a unit for each run that may be paid, 3 when results may be
             checked (as many as agree in a dispute), 1 when not
    paid     floor(fuel used * the worker's own price / 10^9) for a run

Charges round up and payouts round down, so a share always suffices; what is left goes back.

    window   a lease, or at least REVEAL_MIN_MS where silence costs a bond: the time to reveal

A lease of work is given only while a whole one fits before the deadline. At the deadline, shards without a
committed run end. What had committed in time still gets a checker, the time to reveal and, in a dispute, the
same once more: two leases and two windows. Then everything ends.
"""

from __future__ import annotations

from typing import Final

from domain.rules.records import Job

FUEL_PER_PRICE: Final = 1_000_000_000
"""Prices are for one Gfuel."""

RUNS_CHECKED: Final = 3
RUNS_UNCHECKED: Final = 1
STAGES_AFTER_DEADLINE: Final = 2

REVEAL_MIN_MS: Final = 300_000
"""Of ledger time, whatever the lease, where a bond is lost by not revealing: a node that starts anew, or a
laptop whose lid was shut for two minutes, is back by then and has caught up. What it costs: who compares its
result with one that is hidden waits as long."""

REVEAL_MIN_CHECKPOINTS: Final = 4
"""Of the same time, because ledger time jumps when a network that stood still goes on: one checkpoint to hear
of it, one to be heard in, and as many again."""


def unit(fuel: int, price: int) -> int:
    """Micro-credits, rounded up."""
    return -(-fuel * price // FUEL_PER_PRICE)


def payment(fuel: int, price: int) -> int:
    """Micro-credits, rounded down."""
    return fuel * price // FUEL_PER_PRICE


def share(fuel: int, price: int, checks: int) -> int:
    """Micro-credits that escrow holds for one shard until it ends."""
    return unit(fuel, price) * (RUNS_CHECKED if checks else RUNS_UNCHECKED)


def escrow(shards: int, fuel: int, price: int, checks: int) -> int:
    """Micro-credits that submitting such a job takes out of the free balance."""
    return shards * share(fuel, price, checks)


def share_of(job: Job) -> int:
    return share(job.fuel, job.price, job.checks)


def escrow_of(job: Job) -> int:
    return escrow(job.count, job.fuel, job.price, job.checks)


def window_of(job: Job) -> int:
    """Milliseconds to reveal in, once it may be."""
    return max(job.lease, REVEAL_MIN_MS) if job.bond else job.lease


def last_moment(job: Job) -> int:
    """Ledger time (unix ms) at which whatever is left of a job ends."""
    return job.deadline + STAGES_AFTER_DEADLINE * (job.lease + window_of(job))


def has_time_to_check(job: Job, time: int) -> bool:
    """Whether a lease and then a window fit before the job ends: else who had committed could not reveal."""
    return time + job.lease + window_of(job) <= last_moment(job)
