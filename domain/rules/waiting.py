"""Waiting: what a shard waits for between two of its steps, and for how long it waits for a checker.

    coin, draw   its fate is to be drawn, or a checker
    window       its time to reveal is to begin

Nobody may be there to check: then a bond would be locked until the job's last moment, a month at most, and
who submits jobs that only one account can take could lock all that it has, for nothing. So where a bond is at
stake, and nothing of the shard is public yet, the shard is looked at every `appeal_ms`: if nobody stands who
could check it, or after WAITS_MAX looks, it fails. Its run is neither paid nor blamed. An appeal is looked at
in the same way, since it holds the bonds of those who are doubted. But it has its time as long as somebody
stands who could judge, and ends only after APPEAL_WAITS_MAX looks at which nobody did: for here the rules
might let a liar go.

No lie gains by that. What is given back earns nothing; it is given back by the rules, at a moment that is
set, and never because its owner asks, who might know who would be drawn. And nothing is taken on trust
meanwhile: the fate of a run is not drawn while nobody stands who could check it (`domain.rules.checking`),
else whoever pledges what nobody else has would be paid for what was spared, and lose nothing for the rest.

What must always hold: a shard whose `waits` is not 0 has that entry in the agenda, and a row in `coin` or
`draw`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Final

from msgspec.structs import replace

from domain.rules import agenda
from domain.rules.accounts import account_of
from domain.rules.draft import Draft
from domain.rules.records import COIN, DRAW, OFFER, SHARD, WINDOW, Job, RunState, Shard, draw_key
from domain.rules.runs import Spot
from domain.rules.seats import Seat, Seats
from domain.rules.terms import REVEAL_MIN_CHECKPOINTS

WAITS_MAX: Final = 36
"""Looks at a shard that somebody could check who never is idle: six hours, where the time to appeal is ten
minutes."""

APPEAL_WAITS_MAX: Final = 6
"""Looks one after another at an appeal that nobody stands to judge: an hour, so that one quiet moment of a
small network lets no liar go."""


class Standing:
    """The offers that stand, busy or not: who could check a job, if not now. Read when it is first asked."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._of_engine: dict[bytes, Seats] | None = None

    def could_check(self, job: Job, workers: Iterable[bytes] = ()) -> bool:
        """Whether anybody has as much as the job asks for, beside its submitter and `workers`."""
        seats = self._offers.get(job.engine)
        return (
            seats is not None
            and seats.first(job.price, job.bond, without={job.submitter, *workers}) is not None
        )

    @property
    def _offers(self) -> dict[bytes, Seats]:
        if self._of_engine is None:
            of_engine: dict[bytes, list[Seat]] = {}
            for device, offer in self._draft.items(OFFER):
                if offer.slots:
                    held = account_of(self._draft, offer.account)
                    bond = min(offer.bond, held.free + held.pledged)
                    seat = Seat((device,), offer.price, bond, offer.account, device)
                    of_engine.setdefault(offer.engine, []).append(seat)
            self._of_engine = {engine: Seats(seats) for engine, seats in of_engine.items()}
        return self._of_engine


def begin(draft: Draft, spot: Spot) -> None:
    """The shard waits for a checker from now on; where there is something to lock, not for ever."""
    shard = draft.row(SHARD, spot.key)
    is_secret = all(run.state == RunState.COMMITTED for run in shard.live)
    if spot.job.bond and is_secret:
        _look_again(draft, spot, replace(shard, looks=0))


def forget(draft: Draft, spot: Spot) -> None:
    """Whatever the shard waited for, it does not any more."""
    draft.drop(DRAW, draw_key(spot.job, spot.id, spot.shard))
    draft.drop(COIN, spot.key)
    draft.drop(WINDOW, spot.key)
    shard = draft.get(SHARD, spot.key)
    if shard is not None and shard.waits:
        agenda.strike_run(draft, shard.waits, spot.id, spot.shard, 0, kind=agenda.WAIT)
        draft.put(SHARD, spot.key, replace(shard, waits=0, looks=0))


def is_vain(draft: Draft, spot: Spot, standing: Standing, barred: Collection[bytes]) -> bool:
    """The time for a look has come: whether the shard waited in vain. If not, it waits on. `barred`: who may
    not check it, beside its submitter and who has a run of it.

    Not while there were too few checkpoints to draw in: the clock jumps when a network that stood still goes
    on.
    """
    shard = draft.row(SHARD, spot.key)
    row = draft.get(COIN, spot.key) or draft.row(DRAW, draw_key(spot.job, spot.id, spot.shard))
    agenda.strike_run(draft, shard.waits, spot.id, spot.shard, 0, kind=agenda.WAIT)
    shard = replace(shard, waits=0, looks=shard.looks + 1)
    draft.put(SHARD, spot.key, shard)
    is_early = draft.context.height < int.from_bytes(row, "big") + REVEAL_MIN_CHECKPOINTS
    workers = {*barred, *(run.worker for run in shard.live)}
    could = standing.could_check(spot.job, workers)
    if spot.job.appeals is not None:
        shard = replace(shard, looks=0 if could else shard.looks)
        is_over = shard.looks >= APPEAL_WAITS_MAX
    else:
        is_over = shard.looks >= WAITS_MAX or not could
    if is_early or not is_over:
        _look_again(draft, spot, shard)
        return False
    return True


def _look_again(draft: Draft, spot: Spot, shard: Shard) -> None:
    waits = draft.time + draft.params.appeal_ms
    agenda.write_run(draft, waits, spot.id, spot.shard, 0, kind=agenda.WAIT)
    draft.put(SHARD, spot.key, replace(shard, waits=waits))


def in_turn(keys: Iterable[bytes], beacon: bytes) -> deque[list[bytes]]:
    """The keys by job, the first shard last; and the jobs in an order that nobody chose, and in which none
    that comes or goes moves another."""
    jobs = [list(of_job)[::-1] for _, of_job in groupby(keys, key=lambda key: key[:-2])]
    return deque(sorted(jobs, key=lambda keys: hashlib.sha256(beacon + keys[0][:-2]).digest()))
