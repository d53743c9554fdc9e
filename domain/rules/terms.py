"""What a job's terms come to: its escrow, and its last moments.

    unit     ceil(fuel limit * highest price / 10^9): the most that one run can cost
    share    what escrow holds for one shard: a unit for each run that may be paid, 3 when results may be
             checked (as many as agree in a dispute), 1 when not
    paid     floor(fuel used * the worker's own price / 10^9) for a run

Charges round up and payouts round down, so a share always suffices; what is left goes back.

A lease of work is given only while a whole one fits before the deadline. At the deadline, shards without a
committed run end. What had committed in time still gets a checker, the time to reveal and, in a dispute, the
same once more: four leases. Then everything ends.
"""

from __future__ import annotations

from typing import Final

from domain.rules.records import Job

FUEL_PER_PRICE: Final = 1_000_000_000
"""Prices are for one Gfuel."""

RUNS_CHECKED: Final = 3
RUNS_UNCHECKED: Final = 1
LEASES_AFTER_DEADLINE: Final = 4


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


def last_moment(job: Job) -> int:
    """Ledger time (unix ms) at which whatever is left of a job ends."""
    return job.deadline + LEASES_AFTER_DEADLINE * job.lease
