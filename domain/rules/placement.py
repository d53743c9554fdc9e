"""Placement: which offer gets which lease, at a close with a fresh clock.

First the checkers, because a result that waits for one is money that waits. A checker is *drawn* among the
idle offers that may check: each account stands on a ring at sha256(beacon || account), and the first one at
or behind sha256(beacon || job || shard || attempt) is taken. Offers may still change when the beacon is
known. But who comes, goes or asks another price moves nobody else on the ring, so whoever watches the
beacon can only step aside; and who had no offer before the beacon, or not the credits for the bond, is not on
the ring, so nobody makes a key for a place on it, and nobody funds the one of many that is about to be drawn.
The account's machines share its place, so that more machines are drawn no more often; of those that may, the
cheapest takes the lease.

Then work, *greedily*: the job that pays most per fuel goes first, then the oldest; it gets the idle offer
that is cheapest, then least busy, then of best reputation, then of the smallest account.

An offer may run a shard when its engine is the job's, its price is not above the job's, its account pledges
the bond that the job asks for and has it free, it has no live run of that shard, and it is not the
submitter's own if results are checked. An account that had a run of the shard before gets another only if no
other account can.

A job may ask for what nobody has, and there may be thousands of such. So a look costs some microseconds
whatever it finds (`domain.rules.seats`), every job with open shards is looked at in every close, and checkers
are drawn for one shard of each job in turn: one job's shards do not wait behind another's.

What must always hold: at most PLACEMENTS_MAX leases in one close, JOBS_MAX looks for work and LOOKS_MAX for
checkers; what is left waits for the next. No offer is leased more than it has free slots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain, groupby
from typing import Final

from msgspec.structs import replace

from domain.rules import accounts, appeals, packed, reputation, tallies, waiting
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
    Role,
    Shard,
    draw_key,
    queue_key,
)
from domain.rules.runs import Spot, begin, runs_needed
from domain.rules.seats import Seat, Seats
from domain.rules.terms import has_time_to_check
from domain.rules.waiting import in_turn
from ledger.cid import Cid
from ledger.types import INT63_MAX

PLACEMENTS_MAX: Final = 1024
"""Leases given in one close: some 50 ms of work, and 400 KiB of effects."""

LOOKS_MAX: Final = 4096
"""Shards that wait for a checker looked at in one close: some 200 ms. A job of which no shard can have one is
looked at once."""

ENGINE: Final = 32  # bytes of an engine's digest, the first part of the index keys


class Bench:
    """The idle offers of one engine, while a close hands out leases: in the order of greed, and on the ring.

    `has_newcomers`, once drawn from: some are too new to be drawn, or their credits are, and will not be at
    the next close.
    """

    def __init__(
        self, draft: Draft, rows: Iterable[tuple[bytes, bytes]], benches_of: dict[bytes, list[Bench]]
    ) -> None:
        """`rows` are keys of `idle`: engine, price, device. `benches_of`: on which benches each account sits,
        which this adds to: its machines may have different engines, and its credits are the same."""
        self._draft = draft
        self._benches_of = benches_of
        self._devices: dict[bytes, list[bytes]] = {}  # of each account
        for key, _ in rows:
            device = key[ENGINE + 8 :]
            self._devices.setdefault(draft.row(OFFER, device).account, []).append(device)
        for account in self._devices:
            benches_of.setdefault(account, []).append(self)
        self._ring: Seats | None = None
        self._greed: Seats | None = None
        self.has_newcomers = False

    def may_draw(self, job: Job) -> bool:
        """Whether anybody may be drawn for any of the job's shards, and there is time for a lease and then
        for revealing: else who had committed could not open it."""
        if not has_time_to_check(job, self._draft.time):
            return False
        return self.ring.first(job.price, job.bond, without=_barred_by(job)) is not None

    def draw(self, spot: Spot, shard: Shard) -> bytes | None:
        """A device whose account shall check the shard, as nobody could foresee; None when nobody may."""
        point = _number(self._draft.context.beacon + spot.key + bytes((len(shard.runs),)))
        return self._first(self.ring, spot, shard, (point,))

    def best(self, spot: Spot, shard: Shard) -> bytes | None:
        """The device that shall run the shard; None when nobody may."""
        return self._first(self.greed, spot, shard, ())

    def _first(self, seats: Seats, spot: Spot, shard: Shard, start: tuple[int, ...]) -> bytes | None:
        """Somebody who had no run of the shard, if there is anybody; else somebody who has none now."""
        barred = {run.worker for run in shard.live} | _barred_by(spot.job)
        barred |= appeals.parties(self._draft, spot.job, spot.shard)
        tried = barred | {run.worker for run in shard.runs}
        price, bond = spot.job.price, spot.job.bond
        seat = seats.first(price, bond, without=tried, start=start)
        if seat is None and tried != barred:
            seat = seats.first(price, bond, without=barred, start=start)
        return None if seat is None else seat.device

    def taken(self, device: bytes) -> None:
        """A slot of the device was leased, and what its account has for bonds may be less, on every bench."""
        account = self._draft.row(OFFER, device).account
        for bench in self._benches_of[account]:
            bench._look_again(account)

    def _look_again(self, account: bytes) -> None:
        for one in self._devices[account]:
            if self._ring is not None:
                self._ring.change(one, self._on_ring(one))
            if self._greed is not None:
                self._greed.change(one, self._by_greed(one))

    @property
    def ring(self) -> Seats:
        """The offers that are older than the beacon, with the credits that are."""
        if self._ring is None:
            seats = map(self._on_ring, chain.from_iterable(self._devices.values()))
            self._ring = Seats(seat for seat in seats if seat is not None)
        return self._ring

    @property
    def greed(self) -> Seats:
        if self._greed is None:
            seats = map(self._by_greed, chain.from_iterable(self._devices.values()))
            self._greed = Seats(seat for seat in seats if seat is not None)
        return self._greed

    def _on_ring(self, device: bytes) -> Seat | None:
        offer, context = self._draft.row(OFFER, device), self._draft.context
        if offer.busy >= offer.slots:
            return None
        if offer.since >= context.height:
            self.has_newcomers = True
            return None
        bond = min(offer.bond, accounts.held_before(self._draft, offer.account))
        if bond < min(offer.bond, accounts.account_of(self._draft, offer.account).free):
            self.has_newcomers = True
        place = _number(context.beacon + offer.account)
        return Seat((place, offer.price, device), offer.price, bond, offer.account, device)

    def _by_greed(self, device: bytes) -> Seat | None:
        offer = self._draft.row(OFFER, device)
        if offer.busy >= offer.slots:
            return None
        worse = -reputation.score(reputation.standing_of(self._draft, offer.account))
        bond = min(offer.bond, accounts.account_of(self._draft, offer.account).free)
        rank = (offer.price, offer.busy, worse, offer.account, device)
        return Seat(rank, offer.price, bond, offer.account, device)


def place(draft: Draft) -> bool:
    """Give out leases; True when more could be given than one close may."""
    benches_of: dict[bytes, list[Bench]] = {}
    benches = {
        engine: Bench(draft, rows, benches_of)
        for engine, rows in groupby(draft.items(IDLE), key=lambda row: row[0][:ENGINE])
    }
    drawn, more = _draw_checkers(draft, benches)
    left = _lease_work(draft, benches, PLACEMENTS_MAX - drawn)
    return more or left


def _barred_by(job: Job) -> set[bytes]:
    """Who may not run any of the job's shards."""
    return {job.submitter} if job.checks else set()


def _draw_checkers(draft: Draft, benches: dict[bytes, Bench]) -> tuple[int, bool]:
    """(leases given, whether there is more to do). Of every job one shard in turn."""
    rows = [row for row in draft.items(DRAW) if row[0][:ENGINE] in benches]
    # What waits since this height had a commitment that may have known this beacon: next time.
    ready = [key for key, since in rows if int.from_bytes(since, "big") < draft.context.height]
    drawn, more = 0, len(ready) < len(rows)
    turns = in_turn(ready, draft.context.beacon)
    for _ in range(LOOKS_MAX):
        if not turns:
            return drawn, more
        keys = turns.popleft()
        bench, spot = benches[keys[0][:ENGINE]], _spot_at(draft, keys.pop())
        may_draw = bench.may_draw(spot.job)
        if may_draw and keys:
            turns.append(keys)
        if may_draw and _draw_one(draft, bench, spot):
            drawn += 1
            more = more or draft.get(DRAW, draw_key(spot.job, spot.id, spot.shard)) is not None
            if drawn == PLACEMENTS_MAX:
                return drawn, True
        else:
            more = more or bench.has_newcomers
    return drawn, more or drawn > 0


def _spot_at(draft: Draft, key: bytes) -> Spot:
    id = Cid(key[ENGINE:-2])
    return Spot(id, draft.row(JOB, id), int.from_bytes(key[-2:], "big"))


def _draw_one(draft: Draft, bench: Bench, spot: Spot) -> bool:
    device = bench.draw(spot, draft.row(SHARD, spot.key))
    if device is None:
        return False
    begin(draft, spot, device, Role.CHECK)
    shard = draft.row(SHARD, spot.key)
    if len(shard.live) >= runs_needed(shard, spot.job):  # a dispute may need another, at the next close
        waiting.forget(draft, spot)
    bench.taken(device)
    return True


def _lease_work(draft: Draft, benches: dict[bytes, Bench], budget: int) -> bool:
    """Lease open shards to idle offers; True when the budget ended first.

    Every job is looked at: a look at one that nobody fits, or only its own submitter, reads none of its rows.
    """
    given = 0
    for key, row in draft.items(QUEUE):
        bench = benches.get(key[:ENGINE])
        if bench is None or bench.greed.is_empty:
            continue
        price = INT63_MAX - int.from_bytes(key[ENGINE : ENGINE + 8], "big")
        bond, submitter = int.from_bytes(row[:8], "big"), row[8:]
        if bench.greed.first(price, bond, without=(submitter,)) is None:
            continue
        if given == budget:
            return True
        id = Cid(key[ENGINE + 16 :])
        given += _lease_job(draft, bench, id, draft.row(JOB, id), budget - given)
    return given == budget


def _lease_job(draft: Draft, bench: Bench, id: Cid, job: Job, budget: int) -> int:
    """Lease up to `budget` shards of one job; returns how many."""
    if draft.time + job.lease > job.deadline:
        draft.drop(QUEUE, queue_key(job, id))  # too late for a whole lease, now and for ever
        return 0
    given = 0
    while given < budget and tallies.has_open(job, draft.row(TALLY, id)):
        spot = Spot(id, job, _next_open(draft, id))
        device = bench.best(spot, draft.get(SHARD, spot.key) or Shard())
        if device is None:
            break
        _lease_one(draft, spot, device)
        bench.taken(device)
        given += 1
    return given


def _next_open(draft: Draft, id: Cid) -> int:
    """Shards that were leased before come first."""
    tally = draft.row(TALLY, id)
    return int.from_bytes(tally.reopened[:2], "big") if tally.reopened else tally.cursor


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


def _number(seed: bytes) -> int:
    return int.from_bytes(hashlib.sha256(seed).digest(), "big")
