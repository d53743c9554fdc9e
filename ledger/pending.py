"""The waiting room: genuine events whose parents are not here yet, or whose time has not come.

Nobody is blamed for what waits here. Everything is bounded, because what a stranger signs costs the
stranger nothing:

    a lane    64 events              one lane's gap; longer ones are fetched as ranges, in order
    a peer    256 events or 1 MiB    one answer to a fetch
    in all    10,000 or 32 MiB       some 40 such peers at once
    time      10 minutes             a parent that nobody has by then is fetched by sync, if it exists

Over the bound of a lane or a peer the newcomer is refused; over the bound of all, the peer that holds most
loses its oldest. Either is counted in `dropped`. What a quorum ordered, or a leader would have ordered, is
not up to strangers: only the bound of all holds for it (one cut is at most 2,000 events, 2 MiB). What a
quorum ordered does not grow old either while it is asked for.

Knows events, what each waits for and who sent it. Does not know storage or how to fetch. Time is an
argument (unix milliseconds).

What must always hold: every bound above, after every call; an event is here at most once.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ledger.cid import Cid
from ledger.event import WIRE_SIZE_MAX, Event

PENDING_PER_LANE_MAX: Final = 64
PENDING_PER_PEER_MAX: Final = 256
PENDING_BYTES_PER_PEER_MAX: Final = 1024 * 1024
PENDING_MAX: Final = 10_000
PENDING_BYTES_MAX: Final = 32 * 1024 * 1024
PENDING_MS_MAX: Final = 10 * 60_000
FUTURE_MS_MAX: Final = 2 * 60_000
"""How far ahead of our clock an event's may be: honest clocks drift by less."""

assert PENDING_PER_LANE_MAX < PENDING_PER_PEER_MAX < PENDING_MAX, "one peer could fill the buffer"
assert WIRE_SIZE_MAX < PENDING_BYTES_PER_PEER_MAX < PENDING_BYTES_MAX, "one peer could fill the buffer"


@dataclass(slots=True)
class Waiting:
    event: Event
    peer: str
    since: int
    missing: set[Cid]
    not_before: int  # the moment from which its timestamp is believable


@dataclass(slots=True)
class Share:
    """What one peer has in the buffer, oldest first."""

    ids: OrderedDict[Cid, None] = field(default_factory=OrderedDict)
    size: int = 0


class Pending:
    def __init__(self) -> None:
        self._waiting: OrderedDict[Cid, Waiting] = OrderedDict()  # oldest first
        self._children: dict[Cid, dict[Cid, None]] = {}  # missing parent -> who waits for it
        self._lanes: Counter[tuple[bytes, int]] = Counter()
        self._peers: dict[str, Share] = {}
        self._clock: list[tuple[int, Cid]] = []  # heap of (not_before, id); may name events that left
        self.size = 0
        self.peak = 0
        self.dropped: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, id: object) -> bool:
        return id in self._waiting

    @property
    def of_a_peer(self) -> int:
        """How many that peer has here that has most."""
        return max((len(share.ids) for share in self._peers.values()), default=0)

    def events(self) -> Iterator[Event]:
        """Everything that waits, the oldest first."""
        return (waiting.event for waiting in self._waiting.values())

    def add(
        self, event: Event, *, peer: str, missing: Iterable[Cid], now: int, demanded: bool = False
    ) -> bool:
        """Let an event wait for `missing` parents, and for its own time. False: refused, and counted.

        `demanded`: a quorum ordered it, or a leader would have it ordered.
        """
        if event.id in self._waiting:
            return True
        why = None if demanded else self._refusal(event, self._peers.get(peer))
        if why is not None:
            self.dropped[why] += 1
            return False
        while len(self._waiting) >= PENDING_MAX:
            self._drop_oldest_of(max(self._peers.values(), key=lambda share: len(share.ids)))
        while self.size + len(event.wire) > PENDING_BYTES_MAX:
            self._drop_oldest_of(max(self._peers.values(), key=lambda share: share.size))
        self._enter(Waiting(event, peer, now, set(missing), event.header.ts - FUTURE_MS_MAX), now)
        return True

    def is_wanted(self, id: Cid) -> bool:
        """Whether an event here waits for this one."""
        return id in self._children

    def lacking(self, ids: Iterable[Cid]) -> list[Cid]:
        """What is to be fetched so that these can stand: themselves, or what they wait for, however
        indirectly, and is not here."""
        return [id for id in self.below(ids) if id not in self._waiting]

    def forgive(self, ids: Iterable[Cid], now: int) -> list[Event]:
        """A quorum ordered these: they and what they wait for need not wait for our clock, nor are they old.

        Returns those that now wait for nothing; they leave the buffer.
        """
        ready: list[Event] = []
        for id in self.below(ids):
            if id in self._waiting:
                self._waiting[id].not_before, self._waiting[id].since = 0, now
                self._waiting.move_to_end(id)
                if not self._waiting[id].missing:
                    ready.append(self._leave(id).event)
        return ready

    def below(self, ids: Iterable[Cid]) -> list[Cid]:
        """These ids and all that they wait for, whether it is here or not."""
        found: dict[Cid, None] = {}
        ahead = list(ids)
        while ahead:
            id = ahead.pop()
            if id not in found:
                found[id] = None
                if id in self._waiting:
                    ahead.extend(sorted(self._waiting[id].missing))
        return list(found)

    def admitted(self, id: Cid, now: int) -> list[Event]:
        """`id` is in the DAG now: the events that waited for it alone, which leave the buffer."""
        ready: list[Event] = []
        for child in self._children.pop(id, ()):
            waiting = self._waiting[child]
            waiting.missing.discard(id)
            if not waiting.missing and waiting.not_before <= now:
                ready.append(self._leave(child).event)
        return ready

    def due(self, now: int) -> list[Event]:
        """Events that waited for the clock alone, which leave the buffer. Drops what is too old."""
        self._expire(now)
        ready: list[Event] = []
        while self._clock and self._clock[0][0] <= now:
            _, id = heapq.heappop(self._clock)
            if id in self._waiting and not self._waiting[id].missing:
                ready.append(self._leave(id).event)
        return ready

    def poisoned(self, id: Cid) -> list[Event]:
        """`id` can never be admitted: everything that waits for it, however indirectly, leaves the buffer."""
        lost: list[Event] = []
        roots = [id]
        while roots:
            for child in list(self._children.get(roots.pop(), ())):
                lost.append(self._leave(child).event)
                roots.append(child)
        return lost

    def _refusal(self, event: Event, share: Share | None) -> str | None:
        if self._lanes[event.lane] >= PENDING_PER_LANE_MAX:
            return "lane_full"
        if share is None:
            return None
        if len(share.ids) >= PENDING_PER_PEER_MAX:
            return "peer_full"
        return "peer_full" if share.size + len(event.wire) > PENDING_BYTES_PER_PEER_MAX else None

    def _enter(self, waiting: Waiting, now: int) -> None:
        event = waiting.event
        self._waiting[event.id] = waiting
        for id in waiting.missing:
            self._children.setdefault(id, {})[event.id] = None
        share = self._peers.setdefault(waiting.peer, Share())
        share.ids[event.id] = None
        share.size += len(event.wire)
        self._lanes[event.lane] += 1
        self.size += len(event.wire)
        self.peak = max(self.peak, len(self._waiting))
        if waiting.not_before > now:
            heapq.heappush(self._clock, (waiting.not_before, event.id))
            self._sweep_clock()

    def _leave(self, id: Cid) -> Waiting:
        waiting = self._waiting.pop(id)
        event = waiting.event
        for parent in waiting.missing:
            siblings = self._children[parent]
            del siblings[id]
            if not siblings:
                del self._children[parent]
        share = self._peers[waiting.peer]
        del share.ids[id]
        share.size -= len(event.wire)
        if not share.ids:
            del self._peers[waiting.peer]
        self._lanes[event.lane] -= 1
        if not self._lanes[event.lane]:
            del self._lanes[event.lane]
        self.size -= len(event.wire)
        return waiting

    def _drop_oldest_of(self, share: Share) -> None:
        self._leave(next(iter(share.ids)))
        self.dropped["all_full"] += 1

    def _expire(self, now: int) -> None:
        while self._waiting:
            id, oldest = next(iter(self._waiting.items()))
            if now - oldest.since < PENDING_MS_MAX:
                return
            self._leave(id)
            self.dropped["too_old"] += 1

    def _sweep_clock(self) -> None:
        """The heap may keep names of events that left; never more than the buffer holds."""
        if len(self._clock) > 2 * PENDING_PER_PEER_MAX and len(self._clock) > 2 * len(self._waiting):
            self._clock = [entry for entry in self._clock if entry[1] in self._waiting]
            heapq.heapify(self._clock)

    def __repr__(self) -> str:
        return f"<Pending {len(self)} events, {self.size} bytes, {len(self._peers)} peers, peak {self.peak}>"
