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


class _Patience:
    """Ends its scope after `left_s` more seconds in which the gate is open, or HOLD_S after it shut."""

    def __init__(self, seconds: float) -> None:
        """Of a gate that is shut."""
        self.scope = trio.CancelScope(deadline=trio.current_time() + HOLD_S)
        self._left_s = seconds

    def opened(self) -> None:
        self.scope.deadline = trio.current_time() + self._left_s

    def shut(self) -> None:
        self._left_s = self.scope.deadline - trio.current_time()
        self.scope.deadline = trio.current_time() + HOLD_S


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
        self._patient: set[_Patience] = set()
        self._open_s = 0.0  # in all, before it was opened last
        self._opened_at = 0.0

    @property
    def open_s(self) -> float:
        """For how long it has been open in all: a clock that stands still while work does."""
        return self._open_s + (trio.current_time() - self._opened_at if self.is_open else 0.0)

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
                self._opened_at = trio.current_time()
                self._opened.set()
                self.changed.advance()
                for patience in self._patient:
                    patience.opened()
            if before != "run" or flinched:
                await self._sandbox.resume()
            return
        self._sandbox.suspend()
        if before == "run":
            self._closed_at = trio.current_time()
            self._open_s += self._closed_at - self._opened_at
            self._opened = trio.Event()
            for patience in self._patient:
                patience.shut()
            _cancel(self._while_open)
        if action == "evict":
            _cancel(self._until_shut)
        if action != before:
            self.changed.advance()
        if action == "evict" and before != "evict":
            await self._sandbox.aclose()  # the template: it holds memory

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
    def patience(self, seconds: float) -> Iterator[None]:
        """The block is cut off after so many seconds in which work was allowed: whoever waits behind a run
        that stands still is not late. Raises Evicted when it is shut for HOLD_S in one go."""
        patience = _Patience(seconds)
        if self.is_open:
            patience.opened()
        self._patient.add(patience)
        try:
            with patience.scope:
                yield
        finally:
            self._patient.discard(patience)
        if patience.scope.cancelled_caught and not self.is_open:
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
