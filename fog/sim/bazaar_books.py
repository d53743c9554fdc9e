"""The books of the simulated market: what everybody earned, and whether the rules did what they promise.

    B1   of right runs of honest accounts ninety-nine in a hundred are paid, and the bond of one is lost only
         to three liars that say the same
    B2   no way of lying earns as much as honesty, by the run
    B3   runs are checked as often as the formula says, each history counted here from the effects alone
    B4   a wrong run that is compared is found, unless its partner was drawn too
    B5   of an established honest worker less than one run in twenty is checked, where the bond allows it
    B6   credits are conserved, and every account holds what these books say

Knows effects and what the world knows of the truth. Uses nothing of `domain.rules.checking`: the formula is
written here a second time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import isqrt
from typing import Final

from domain.effects import Forfeited, RunIs, Transferred
from ledger.cid import Cid

MILLION: Final = 1_000_000
HISTORY_MIN: Final = 10
RATE_MIN: Final = 10_000

ESTABLISHED: Final = 20
"""Compared runs in a row: from here on history alone asks for one check in twenty or fewer."""

BOND_MIN: Final = 19
"""In pays: with less, the floor alone asks for more than one check in twenty."""

OVERHEAD_MAX_PPM: Final = 50_000
PAID_MIN_PPM: Final = 990_000
DEVIATIONS: Final = 4
"""Beyond so many standard deviations a count is not chance: one count in sixteen thousand."""

Place = tuple[Cid, int, int]


def formula(streak: int, pay: int, bond: int) -> int:
    """Millionths: how often a run is to be checked."""
    floor = -(-MILLION * pay // (pay + bond))
    history = MILLION if streak < HISTORY_MIN else -(-MILLION // streak)
    return max(floor, history, RATE_MIN)


@dataclass
class Account:
    """Micro-credits; `runs` were leased to it, `made` of them committed, `right` of these were true."""

    strategy: str
    lies: bool
    runs: int = 0
    made: int = 0
    right: int = 0
    right_paid: int = 0
    paid: int = 0
    cost: int = 0
    bounties: int = 0
    refunds: int = 0
    lost: int = 0
    forfeits: int = 0
    streak: int = 0

    @property
    def earned(self) -> int:
        return self.paid + self.bounties + self.refunds - self.cost - self.lost


@dataclass
class Drawn:
    """Of `runs`, `hits` were checked; `expected` is the sum of their rates, `variance` that of chance."""

    runs: int = 0
    hits: int = 0
    expected: int = 0
    variance: int = 0

    def add(self, rate: int, hit: bool) -> None:
        self.runs += 1
        self.hits += hit
        self.expected += rate
        self.variance += rate * (MILLION - rate)

    @property
    def is_chance(self) -> bool:
        """Whether `hits` is what the rates make likely."""
        return abs(self.hits * MILLION - self.expected) <= DEVIATIONS * isqrt(self.variance) + MILLION

    def exceeds(self, share: int) -> bool:
        """Whether more than `share` millionths were checked, and that is not chance either."""
        chance = DEVIATIONS * isqrt(self.runs * share * (MILLION - share))
        return self.hits * MILLION > share * self.runs + chance

    def plain(self) -> dict[str, int]:
        return {"runs": self.runs, "checked": self.hits, "expected": self.expected // MILLION}


@dataclass
class Books:
    accounts: dict[bytes, Account] = field(default_factory=dict)
    draws: dict[int, Drawn] = field(default_factory=lambda: defaultdict(Drawn))
    wrong: Drawn = field(default_factory=Drawn)
    established: Drawn = field(default_factory=Drawn)
    counts: Counter[str] = field(default_factory=Counter)

    # -- what is told ---------------------------------------------------------------------------------------

    def leased(self, run: RunIs) -> None:
        self.accounts[run.worker].runs += 1

    def committed(self, run: RunIs, *, right: bool) -> None:
        account = self.accounts[run.worker]
        account.made += 1
        account.right += right

    def computed(self, worker: bytes, cost: int) -> None:
        self.accounts[worker].cost += cost

    def paid(self, run: RunIs, *, right: bool) -> None:
        account = self.accounts[run.worker]
        account.paid += run.paid
        account.right_paid += right
        self.counts["paid.right" if right else "paid.wrong"] += 1

    def forfeited(self, loss: Forfeited) -> None:
        account = self.accounts[loss.account]
        account.lost += loss.amount
        account.forfeits += 1
        account.streak = 0
        if loss.finder in self.accounts:
            self.accounts[loss.finder].bounties += loss.bounty
        self.counts[f"forfeited.{loss.reason}"] += 1
        if not account.lies:
            self.counts["outvoted" if loss.reason == "wrong_result" else "hidden.honest"] += 1

    def given(self, told: Transferred) -> None:
        """Nobody pays anybody here: this is what a doubt cost whoever had it, for those who were doubted."""
        self.accounts[told.to].bounties += told.amount

    def agreed(self, worker: bytes) -> None:
        """It was compared, agreed, and could not have been copied."""
        self.accounts[worker].streak += 1

    def drawn(self, worker: bytes, pay: int, bond: int, *, hit: bool, right: bool) -> None:
        """Whether this run is checked was drawn."""
        account = self.accounts[worker]
        rate = formula(account.streak, pay, bond)
        self.draws[rate // 50_000].add(rate, hit)
        if not right:
            self.wrong.add(rate, hit)
        if not account.lies and account.streak >= ESTABLISHED and bond >= BOND_MIN * pay:
            self.established.add(rate, hit)

    # -- what it comes to -----------------------------------------------------------------------------------

    def by_strategy(self) -> dict[str, Account]:
        sums: dict[str, Account] = {}
        for account in self.accounts.values():
            total = sums.setdefault(account.strategy, Account(account.strategy, account.lies))
            for name in (
                "runs",
                "made",
                "right",
                "right_paid",
                "paid",
                "cost",
                "bounties",
                "lost",
                "forfeits",
            ):
                setattr(total, name, getattr(total, name) + getattr(account, name))
        return sums

    def broken(self) -> list[tuple[str, str]]:
        sums = self.by_strategy()
        honest = sums.pop("Honest")
        found = []
        if honest.right_paid * MILLION < PAID_MIN_PPM * honest.right:
            found.append(("B1", f"{honest.right_paid} of {honest.right} honest runs were paid"))
        if self.counts["hidden.honest"]:
            found.append(
                ("B1", f"{self.counts['hidden.honest']} honest bonds lost, though nothing was hidden")
            )
        for name, liar in sums.items():
            if liar.earned * honest.runs >= honest.earned * liar.runs:
                found.append(
                    ("B2", f"{name} earns {per_run(liar)} a run, where honesty earns {per_run(honest)}")
                )
        for twentieth, draw in sorted(self.draws.items()):
            if not draw.is_chance:
                found.append(("B3", f"at {5 * twentieth} % and more: {draw.plain()}"))
        if not self.wrong.is_chance:
            found.append(("B3", f"of wrong runs: {self.wrong.plain()}"))
        if self.counts["overlooked"]:
            found.append(("B4", f"{self.counts['overlooked']} wrong runs agreed with a stranger's"))
        if self.established.exceeds(OVERHEAD_MAX_PPM):
            found.append(("B5", f"of established honest workers: {self.established.plain()}"))
        return found


def per_run(account: Account) -> int:
    """Micro-credits earned for each run that was leased, rounded down."""
    return account.earned // max(1, account.runs)
