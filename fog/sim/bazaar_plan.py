"""What a run of the bazaar is made from, and what it comes to.

Knows the terms that all jobs and offers there share. Does not know a rule but what a run may be paid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from domain.rules.terms import unit
from fog.sim.bazaar_books import Books, per_run
from fog.sim.traders import LIARS, Honest

GFUEL: Final = 1_000_000_000
FUEL_MAX: Final = 2 * GFUEL
PRICE: Final = 1_000_000  # a credit a Gfuel


@dataclass(frozen=True)
class Plan:
    """liars         the first of the workers
    bond_in_pays  a run's bond, in what it can be paid at most
    patience      compared runs that a patient liar waits for
    canaries_ppm  of a million jobs, those whose answer the buyer knows, and appeals when it gets another
    """

    seed: int
    jobs: int = 10_000
    workers: int = 20
    liars: tuple[type[Honest], ...] = LIARS
    slots: int = 4
    bond_in_pays: int = 39
    patience: int = 30
    canaries_ppm: int = 100_000

    @property
    def bond(self) -> int:
        return self.bond_in_pays * unit(FUEL_MAX, PRICE)

    @property
    def command(self) -> str:
        return f"fog sim --market --seed {self.seed} --jobs {self.jobs}"


@dataclass(frozen=True)
class BazaarReport:
    plan: Plan
    books: Books
    heights: int
    state_root: bytes
    broken: tuple[tuple[str, str], ...]

    @property
    def ok(self) -> bool:
        return not self.broken

    def plain(self) -> dict[str, Any]:
        sums = self.books.by_strategy()
        return {
            "ok": self.ok,
            "seed": self.plan.seed,
            "jobs": self.plan.jobs,
            "heights": self.heights,
            "state_root": self.state_root.hex(),
            "strategies": {
                name: {
                    "runs": one.runs,
                    "paid": one.paid,
                    "cost": one.cost,
                    "bounties": one.bounties,
                    "bonds_lost": one.forfeits,
                    "lost": one.lost,
                    "earned": one.earned,
                    "earned_per_run": per_run(one),
                }
                for name, one in sums.items()
            },
            "checks": {f"{5 * n}%": drawn.plain() for n, drawn in sorted(self.books.draws.items())},
            "wrong": self.books.wrong.plain(),
            "established": self.books.established.plain(),
            "counts": dict(sorted(self.books.counts.items())),
            "broken": [
                {"invariant": name, "what": what, "again": self.plan.command} for name, what in self.broken
            ],
        }
