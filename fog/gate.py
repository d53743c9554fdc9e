"""The gate: whether this node works for others now. Harvesting turns it, the worker goes by it.

    run       work
    suspend   stopped where it is, memory kept, nothing fetched; new leases wait
    evict     what was begun is ended and given back

What others are told follows later: a stop of seconds is nobody's business, and every word of ours is kept by
the whole network for ever. Only a stop of HOLD_S takes the offer back. Why it stopped is told to nobody but
the owner: when somebody is at their keyboard is not for a ledger.

What must always hold: when `turn` to suspend or evict returns, every child is stopped; before the first turn
nothing begins.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeVar

import trio

from domain.compute.sandbox import Sandbox
from fog.pulse import Pulse
from ledger.errors import FogError

T = TypeVar("T")

Action = Literal["run", "suspend", "evict"]

HOLD_S: Final = 30.0
"""Stopped for so long, the offer is taken back, and leases that were not begun are given back."""


class Evicted(FogError):
    """The machine's owner needs it: the lease goes back, which is nobody's fault. The code is public."""

    code = "evicted"


class Gate:
    """`sentence` says why, for people; `changed` beats at each turn."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.action: Action = "suspend"
        self.sentence = "not looked at the machine yet"
        self.changed = Pulse()
        self.turned = trio.Event()  # for the first time
        self._sandbox = sandbox
        self._flinched = False
        self._opened = trio.Event()
        self._closed_at = -math.inf
        self._while_open: set[trio.CancelScope] = set()
        self._until_shut: set[trio.CancelScope] = set()

    @property
    def is_open(self) -> bool:
        return self.action == "run"

    @property
    def closed_s(self) -> float:
        """For how long it has not been open; for ever, once evicted: nobody should count on us."""
        if self.action == "evict":
            return math.inf
        return 0.0 if self.is_open else trio.current_time() - self._closed_at

    @property
    def has_flinched(self) -> bool:
        """Stopped until the next turn, though that may be to go on."""
        return self._flinched

    def flinch(self) -> None:
        """Stop every child until the next turn: something is new, and asking takes longer than a stop."""
        if self.is_open:
            self._sandbox.suspend()
            self._flinched = True

    async def turn(self, action: Action, sentence: str) -> None:
        """Stopping is at once, and comes before everything else."""
        before, self.action, self.sentence = self.action, action, sentence
        self.turned.set()
        flinched, self._flinched = self._flinched, False
        if action == "run":
            if before != "run":
                self._opened.set()
                self.changed.advance()
            if before != "run" or flinched:
                await self._sandbox.resume()
            return
        self._sandbox.suspend()
        if before == "run":
            self._closed_at = trio.current_time()
            self._opened = trio.Event()
            _cancel(self._while_open)
        if action == "evict":
            _cancel(self._until_shut)
        if action != before:
            self.changed.advance()
        if action == "evict" and before != "evict":
            await self._sandbox.aclose()  # the spare child: it holds memory

    async def when_open(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do it while work is allowed; what had to stop in between is done again from its beginning.

        Raises Evicted when that takes longer than HOLD_S to come.
        """
        while True:
            with trio.move_on_after(HOLD_S) as patience:
                while not self.is_open:
                    await self._opened.wait()
            if patience.cancelled_caught:
                raise Evicted(self.sentence)
            with self._scope(self._while_open):
                return await act()

    @contextmanager
    def until_shut(self) -> Iterator[None]:
        """The block is ended when work is evicted. Raises Evicted then."""
        with self._scope(self._until_shut) as scope:
            if self.action == "evict":
                scope.cancel()
            yield
        if scope.cancelled_caught:
            raise Evicted(self.sentence)

    @contextmanager
    def _scope(self, among: set[trio.CancelScope]) -> Iterator[trio.CancelScope]:
        scope = trio.CancelScope()
        among.add(scope)
        try:
            with scope:
                yield scope
        finally:
            among.discard(scope)

    def __repr__(self) -> str:
        return f"<Gate {self.action}: {self.sentence}>"


def _cancel(scopes: set[trio.CancelScope]) -> None:
    for scope in tuple(scopes):
        scope.cancel()
