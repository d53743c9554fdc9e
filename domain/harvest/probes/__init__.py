"""Who asks a machine what it is like: one small adapter a source.

    sysfs     Linux: batteries, chargers, temperatures     kernel    Linux: memory, pressure, use of cores

A probe tells what it can and leaves the rest None. Where a whole source is missing it raises ProbeFailed with
what was missing. Roots, runners and addresses are arguments, so that a test hands in what a real device said.

Knows formats. Does not merge, wait or judge: `domain.harvest.machine` and `policy` do.
"""

from __future__ import annotations

from typing import Protocol

from domain.harvest.readings import Readings
from ledger.errors import RemoteError


class ProbeFailed(RemoteError):
    """A source did not answer, or not in its format; the message is for the machine's owner."""

    code = "probe_failed"


class Probe(Protocol):
    """One source of readings."""

    @property
    def name(self) -> str:
        """For people: what is asked."""

    def read(self) -> Readings:
        """What it says now; may block. Raises ProbeFailed or OSError."""
