"""The traders of the simulated market: one way of earning each, one sentence each.

A trader sees what everybody sees: the runs of a shard, what of them is public, and the newest beacon. It
decides what to commit to and whether to open it. Computing costs; whoever does not compute pays nothing.

Knows the rules' formulas, as anybody does. Does not know what will be drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from domain.effects import RunIs
from domain.rules import Lease, sealed
from domain.rules.checking import is_drawn
from ledger.cid import Cid


@dataclass(frozen=True)
class Opening:
    """What a commitment hides. `salt` may be another's, who opened it before."""

    result: Cid
    fuel: int
    salt: bytes


@dataclass(frozen=True)
class Seen:
    """One lease of ours, with all that is public of its shard.

    beacon      the newest there is;  rate: how often a run of ours would be checked now, in millionths
    is_long     whether our history is as long as it pays to wait for
    draws_now   whether the close of this checkpoint draws
    others      the shard's other runs;  committed: what each has committed to (none: it has not)
    opened      what others have opened, by worker
    """

    run: RunIs
    fuel_max: int
    beacon: bytes
    rate: int
    is_long: bool
    draws_now: bool
    others: Sequence[RunIs]
    committed: dict[bytes, bytes]
    opened: dict[bytes, Opening]

    @property
    def spot(self) -> bytes:
        return self.run.job + self.run.shard.to_bytes(2, "big")

    @property
    def lease(self) -> Lease:
        return Lease(self.run.worker, self.run.job, self.run.shard, self.run.attempt)


Compute = Callable[[Cid], Opening]
"""Run the program for a job, at a cost: what comes out, with a fresh salt."""


class Honest:
    """Computes what it is leased, and says what came out."""

    lies: ClassVar[bool] = False
    wants_others_first: ClassVar[bool] = False

    def __init__(self, name: str, partners: frozenset[bytes] = frozenset()) -> None:
        self.name = name
        self.partners = partners
        self.opening: dict[tuple[Cid, int], Opening] = {}

    def commit(self, seen: Seen, compute: Compute) -> bytes | None:
        """What to commit to; None: not now. Remembers how to open it."""
        opening = self.answer(seen, compute)
        self.opening[seen.run.job, seen.run.attempt] = opening
        return sealed(opening.result, opening.fuel, opening.salt, seen.lease)

    def answer(self, seen: Seen, compute: Compute) -> Opening:
        return compute(seen.run.job)

    def open(self, seen: Seen) -> Opening | None:
        """What to reveal, now that it may be; None: not now."""
        return self.opening.get((seen.run.job, seen.run.attempt))

    def over(self, run: RunIs) -> None:
        self.opening.pop((run.job, run.attempt), None)


class Faker(Honest):
    """Makes every result up, and computes nothing."""

    lies = True

    def answer(self, seen: Seen, compute: Compute) -> Opening:
        return made_up(self.name, seen)


class Copier(Honest):
    """Computes when there is nothing to copy, and else repeats another's commitment or result."""

    lies = True
    wants_others_first = True

    def commit(self, seen: Seen, compute: Compute) -> bytes | None:
        if seen.opened:
            opening = seen.opened[min(seen.opened)]
            self.opening[seen.run.job, seen.run.attempt] = opening
            return sealed(opening.result, opening.fuel, opening.salt, seen.lease)
        if seen.committed:
            return seen.committed[min(seen.committed)]
        return super().commit(seen, compute)

    def open(self, seen: Seen) -> Opening | None:
        """With what the other opened, if it did."""
        return super().open(seen) or (seen.opened[min(seen.opened)] if seen.opened else None)


class LazyChecker(Honest):
    """Computes its own work, and as a checker says anything: most are right, who will look?"""

    lies = True

    def answer(self, seen: Seen, compute: Compute) -> Opening:
        return compute(seen.run.job) if seen.run.role == "work" else made_up(self.name, seen)


class Patient(Honest):
    """Computes until its history is long; then makes up what the draw will spare, as far as it can tell, and
    hides what it did not spare."""

    lies = True

    def __init__(self, name: str, partners: frozenset[bytes] = frozenset()) -> None:
        super().__init__(name, partners)
        self.faked: set[tuple[Cid, int]] = set()

    def commit(self, seen: Seen, compute: Compute) -> bytes | None:
        return super().commit(seen, compute) if seen.draws_now or not self._may_fake(seen) else None

    def answer(self, seen: Seen, compute: Compute) -> Opening:
        foreseen = is_drawn(seen.beacon, seen.spot, seen.run.attempt, seen.rate)
        if foreseen or not self._may_fake(seen):
            return compute(seen.run.job)
        self.faked.add((seen.run.job, seen.run.attempt))
        return made_up(self.name, seen)

    def _may_fake(self, seen: Seen) -> bool:
        return seen.run.role == "work" and seen.is_long

    def open(self, seen: Seen) -> Opening | None:
        is_compared = bool(seen.others)
        return None if is_compared and (seen.run.job, seen.run.attempt) in self.faked else super().open(seen)


class Partner(Honest):
    """Makes its work up as its partner would, and says the same when it is drawn to check the partner."""

    lies = True

    def answer(self, seen: Seen, compute: Compute) -> Opening:
        if seen.run.role == "work" or any(other.worker in self.partners for other in seen.others):
            return made_up("partners", seen)
        return compute(seen.run.job)


class Padder(Honest):
    """Computes, and claims all the fuel that the job allows."""

    lies = True

    def answer(self, seen: Seen, compute: Compute) -> Opening:
        opening = compute(seen.run.job)
        return Opening(opening.result, seen.fuel_max, opening.salt)


def made_up(whose: str, seen: Seen) -> Opening:
    """Of the usual amount of fuel, and a result like any other."""
    tag = whose.encode() + seen.spot
    salt = hashlib.sha256(b"salt" + tag + seen.run.worker).digest()
    return Opening(Cid.of(b"made up" + tag), seen.fuel_max // 2, salt)


LIARS: Final[tuple[type[Honest], ...]] = (Faker, Copier, LazyChecker, Patient, Padder, Partner, Partner)
"""A third of twenty, in six ways: partners are two."""
