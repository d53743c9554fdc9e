"""What the API must be told by a running node: the part of an answer that is not in any table.

`LiveView` is implemented by `fog.live`. `Pulse` is the part of it that wakes the streams, ready to use.

Everything here is this node's own view: two honest nodes may answer differently. Methods that are not async
are called on the event loop for every request: they answer at once, from what is already in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec
import trio

from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.proofs import Certified
from ledger.state import State

NotFinal = Literal["pending", "tentative"]
"""pending: here, but something it builds on is not.  tentative: admitted, and in no final checkpoint yet."""


class NodeStatus(msgspec.Struct, frozen=True):
    """One node, now.

    height, time   of its last final checkpoint (time in unix ms; 0 and genesis' time before the first)
    finality       `solo`, `anchored` or `shared`;  must_be_up  how many validators finality needs
    mode           what it keeps: `archive`, `full` or `light`
    lending        what its worker does: `off`, `idle`, `running` or `paused`;  reason  why, for people
    """

    version: str
    network: str
    net: Cid
    account: bytes
    device: bytes
    height: int
    time: int
    finality: str
    validators: int
    must_be_up: int
    is_validator: bool
    peers: int
    pending: int
    tentative: int
    lending: str
    reason: str = ""
    mode: str = "archive"


class HarvestChange(msgspec.Struct, frozen=True):
    """Another answer than before, from `at` (unix ms) on."""

    at: int
    action: str
    code: str
    sentence: str


class Harvest(msgspec.Struct, frozen=True):
    """When this machine works for others: the present answer, and what it was given for.

    action    `run`, `suspend` (stopped, memory kept) or `evict` (ended, given back)
    code      of the reason;  sentence  the same for people;  remedy  what its owner can do; empty: wait
    also      codes of what else stands in the way
    at        unix ms of the look that it rests on
    until     unix ms at which the answer may change by itself; None: nothing tells
    paused    unix ms until which the owner paused it; 0: not paused
    profile   the class of machine whose limits hold; empty: the machine is not watched
    readings  what is known of the machine;  unknown  what is not;  failures  why not, by who was asked
    """

    action: str
    code: str
    sentence: str
    remedy: str
    also: tuple[str, ...]
    at: int
    until: int | None
    paused: int
    profile: str
    readings: Mapping[str, int | bool]
    unknown: tuple[str, ...]
    failures: Mapping[str, str]


class Peer(msgspec.Struct, frozen=True):
    """A neighbour. `since` is when we connected, unix ms."""

    id: str
    address: str
    since: int
    direction: Literal["in", "out"]


class Waiting(msgspec.Struct, frozen=True):
    """An event that is not final. `signed` is its author's clock, unix ms."""

    event: Cid
    kind: str
    account: bytes
    signed: int
    status: NotFinal


class FinalState(msgspec.Struct, frozen=True):
    """The rows after one final checkpoint, and the proof that it is final."""

    checkpoint: Checkpoint
    final: Certified
    state: State


class LiveView(Protocol):
    def status(self) -> NodeStatus: ...

    def harvest(self) -> tuple[Harvest, Sequence[HarvestChange]] | None:
        """What its worker may do now, and the changes before, the newest last; None: it lends nothing."""
        ...

    def peers(self) -> Sequence[Peer]:
        """Connected now, in any order."""
        ...

    async def tentative_balance(self, account: bytes) -> tuple[int, int, int] | None:
        """(free, escrow, pledged) micro-credits if all events here became final now; None: not known yet."""
        ...

    def event_status(self, event: Cid) -> Waiting | None:
        """An event that is here and not final."""
        ...

    def waiting(self, limit: int) -> Sequence[Waiting]:
        """Events that are here and not final, the latest first, at most `limit`."""
        ...

    def counters(self) -> Mapping[str, int]:
        """Dotted names (`rejected.bad_schema`, `pending.peak`) and their numbers."""
        ...

    async def note(self, *, cosigned: bool) -> bytes | None:
        """A signed note (`ledger.notes`), None when there is none.

        Of the last final checkpoint, by this validator; or the newest that enough witnesses cosigned.
        """
        ...

    async def final_state(self) -> FinalState | None:
        """Of the last final checkpoint; None before the first."""
        ...

    async def folded_past(self, height: int) -> int:
        """Wait until the read models hold a checkpoint above `height`; which one they hold then."""
        ...


class Pulse:
    """Tells any number of waiters how far the read models are. One number: nobody can fall behind."""

    def __init__(self, height: int = 0) -> None:
        self._height = height
        self._moved = trio.Event()

    def beat(self, height: int) -> None:
        """After the runner folded up to `height`. Lower ones (a rebuild under way) are told as well."""
        self._height = height
        self._moved.set()
        self._moved = trio.Event()

    async def folded_past(self, height: int) -> int:
        while self._height <= height:
            await self._moved.wait()
        return self._height

    def __repr__(self) -> str:
        return f"<Pulse height={self._height} waiting={self._moved.statistics().tasks_waiting}>"
