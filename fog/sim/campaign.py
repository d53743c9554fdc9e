"""A campaign: many seeds, each in a run of its own, shared by a few processes.

Knows plans and reports. What must always hold: the reports are those of the seeds run one by one, and in the
order of the seeds.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from fog.sim.plan import HOUR_MS, Plan
from fog.sim.world import Report, simulate

PROCESSES: Final = 2
SHARE: Final = 4
"""Seeds handed to a process at once."""


@dataclass(frozen=True)
class Outcome:
    """A report, and the CPU time that it cost (ms of the process)."""

    report: Report
    cpu_ms: int


def campaign(plans: Iterable[Plan], *, processes: int = PROCESSES) -> Iterator[Outcome]:
    """The outcomes, in the order of the plans, as they come."""
    if processes == 1:
        yield from map(run, plans)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(run, plans, chunksize=SHARE)


def run(plan: Plan) -> Outcome:
    begun = time.process_time_ns()
    try:
        report = simulate(plan)
    except Exception as error:
        error.add_note(f"again: {plan.command}")
        raise
    return Outcome(report, (time.process_time_ns() - begun) // 1_000_000)


def hours_per_minute(virtual_ms: int, cpu_ms: int) -> float:
    """Simulated hours for each minute of CPU time, to hundredths."""
    return round(virtual_ms * 60_000 / (HOUR_MS * max(1, cpu_ms)), 2)
