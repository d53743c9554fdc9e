"""Placement: which offer gets which lease, at a close with a fresh clock.

First the checkers, because a result that waits for one is money that waits. A checker is *drawn* among the
idle offers that may check: each account stands on a ring at sha256(beacon || account), and the first one at
or behind sha256(beacon || job || shard || attempt) is taken. Offers may still change when the beacon is
known. But who comes, goes or asks another price moves nobody else on the ring, so whoever watches the
beacon can only step aside; and who had no offer before the beacon is not on the ring, so nobody makes a key
for a place on it. The account's machines share its place, so that more machines are drawn no more often; of
those that may, the cheapest takes the lease.

Then work, *greedily*: the job that pays most per fuel goes first, then the oldest; it gets the idle offer
that is cheapest, then least busy, then of best reputation, then of the smallest account.

An offer may run a shard when its engine is the job's, its price is not above the job's, its account pledges
the bond that the job asks for and has it free, it has no live run of that shard, and it is not the
submitter's own if results are checked. An account that had a run of the shard before gets another only if no
other account can.

What must always hold: at most PLACEMENTS_MAX leases and LOOKS_MAX looks at what waits in one close; what is
left waits for the next. No offer is leased more than it has free slots.
"""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_left
from collections.abc import Iterator
from itertools import chain, groupby, islice
from typing import Final, NamedTuple

from msgspec.structs import replace

from domain.rules import appeals, packed, pledges, reputation, tallies
from domain.rules.draft import Draft
from domain.rules.records import (
    DRAW,
    IDLE,
    JOB,
    OFFER,
    QUEUE,
    SHARD,
    TALLY,
    Job,
    Offer,
    Role,
    Shard,
    queue_key,
)
from domain.rules.runs import Spot, begin, runs_needed
from domain.rules.terms import last_moment
from ledger.cid import Cid
from ledger.types import INT63_MAX

PLACEMENTS_MAX: Final = 1024
"""Leases given in one close: some 50 ms of work, and 400 KiB of effects."""

LOOKS_MAX: Final = 4096
"""Shards and jobs looked at in one close, whether they could be placed or not."""

ENGINE: Final = 32  # bytes of an engine's digest, the first part of the index keys


class Seat(NamedTuple):
    """An idle offer, as greed ranks it: the smallest first."""

    price: int
    busy: int
    worse: int  # minus the account's reputation
    account: bytes
    device: bytes


class Bench:
    """The idle offers of one engine, while a close hands out leases.

    `has_newcomers`, once drawn from: some are too new to be drawn, and will not be at the next close.
    """

    def __init__(self, draft: Draft, rows: Iterator[tuple[bytes, bytes]]) -> None:
        """`rows` are keys of `idle`: engine, price, device."""
        self._draft = draft
        self._devices = [key[ENGINE + 8 :] for key, _ in rows]
        self._ring: list[tuple[int, bytes]] | None = None
        self._machines: dict[bytes, list[tuple[int, bytes]]] = {}  # of accounts on the ring: (price, device)
        self.has_newcomers = False

    @property
    def is_empty(self) -> bool:
        return not self._devices

    def draw(self, spot: Spot, shard: Shard) -> bytes | None:
        """A device whose account shall check the shard, as nobody could foresee; None when nobody may."""
        if self._ring is None:
            self._ring = self._placed()
        point = _number(self._draft.context.beacon + spot.key + bytes((len(shard.runs),)))
        start = bisect_left(self._ring, (point,))
        again: bytes | None = None
        for _, account in chain(islice(self._ring, start, None), islice(self._ring, start)):
            device = self._machine(spot, shard, account)
            if device is not None and not has_run(shard, account):
                return device
            again = again or device
        return again

    def _machine(self, spot: Spot, shard: Shard, account: bytes) -> bytes | None:
        """The cheapest device of an account on the ring that may run the shard."""
        for price, device in self._machines[account]:
            if price > spot.job.price:
                return None
            if may_run(self._draft, spot, shard, self._draft.row(OFFER, device)):
                return device
        return None

    def _placed(self) -> list[tuple[int, bytes]]:
        """The ring: (place, account) of the offers that are older than the beacon."""
        context = self._draft.context
        for device in self._devices:
            offer = self._draft.row(OFFER, device)
            if offer.since < context.height:
                self._machines.setdefault(offer.account, []).append((offer.price, device))
            else:
                self.has_newcomers = True
        for machines in self._machines.values():
            machines.sort()
        return sorted((_number(context.beacon + account), account) for account in self._machines)

    def take(self, device: bytes) -> None:
        """One more slot of the device was leased."""
        offer = self._draft.row(OFFER, device)
        if offer.busy < offer.slots:
            return
        self._devices.remove(device)
        if self._ring is not None:
            machines = self._machines[offer.account]
            machines.remove((offer.price, device))
            if not machines:
                del self._machines[offer.account]
                self._ring.remove((_number(self._draft.context.beacon + offer.account), offer.account))

    def ranked(self) -> list[Seat]:
        """A heap: the best offer first."""
        heap = [seat_of(self._draft, device) for device in self._devices]
        heapq.heapify(heap)
        return heap


def seat_of(draft: Draft, device: bytes) -> Seat:
    offer = draft.row(OFFER, device)
    score = reputation.score(reputation.standing_of(draft, offer.account))
    return Seat(offer.price, offer.busy, -score, offer.account, device)


def place(draft: Draft) -> bool:
    """Give out leases; True when more could be given than one close may."""
    benches = {
        engine: Bench(draft, rows)
        for engine, rows in groupby(draft.items(IDLE), key=lambda row: row[0][:ENGINE])
    }
    drawn, more = _draw_checkers(draft, benches)
    left = _lease_work(draft, benches, PLACEMENTS_MAX - drawn)
    return more or left


def may_run(draft: Draft, spot: Spot, shard: Shard, offer: Offer) -> bool:
    """Whether an offer's account is independent enough of a shard to run it now, and has its bond."""
    if spot.job.checks and offer.account == spot.job.submitter:
        return False
    if any(run.worker == offer.account for run in shard.runs if run.is_live):
        return False
    if appeals.is_party(draft, spot.job, spot.shard, offer.account):
        return False
    return pledges.may_pledge(draft, spot.job, offer.account, offer.bond)


def has_run(shard: Shard, account: bytes) -> bool:
    return any(run.worker == account for run in shard.runs)


def _draw_checkers(draft: Draft, benches: dict[bytes, Bench]) -> tuple[int, bool]:
    """(leases given, whether there is more to do)."""
    waiting = [row for row in draft.items(DRAW) if row[0][:ENGINE] in benches]
    drawn, more = 0, False
    for key, since in _from_anywhere(waiting, draft.context.beacon)[:LOOKS_MAX]:
        bench = benches[key[:ENGINE]]
        if int.from_bytes(since, "big") >= draft.context.height:
            more = True  # its commitment may have known this beacon: next time
        elif not bench.is_empty and _draw_one(draft, bench, _spot_at(draft, key)):
            drawn += 1
            more = more or draft.get(DRAW, key) is not None
            if drawn == PLACEMENTS_MAX:
                return drawn, True
        else:
            more = more or bench.has_newcomers
    return drawn, more or (drawn > 0 and len(waiting) > LOOKS_MAX)


def _from_anywhere(rows: list[tuple[bytes, bytes]], beacon: bytes) -> list[tuple[bytes, bytes]]:
    """Begin at another row each time, so that no shard waits behind others for ever."""
    start = _number(beacon) % len(rows) if len(rows) > LOOKS_MAX else 0
    return rows[start:] + rows[:start]


def _spot_at(draft: Draft, key: bytes) -> Spot:
    id = Cid(key[ENGINE:-2])
    return Spot(id, draft.row(JOB, id), int.from_bytes(key[-2:], "big"))


def _draw_one(draft: Draft, bench: Bench, spot: Spot) -> bool:
    if draft.time + 2 * spot.job.lease > last_moment(spot.job):
        return False  # no time for a lease and then for revealing: who had committed could not open it
    device = bench.draw(spot, draft.row(SHARD, spot.key))
    if device is None:
        return False
    begin(draft, spot, device, Role.CHECK)
    shard = draft.row(SHARD, spot.key)
    if len(shard.live) >= runs_needed(shard, spot.job):  # a dispute may need another, at the next close
        draft.drop(DRAW, spot.job.engine + spot.key)
    bench.take(device)
    return True


def _lease_work(draft: Draft, benches: dict[bytes, Bench], budget: int) -> bool:
    """Lease open shards to idle offers; True when the budget ended first."""
    ranked = {engine: bench.ranked() for engine, bench in benches.items()}
    looks, given = 0, 0
    for key, _ in draft.items(QUEUE):
        heap = ranked.get(key[:ENGINE])
        if not heap or heap[0].price > INT63_MAX - int.from_bytes(key[ENGINE : ENGINE + 8], "big"):
            continue
        if given == budget:
            break
        if looks == LOOKS_MAX:
            return given > 0
        looks += 1
        id = Cid(key[ENGINE + 16 :])
        given += _lease_job(draft, heap, id, draft.row(JOB, id), budget - given)
    return given == budget


def _lease_job(draft: Draft, heap: list[Seat], id: Cid, job: Job, budget: int) -> int:
    """Lease up to `budget` shards of one job; returns how many."""
    if draft.time + job.lease > job.deadline:
        draft.drop(QUEUE, queue_key(job, id))  # too late for a whole lease, now and for ever
        return 0
    given = 0
    while given < budget and tallies.has_open(job, draft.row(TALLY, id)):
        spot = Spot(id, job, _next_open(draft, id))
        device = _best(draft, heap, spot)
        if device is None:
            break
        _lease_one(draft, spot, device)
        given += 1
        _put_back(draft, heap, device)
    return given


def _next_open(draft: Draft, id: Cid) -> int:
    """Shards that were leased before come first."""
    tally = draft.row(TALLY, id)
    return int.from_bytes(tally.reopened[:2], "big") if tally.reopened else tally.cursor


def _best(draft: Draft, heap: list[Seat], spot: Spot) -> bytes | None:
    """Take the best offer for a shard off the heap."""
    shard = draft.get(SHARD, spot.key) or Shard()
    passed: list[Seat] = []
    best: bytes | None = None
    again: bytes | None = None
    while best is None and heap and heap[0].price <= spot.job.price:
        seat = heapq.heappop(heap)
        if may_run(draft, spot, shard, draft.row(OFFER, seat.device)):
            if not has_run(shard, seat.account):
                best = seat.device
                break
            again = again or seat.device
        passed.append(seat)
    best = best or again
    for seat in passed:
        if seat.device != best:
            heapq.heappush(heap, seat)
    return best


def _lease_one(draft: Draft, spot: Spot, device: bytes) -> None:
    tally = draft.row(TALLY, spot.id)
    if spot.shard < tally.cursor:
        tally = replace(tally, reopened=packed.without(tally.reopened, spot.shard.to_bytes(2, "big")))
    else:
        tally = replace(tally, cursor=tally.cursor + 1, live=tally.live + 1)
    draft.put(TALLY, spot.id, tally)
    if not tallies.has_open(spot.job, tally):
        draft.drop(QUEUE, queue_key(spot.job, spot.id))
    begin(draft, spot, device, Role.WORK)


def _put_back(draft: Draft, heap: list[Seat], device: bytes) -> None:
    """A device that has a slot left goes back, one busier."""
    offer = draft.row(OFFER, device)
    if offer.busy < offer.slots:
        heapq.heappush(heap, seat_of(draft, device))


def _number(seed: bytes) -> int:
    return int.from_bytes(hashlib.sha256(seed).digest(), "big")
