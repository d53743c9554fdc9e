"""Admission: from wire bytes to events that stand in the DAG, ready to be stored in one batch.

    parse      every check that needs the bytes alone, the signature not yet
    skip       what is here already (so a repeated event costs no signature check)
    verify     the signature
    wait       parents not here, or a timestamp from the future: the pending buffer
    stand      the structural check; then whatever waited for this event stands as well

Holds in memory what the hot path needs of the DAG: lane heads, the unordered part, places of recent events,
tips. Everything else is asked of the store; nothing is written here. The caller stores what a `Batch` says,
and says so (`stored`), or rebuilds this object from the store when that fails.

Bounds, beside those of `ledger.pending`: see the constants. Lane heads are one entry a lane that is in the
store, so they grow with the ledger and not with what a peer sends.

What must always hold:
    a place that was needed for a batch, or is of one of its events, is in memory until the batch is stored
    an event stands only after all its parents; `unordered` is in the order they came to stand
    a lane's head is the last of the contiguous chain seen first; all that is not on it is a rival
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ledger import event as events
from ledger.allowance import Allowance
from ledger.cid import Cid
from ledger.dag import check_structure, place_of
from ledger.errors import RemoteError
from ledger.event import PARENTS_MAX, Event
from ledger.forks import ForkProof
from ledger.heads import Head, Lane, Place
from ledger.order import Node, node_of
from ledger.pending import FUTURE_MS_MAX, Pending
from ledger.rivals import KEPT_MAX, Rivals, place_key
from ledger.store import Store
from ledger.verifying import count_signed
from ledger.warrants import Warrant

INGEST_MAX: Final = 2_048
"""Wires in one call, be they a chain or rivals: three transactions at most, and 0.3 s of work, during which
nobody else is served."""

PLACES_MAX: Final = 50_000
"""Places in memory, about 15 MB: what parents refer to is nearly always recent. While a batch is judged none
is let go: those of the batch are not in the store, and reading some would push out others. For so long
there are 20,000 more, or 120,000 (36 MB) if everything that may wait comes to stand at once."""

EVENT_BYTES_MAX: Final = 16 * 1024 * 1024
"""Unordered events kept parsed: some cuts' worth. Those beyond are read back from the store."""

UNORDERED_MAX: Final = 200_000
"""Events waiting for an order, about 100 MB of index: an island of 50,000 fits, a runaway author does not."""

UNORDERED_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Bytes of all of these together, which a start reads again: 20 KiB for each event of that island, of which
most have half a KiB."""

WARRANTS_MAX: Final = 8
"""Made of the lies in one call: a peer that sends one is dropped, so more are of no use."""

RIVALS_PER_LANE_MAX: Final = 64
"""Rivals kept of a forked lane; more only if what waits refers to them, or a leader would have them ordered
(`ledger.allowance`). What those left out prove is told all the same: which of them costs somebody a bond,
only the rules know."""

TIPS_MAX: Final = 256
"""Tips remembered, to be named as parents of our own events."""


@dataclass(slots=True)
class Batch:
    """What one call made of its bytes.

    `own` are the events that it brought, as opposed to those that waited for them: what is wrong with one
    that waited is not this peer's fault. `admitted`, parents first, is `chain` (events that extend their
    lanes) and `rivals` together; both are to be stored. Before them `ancestors`: ordered at or below the
    snapshot that the store began from, and named by an event here. `forks` are to be stored; `unkept`, of
    rivals that found no room (the ids in `left_out`), are only to be told.
    """

    admitted: list[Event] = field(default_factory=list)
    ancestors: list[Event] = field(default_factory=list)
    chain: list[Event] = field(default_factory=list)
    rivals: list[Event] = field(default_factory=list)
    unproven: list[Event] = field(default_factory=list)
    forks: list[ForkProof] = field(default_factory=list)
    unkept: list[ForkProof] = field(default_factory=list)
    left_out: set[Cid] = field(default_factory=set)
    waiting: list[Event] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    warrants: list[Warrant] = field(default_factory=list)
    own: set[Cid] = field(default_factory=set)
    pruned: int = 0  # came without their bodies, and are dropped
    unjudged: int = 0  # of those that came, do not stand


class Admission:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.net = store.genesis.net
        self.pending = Pending()
        self.counts: Counter[str] = Counter()
        self.heads: dict[Lane, Head] = store.heads()
        self.unordered: dict[Cid, Node] = {}
        self._unordered_size = 0
        self.demanded: set[Cid] = set()  # what a certified checkpoint needs
        self.allowance = Allowance()  # what a proposal needs
        # Ordered dicts: the first key of a plain one, whose first keys were deleted, is found by a search.
        self._places: OrderedDict[Cid, Place] = OrderedDict()
        self._events: OrderedDict[Cid, Event] = OrderedDict()
        self._events_size = 0
        self._tips: dict[Cid, Lane] = {}  # oldest first
        self._rivals: Counter[Lane] = Counter()
        self._late_rivals = Rivals()
        self.forked: set[Lane] = set()
        for proof in store.fork_proofs():
            header = proof.header(self.net)
            self.forked.add((header.by, header.lane))
        if store.base is not None:
            self.forked |= store.closed_below() | store.rival_lanes()
        self._recall()

    # -- from bytes to standing -----------------------------------------------------------------------------

    def take(self, wires: Sequence[bytes], *, peer: str, now: int, asked: bool = False) -> Batch:
        """Judge bytes from a peer. Memory moves on at once; the caller must store the batch."""
        assert len(wires) <= INGEST_MAX, f"{len(wires)} wires in one call, at most {INGEST_MAX}"
        batch = Batch()
        parsed = self._parsed(wires, batch, asked)
        fresh = self._unknown(parsed)
        old = self._ordered_below(fresh)
        fresh = self._verified([event for event in fresh if event.id not in old], batch)
        self._fetch_places(self._outside(fresh))
        batch.own.update(event.id for event in fresh)
        for event in old.values():
            self._recognise(event, batch, peer, now)
        for event in fresh:
            self._settle(event, batch, peer, now)
        for event in self.pending.due(now):
            self._settle(event, batch, peer, now)
        self._prove(batch)
        for code, _ in batch.rejected:
            self.counts[f"rejected.{code}"] += 1
        batch.unjudged = batch.pruned + self._unjudged(parsed, batch)
        return batch

    def _unjudged(self, parsed: Iterable[Event], batch: Batch) -> int:
        """How many of these wait, or found no room to: nobody here knows yet whether they may stand."""
        stands = {event.id for event in batch.admitted}
        gone = sum(id not in stands and id not in self.pending for id in batch.own)
        return gone + sum(event.id in self.pending for event in parsed)

    def stand(self, event: Event, batch: Batch) -> None:
        """Let an event stand whose parents do. Raises RemoteError when its structure is wrong."""
        node = self._checked(event)
        if self._is_on_chain(event):
            self.heads[event.lane] = (event.header.seq, event.id)
            batch.chain.append(event)
            if event.lane in self.forked:
                self._prove_against(self._late_rivals.at(event), event, batch)
        else:
            self._stand_as_rival(event, batch)
        batch.admitted.append(event)
        self._remember(event, node)

    def _checked(self, event: Event) -> Node:
        node = node_of(event)
        self._fetch_places(node.parents)
        try:
            check_structure(event, self._places)
        except RemoteError:
            self.store.require_places({id: self._places[id] for id in node.parents})
            raise
        return node

    def demand(self, ids: Iterable[Cid], *, now: int) -> Batch:
        """A certified checkpoint needs these: limits and clocks that keep strangers out do not hold for them,
        nor for what they wait for.

        The caller must store the batch: what only waited for the clock stands now.
        """
        self.demanded = set(self.pending.below(ids))
        batch = Batch()
        for event in self.pending.forgive(self.demanded, now):
            self._settle(event, batch, "", now)
        self._prove(batch)
        return batch

    def make_room(self, ids: Iterable[Cid], slot: tuple[int, int]) -> list[Cid]:
        """What a leader proposes in this (epoch, slot) needs these: what to fetch for them. Limits that keep
        strangers out hold for them only beyond the allowance of a slot. The clock holds: what is dated far
        ahead is not voted for before its time."""
        below = self.pending.below(ids)
        self.allowance.begin(slot)
        self.allowance.allow(below)
        return [id for id in below if id not in self.pending]

    def stands(self, id: Cid) -> bool:
        """Whether this one came to stand lately: without asking the store."""
        return id in self.unordered or id in self._places

    def missing(self, ids: Iterable[Cid]) -> list[Cid]:
        """Those that do not stand here."""
        unsure = [id for id in ids if id not in self.unordered and id not in self._places]
        known = self.store.places(unsure) if unsure else {}
        return [id for id in unsure if id not in known]

    def _parsed(self, wires: Sequence[bytes], batch: Batch, asked: bool) -> list[Event]:
        """Events without repeats, parents before children."""
        parsed: dict[Cid, Event] = {}
        for wire in wires:
            try:
                event = events.parse(wire, net=self.net, verify_signature=False)
                if event.body is None and not asked and not self._is_awaited(event):
                    raise RemoteError(f"{event} came without its body", code="bad_body")
            except RemoteError as error:
                batch.rejected.append((error.code, str(error)))
            else:
                parsed[event.id] = event
        return sorted(parsed.values(), key=_lc)

    def _unknown(self, parsed: list[Event]) -> list[Event]:
        """Those that neither stand here nor wait here."""
        unsure = [event.id for event in parsed if not self._is_surely_new(event)]
        known = {id for id in unsure if id in self.pending or id in self.unordered or id in self._places}
        known.update(self.store.places([id for id in unsure if id not in known]) if unsure else ())
        self.counts["duplicate"] += len(known)
        return [event for event in parsed if event.id not in known]

    def _is_awaited(self, event: Event) -> bool:
        """Whether somebody here needs it: an event that waits, a cut, or whoever goes on from that head."""
        is_head = self.heads.get(event.lane) == (event.header.seq, event.id)
        return is_head or self.pending.is_wanted(event.id) or event.id in self.demanded

    def _ordered_below(self, fresh: Iterable[Event]) -> dict[Cid, Event]:
        """Those that were ordered at or below the snapshot that the store began from."""
        if self.store.base is None:
            return {}
        unsure = {event.id: event for event in fresh if not self._is_surely_new(event)}
        return {id: unsure[id] for id in self.store.ordered_below(unsure)}

    def _recognise(self, event: Event, batch: Batch, peer: str, now: int) -> None:
        """An event that is part of the history below the snapshot. Of one that is named here its place is
        kept; its parents are below the snapshot as well, and nobody needs them."""
        if not self._is_awaited(event):
            self.counts["duplicate"] += 1
            return
        if not events.is_signed(event):
            error = events.bad_signature(event)
            batch.rejected.append((error.code, str(error)))
            return
        batch.ancestors.append(events.without_body(event))
        self.place(event.id, place_of(event))
        for waited in self.pending.admitted(event.id, now):
            self._settle(waited, batch, peer, now)

    def _outside(self, fresh: list[Event]) -> set[Cid]:
        """Parents that are neither in memory nor among these events: one question to the store for all."""
        parents = {parent for event in fresh for parent in event.parents if parent not in self._places}
        return parents.difference(event.id for event in fresh)

    def _is_surely_new(self, event: Event) -> bool:
        """Without asking the store: beyond the head of a lane that never forked there is nothing."""
        lane = event.lane
        head = self.heads.get(lane)
        beyond = head is None or event.header.seq > head[0]
        return beyond and lane not in self.forked and event.id not in self.pending

    def _verified(self, fresh: list[Event], batch: Batch) -> list[Event]:
        """Those before the first bad signature. Judging one takes our own slow check, so a peer that sends
        one has had its turn: the rest of its bytes are not looked at."""
        pruned = sum(event.body is None for event in fresh)
        if pruned:  # asked for, and honestly answered: somebody else may have the bodies
            self.counts["dropped.pruned"] += pruned
            batch.pruned += pruned
            fresh = [event for event in fresh if event.body is not None]
        good = count_signed(fresh)
        if good < len(fresh):
            error = events.bad_signature(fresh[good])
            batch.rejected.append((error.code, str(error)))
            self.counts["dropped.after_bad_signature"] += len(fresh) - good - 1
        return fresh[:good]

    def _settle(self, event: Event, batch: Batch, peer: str, now: int) -> None:
        """Let an event stand, and all that waited for it; or wait; or be refused."""
        ready = [event]
        while ready:
            event = ready.pop()
            absent = [id for id in event.parents if id not in self._places]
            missing = self.missing(absent) if absent else absent
            if missing or self._is_of_the_future(event, now):
                demanded, allowed = event.id in self.demanded, event.id in self.allowance
                self.demanded.update(missing if demanded else ())
                self.allowance.allow(missing if allowed else ())
                asked = demanded or allowed
                if self.pending.add(event, peer=peer, missing=missing, now=now, demanded=asked):
                    batch.waiting.append(event)
                continue
            try:
                if self._is_over_a_limit(event):
                    self._leave_out(event, batch)
                    continue
                self.stand(event, batch)
            except RemoteError as error:
                if event.id in batch.own:
                    batch.rejected.append((error.code, str(error)))
                else:
                    self.counts[f"dropped.{error.code}"] += 1
                self._note_lie(event, batch)
                self.counts["dropped.bad_ancestor"] += len(self.pending.poisoned(event.id))
            else:
                ready.extend(self.pending.admitted(event.id, now))

    def _note_lie(self, event: Event, batch: Batch) -> None:
        """Its signature is good and its parents stand, so that it may not stand is its author's own doing."""
        if len(batch.warrants) >= WARRANTS_MAX:
            self.counts["dropped.warrant"] += 1
            return
        absent = [id for id in event.parents if id not in self._events]
        wires = self.store.wires(absent) if absent else {}
        if len(wires) < len(absent):  # so many came at once that a parent is neither in memory nor stored yet
            self.counts["dropped.warrant"] += 1
            return
        batch.warrants.append(Warrant.of(event, self.events_of(event.parents)))

    def _is_of_the_future(self, event: Event, now: int) -> bool:
        return event.header.ts > now + FUTURE_MS_MAX and event.id not in self.demanded

    def _is_over_a_limit(self, event: Event) -> bool:
        size = self._unordered_size + len(event.wire)
        if len(self.unordered) >= UNORDERED_MAX or size > UNORDERED_BYTES_MAX:
            limit = "unordered_full"
        elif self._is_a_rival_too_many(event):
            limit = "rivals_full"
        else:
            return False
        if event.id in self.demanded or self.allowance.takes(event):
            return False
        self.counts[f"dropped.{limit}"] += 1
        return True

    def _is_a_rival_too_many(self, event: Event) -> bool:
        is_full = self._rivals.get(event.lane, 0) >= RIVALS_PER_LANE_MAX
        return is_full and not self._is_on_chain(event) and not self.pending.is_wanted(event.id)

    # -- forks ----------------------------------------------------------------------------------------------

    def _is_on_chain(self, event: Event) -> bool:
        header = event.header
        head = self.heads.get(event.lane)
        return header.seq == 0 if head is None else head == (header.seq - 1, header.prev)

    def _stand_as_rival(self, event: Event, batch: Batch) -> None:
        """Each place of a lane that forked is proven by itself: who answers for it may be somebody else."""
        batch.rivals.append(event)
        self._rivals[event.lane] += 1
        self._note_rival(event, batch)
        self._late_rivals.keep(event)
        self.forked.add(event.lane)

    def _leave_out(self, event: Event, batch: Batch) -> None:
        """There is no room for it: nothing of it is kept, and what it proves is told."""
        self._checked(event)
        if not self._is_on_chain(event):
            batch.left_out.add(event.id)
            self._note_rival(event, batch)

    def _note_rival(self, event: Event, batch: Batch) -> None:
        head = self.heads.get(event.lane)
        if head is not None and head[0] < event.header.seq and event.lane in self.forked:
            self._prove_against(self._late_rivals.at(event), event, batch)  # it follows a rival
        else:
            batch.unproven.append(event)

    def _prove(self, batch: Batch) -> None:
        """What came to places of a chain, against what is there: one question to the store for all of it."""
        if not batch.unproven:
            return
        wanted = {place_key(event) for event in batch.unproven}
        here = {key: event for event in batch.chain if (key := place_key(event)) in wanted}
        for event in self.store.chain_at(wanted.difference(here)):
            here.setdefault(place_key(event), events.without_body(event))
        for event in batch.unproven:
            other = here.get(place_key(event))
            # Below a snapshot it need not be here; others have it, and the proof.
            assert other or self.store.base is not None, f"nothing at the place of {event}, on a chain"
            self._prove_against(other or self._late_rivals.at(event), event, batch)

    def _prove_against(self, other: Event | None, event: Event, batch: Batch) -> None:
        if other is not None:
            proofs = batch.unkept if event.id in batch.left_out else batch.forks
            proofs.append(ForkProof.of(other, event))

    @property
    def levels(self) -> dict[str, int]:
        """How full each memory is."""
        levels = {
            "unordered": len(self.unordered),
            "unordered.bytes": self._unordered_size,
            "lanes": len(self.heads),
            "forked_lanes": len(self.forked),
        }
        return levels | {"places": len(self._places), "tips": len(self._tips)}

    # -- memory ---------------------------------------------------------------------------------------------

    def _recall(self) -> None:
        """Take up what the store holds without an order, as if it had just come to stand, and of rivals those
        that came lately, ordered or not."""
        for event in self.store.unordered():
            self._remember(event, node_of(event))
            self.stored()
            if event.lane in self.forked:
                self._rivals[event.lane] += 1  # or one of its chain: such a lane may as well be full early
        for rival in self.store.late_rivals(KEPT_MAX):
            self._late_rivals.keep(rival)

    def _remember(self, event: Event, node: Node) -> None:
        self.unordered[event.id] = node
        self._unordered_size += node.size
        self._move_tips(event, node.parents)
        self.place(event.id, place_of(event))
        self._events[event.id] = event
        self._events_size += node.size
        while self._events_size > EVENT_BYTES_MAX:
            self._events_size -= len(self._events.popitem(last=False)[1].wire)

    def _move_tips(self, event: Event, parents: tuple[Cid, ...]) -> None:
        for parent in parents:
            self._tips.pop(parent, None)
        self._tips[event.id] = event.lane
        if len(self._tips) > TIPS_MAX:
            del self._tips[next(iter(self._tips))]

    def place(self, id: Cid, place: Place) -> None:
        self._places[id] = place

    def stored(self) -> None:
        """Whatever stands here is in the store now: the oldest places make room."""
        while len(self._places) > PLACES_MAX:
            self._places.popitem(last=False)

    def surely_at(self, ids: Iterable[Cid]) -> list[Place]:
        """The places of events that stand here, compared with their bytes: others will hold us to them."""
        places = dict.fromkeys(ids)
        self._fetch_places(places)
        found = {id: self._places[id] for id in places}
        # Where an event is in memory, its place was read from it.
        self.store.require_places({id: place for id, place in found.items() if id not in self._events})
        return list(found.values())

    def _fetch_places(self, ids: Iterable[Cid]) -> None:
        absent = [id for id in ids if id not in self._places]
        if absent:
            for id, place in self.store.places(absent).items():
                self.place(id, place)

    def parents_for(self, lane: Lane) -> tuple[Cid, ...]:
        """The newest tips of other lanes, for an event of our own; forked lanes are not referred to."""
        tips = [id for id, of in reversed(self._tips.items()) if of != lane and of not in self.forked]
        return tuple(tips[:PARENTS_MAX])

    def events_of(self, ids: Sequence[Cid]) -> list[Event]:
        """Unordered events with their bodies, from memory or from the store."""
        absent = [id for id in ids if id not in self._events]
        wires = self.store.wires(absent) if absent else {}
        return [
            self._events[id]
            if id in self._events
            else events.parse(wires[id], net=self.net, verify_signature=False)
            for id in ids
        ]

    def ordered(self, ids: Iterable[Cid]) -> None:
        """These are in a final checkpoint now."""
        for id in ids:
            self._unordered_size -= self.unordered.pop(id).size
            event = self._events.pop(id, None)
            if event is not None:
                self._events_size -= len(event.wire)
        self.demanded.clear()

    def __repr__(self) -> str:
        return f"<Admission lanes={len(self.heads)} unordered={len(self.unordered)} {self.pending}>"


def _lc(event: Event) -> int:
    return event.header.lc
