"""One peer of a fetch: what it was asked, how fast it answers, and whether it may be asked more.

The window (questions on their way to one peer) follows how long an answer takes from its question: one more
when that is short, one less when it is long. So a fast peer is never idle between two answers, and a slow one
holds few blocks that others would have brought long ago. The window costs no memory here: what was not read
yet waits at the peer.

Pure; `now` is any clock in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import Final

from ledger.cid import Cid

WINDOW_FIRST: Final = 2
WINDOW_MAX: Final = 16
"""4 MiB on their way: what a link of 30 MB/s carries in a seventh of a second."""

SHORT_S: Final = 0.5
LONG_S: Final = 1.5
"""From question to answer: below SHORT_S the window grows, above LONG_S it shrinks."""

TURN_FIRST_S: Final = 0.25
"""What a block takes at a peer that has sent none yet: 1 MB/s."""

BLOCK_S: Final = 20.0
"""For one block: 256 KiB over the slowest link that we still call useful, 13 KB/s."""

FAULTS_MAX: Final = 3
"""Streams in a row that broke without a block, until a peer is given up."""

REST_S: Final = 0.5
"""After the first of them; twice as long after each further one."""

MISSES_MAX: Final = 8
MISS_PAUSE_S: Final = 0.1
"""Whoever lacked so many blocks in a row is empty: asked for one at a time, so far apart, others rather."""


class Link(Enum):
    """CLOSED  no stream;  OPENING  asked for one;  OPEN  questions may go;  OUT  not to be asked any more."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    OUT = "out"


class Peer:
    """`fetches`: those that may ask it. `asked`: its questions in order, each with the time it was put."""

    def __init__(self, name: str, patience_s: float = BLOCK_S) -> None:
        self.name = name
        self._patience_s = patience_s
        self.link = Link.CLOSED
        self.fetches: set[int] = set()
        self.asked: OrderedDict[Cid, float] = OrderedDict()
        self.window = WINDOW_FIRST
        self.turn_s = TURN_FIRST_S
        self.blocks = 0  # that it gave
        self.out_until = 0.0  # for later fetches
        self.not_before = 0.0  # rests until then
        self.used = 0.0  # when it was last asked or heard
        self._misses = 0  # in a row
        self._faults = 0  # in a row
        self._reading_since: float | None = None  # None: we are busy, and do not read what it may have sent

    # -- what may be asked

    def has_room(self, now: float) -> bool:
        return self.link is Link.OPEN and len(self.asked) < self.window and self.not_before <= now

    @property
    def next_s(self) -> float:
        """How long one more block is likely to take, with those before it."""
        return (len(self.asked) + 1) * self.turn_s

    def ask(self, cid: Cid, now: float) -> None:
        assert len(self.asked) < self.window, f"{self!r} is asked more than its window"
        self.asked[cid] = now
        self.used = now

    # -- what it did

    def opened(self, now: float) -> None:
        self.link, self.used, self._reading_since = Link.OPEN, now, now

    def reading(self, now: float) -> None:
        """We wait for what it sends, from now on."""
        self._reading_since = now

    def answered(self, now: float) -> Cid | None:
        """The oldest question is answered, and we do not read until `reading`. None: it was not asked."""
        if not self.asked:
            return None
        since = self._head_since
        cid, asked = self.asked.popitem(last=False)
        self.turn_s = (3 * self.turn_s + max(0.0, now - since)) / 4
        if now - asked < SHORT_S:
            self.window = min(self.window + 1, WINDOW_MAX)
        elif now - asked > LONG_S:
            self.window = max(self.window - 1, 1)
        self.used, self._reading_since = now, None
        return cid

    def gave(self) -> None:
        self.blocks += 1
        self._misses = self._faults = 0

    def lacked(self, now: float) -> None:
        self._faults = 0
        self._misses += 1
        self.window = min(self.window, WINDOW_FIRST)
        if self.is_empty:
            self.window, self.not_before = 1, now + MISS_PAUSE_S

    def broke(self, now: float, *, weight: int = 1) -> None:
        """Its stream is gone. Too often: it is out."""
        self._faults += weight
        self.closed()
        if self._faults >= FAULTS_MAX:
            self.link = Link.OUT
        else:
            self.not_before = now + REST_S * 2 ** (self._faults - 1)

    def closed(self) -> None:
        """No stream any more, by nobody's fault. Give back what it was asked before."""
        assert not self.asked, f"{self!r} still has questions"
        self.link, self.window, self._reading_since = Link.CLOSED, WINDOW_FIRST, None

    def forgive(self, now: float) -> None:
        """A later fetch may try again who was out for a while."""
        if self.link is Link.OUT and self.out_until <= now:
            self.link, self._faults = Link.CLOSED, 0

    @property
    def is_empty(self) -> bool:
        return self._misses >= MISSES_MAX

    @property
    def is_promising(self) -> bool:
        """Whether it has nothing to do, and likely has what others hold up."""
        return not self.asked and (self.blocks > 0 or not self._misses)

    # -- how long it takes

    @property
    def _head_since(self) -> float:
        """From when on the answer that is due was the only thing it had to do for us."""
        oldest = next(iter(self.asked.values()))
        return oldest if self._reading_since is None else max(oldest, self._reading_since)

    @property
    def stalls_at(self) -> float | None:
        """When patience with the answer that is due ends; None: nothing is due, or it is we who are slow."""
        if self.link is not Link.OPEN or not self.asked or self._reading_since is None:
            return None
        return self._head_since + self._patience_s

    def rest_s(self, now: float) -> float:
        """How long all that it was asked is likely to take still."""
        if not self.asked:
            return 0.0
        late = now - self._head_since
        return max(self.turn_s, late) * len(self.asked)

    def __repr__(self) -> str:
        return f"<Peer {self.name[-8:]} {self.link.value} asked={len(self.asked)}/{self.window}>"
