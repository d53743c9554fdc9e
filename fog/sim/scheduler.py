"""Virtual time, random streams, and the trace.

Time is whole milliseconds since the run began. What is due at one moment happens in the order it was asked
for. Nothing waits: the next thing to happen is simply next, so an hour in which nobody speaks costs nothing.

What must always hold: time never goes back; equal runs call the same actions in the same order.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable
from typing import Final, TypeAlias

Action: TypeAlias = Callable[[], None]

ACTIONS_MAX: Final = 3_000_000
"""Actions of one run: a hundred times what a long one takes. More is a loop that feeds itself."""


class Scheduler:
    def __init__(self) -> None:
        self.now = 0  # ms
        self._heap: list[tuple[int, int, Action]] = []
        self._count = 0

    def after(self, ms: int, action: Action) -> None:
        """Do it in so many milliseconds (0: next, after what is due now)."""
        assert ms >= 0, f"{ms} ms from now is in the past"
        self._count += 1
        assert self._count < ACTIONS_MAX, "the run feeds itself"
        heapq.heappush(self._heap, (self.now + ms, self._count, action))

    def run(self, until: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Everything due up to `until`, or until `stop` says so."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heapq.heappop(self._heap)
            action()
            if stop():
                return
        self.now = max(self.now, until)

    def __repr__(self) -> str:
        return f"<Scheduler now={self.now} waiting={len(self._heap)} done={self._count - len(self._heap)}>"


class Trace:
    """A running hash of what happened. It forgets all but the last few lines, which a report shows."""

    def __init__(self, scheduler: Scheduler, *, keep: int = 20) -> None:
        self._scheduler = scheduler
        self._hash = hashlib.sha256()
        self._keep = keep
        self.last: list[str] = []
        self.count = 0

    def note(self, who: str, what: str, data: bytes = b"") -> None:
        """`who` did or got `what`; `data` is hashed, not kept."""
        mark = hashlib.sha256(data).digest()[:8]
        line = f"{self._scheduler.now} {who} {what} {mark.hex()}"
        self._hash.update(line.encode() + b"\n")
        self.count += 1
        self.last.append(line)
        if len(self.last) > self._keep:
            del self.last[0]

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def stream(seed: int, *purpose: object) -> random.Random:
    """A random stream of its own for each purpose: a new draw in one does not shift the others."""
    label = repr((seed, *purpose)).encode()
    return random.Random(int.from_bytes(hashlib.sha256(label).digest(), "big"))
