"""One input, one reader, one verdict: took it, refused it by its name, or broke the contract of `target`.

Knows the contract. Does not know where inputs come from.
"""

from __future__ import annotations

import re
import time
import tracemalloc
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from tests.fuzz.target import (
    MEMORY_MAX,
    MEMORY_PER_BYTE,
    MESSAGE_MAX,
    SECONDS_MAX,
    SECONDS_PER_MIB,
    Target,
)

ACCEPTED: Final = "accepted"
SUSPICION_S: Final = 0.1  # by the wall: then the CPU is asked, thrice
_PARTICULARS: Final = re.compile(r"'[^']*'|`[^`]*`|\d+|[0-9a-f]{6,}|b[a-z2-7]{58}")


@dataclass(frozen=True)
class Verdict:
    """`outcome` is `accepted` or a code of refusal; `shape` tells apart the ways to it; `fault` breaks the
    contract, in words."""

    outcome: str
    shape: str = ""
    fault: str | None = None

    @property
    def kind(self) -> str:
        """The fault without its particulars: what two inputs that found the same thing have in common."""
        assert self.fault is not None
        where = self.fault.rpartition("(at ")[2] if "(at " in self.fault else ""
        return _PARTICULARS.sub("", self.fault.partition(":")[0]) + where


def judge(target: Target, data: bytes) -> Verdict:
    """Without memory, which costs: that is `weigh`."""
    start = time.perf_counter()
    verdict = _run(target, data)
    if time.perf_counter() - start > SUSPICION_S and verdict.fault is None:
        return _timed(target, data, verdict)
    return verdict


def _run(target: Target, data: bytes) -> Verdict:
    try:
        again = target.read(data)
    except target.error as error:
        return _refusal(target, error.code, str(error), error.__traceback__)
    except Exception as error:  # noqa: BLE001 - to find these is what all this is for
        return _fault(f"{type(error).__name__}: {str(error)[:200]}", error.__traceback__)
    if again is not None and again != data:
        return Verdict(ACCEPTED, "", "took bytes that are not the encoding of what it understood")
    return Verdict(ACCEPTED)


def _refusal(target: Target, code: str, message: str, trace: TracebackType | None) -> Verdict:
    where = _line(trace)
    if code not in target.codes:
        return Verdict(code, where, f"refused with none of its codes: {code}, {message[:200]} (at {where})")
    if len(message) > MESSAGE_MAX:
        return Verdict(code, where, f"a refusal of {len(message)} characters (at {where})")
    if not message.isprintable():
        return Verdict(code, where, f"a refusal that a terminal would obey: {message[:200]!r} (at {where})")
    return Verdict(code, where + _PARTICULARS.sub("", message[:120]))


def _fault(what: str, trace: TracebackType | None) -> Verdict:
    where = _line(trace)
    return Verdict("fault", where, f"{what} (at {where})")


def _line(trace: TracebackType | None) -> str:
    """File and line of where it was raised."""
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} "


def _timed(target: Target, data: bytes, verdict: Verdict) -> Verdict:
    least = min(_cpu_seconds(target, data) for _ in range(3))
    most = SECONDS_MAX + SECONDS_PER_MIB * len(data) / 2**20
    if least <= most:
        return verdict
    return Verdict(verdict.outcome, verdict.shape, f"{least:.2f} s for {len(data)} bytes, at most {most:.2f}")


def _cpu_seconds(target: Target, data: bytes) -> float:
    start = time.process_time()
    _run(target, data)
    return time.process_time() - start


def weigh(target: Target, data: bytes) -> Verdict:
    """`judge`, and what the reader held in memory at its fullest."""
    tracemalloc.start()
    try:
        verdict = judge(target, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    most = MEMORY_MAX + MEMORY_PER_BYTE * len(data)
    if peak > most and verdict.fault is None:
        return Verdict(
            verdict.outcome, verdict.shape, f"{peak} bytes of memory for {len(data)}, at most {most}"
        )
    return verdict
