"""The market in the simulator: twenty workers, a third of which lie, the real rules, and virtual time.

Events are signed and executed one after another by `domain.rules`, checkpoint by checkpoint; what travels and
who votes is left out (`fog.sim.world` has that). A beacon is a hash of the seed and the height: nobody can
know it before its checkpoint begins, and everybody then does.

    a checkpoint: jobs are submitted; workers commit and reveal (`fog.sim.traders`); the close places, draws

What must always hold: a run is a function of its plan; no trader sees more than the ledger shows.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from domain import effects
from domain.effects import AppealIs, Forfeited, RunIs, ShardIs, Transferred
from domain.payloads import BondedJob, BondedOffer, JobAppeal, LeaseReveal, Payload, SealedCommit, kind_of
from domain.rules import FogRules, conservation, pulse
from domain.rules.accounts import holdings
from domain.rules.execute import VERSION
from domain.rules.records import SHARD, Checks, Fate
from domain.rules.runs import runs_for
from domain.rules.terms import payment, unit
from fog.sim.bazaar_books import Account, Books, formula
from fog.sim.bazaar_plan import FUEL_MAX, GFUEL, PRICE, BazaarReport, Plan
from fog.sim.scheduler import stream
from fog.sim.traders import Honest, Opening, Seen
from ledger import event as events
from ledger.cid import Cid
from ledger.event import Event
from ledger.execution import Context, Receipt
from ledger.genesis import Allocation, Genesis, Validator
from ledger.signing import SigningKey

START: Final = 1_800_000_000_000  # unix ms
CLOSE_MS: Final = 1_000
LEASE_MS: Final = 10_000
APPEAL_MS: Final = 30_000
OFFER_MS: Final = 86_400_000
ENGINE: Final = hashlib.sha256(b"simulated").digest()
SPEC: Final = Cid.of(b"simulated")
COST_PPM: Final = 700_000
"""What computing costs, of what it is paid: the rest is what honesty earns."""

OPEN_JOBS: Final = 1.5
"""Jobs kept open for each slot: workers are never idle for want of them."""

CAPITAL_BONDS: Final = 200
"""What every worker begins with, in bonds."""

COUNT_EVERY: Final = 250
"""Checkpoints between two counts of all the money."""


@dataclass
class Shard:
    """One job of one shard, as far as everybody can see it."""

    state: str = "open"
    runs: dict[int, RunIs] = field(default_factory=dict)
    committed: dict[int, bytes] = field(default_factory=dict)
    opened: dict[int, Opening] = field(default_factory=dict)
    late: set[int] = field(default_factory=set)
    is_drawn: bool = False

    @property
    def live(self) -> list[RunIs]:
        return [run for run in self.runs.values() if run.state in ("leased", "committed", "revealed")]

    @property
    def may_open(self) -> bool:
        live = self.live
        revealed = [(run.result, run.fuel) for run in live if run.state == "revealed"]
        hidden = any(run.reason == "hidden_result" for run in self.runs.values())
        needed = runs_for(revealed, trusted=self.state == "trusted", bonded=True, hidden=hidden)
        return len(live) >= needed and all(run.state != "leased" for run in live)


class Bazaar:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.books = Books()
        self.buyer = self._key("buyer")
        self.keys: dict[bytes, SigningKey] = {}
        self.traders: dict[bytes, Honest] = {}
        self._hire()
        accounts = dict.fromkeys(self.traders, CAPITAL_BONDS * plan.bond)
        accounts[self.buyer.public] = plan.jobs * 3 * unit(FUEL_MAX, PRICE)
        self.genesis = Genesis(
            v=1,
            name="market",
            created=START - 1,
            rules=VERSION,
            validators=(Validator(self._key("validator").public, 1),),
            accounts=tuple(Allocation(*row) for row in sorted(accounts.items())),
            params={"appeal_ms": APPEAL_MS},
        )
        self._capital = accounts
        self.rules = FogRules()
        self.state = self.rules.genesis(self.genesis)
        self.height, self.time = 1, START
        self.shards: dict[Cid, Shard] = {}
        self._open: set[Cid] = set()
        self._seqs: Counter[bytes] = Counter()
        self._submitted = 0
        self._salts = stream(plan.seed, "salts")
        self._doubted: list[Cid] = []
        self._appeals: dict[Cid, Cid] = {}
        self._settled: dict[Cid, dict[bytes, Opening]] = {}  # what is doubted, as it was opened

    def _key(self, name: str) -> SigningKey:
        return SigningKey(stream(self.plan.seed, "market", name).randbytes(32))

    def _hire(self) -> None:
        """Liars of one kind are partners. Keys are drawn, so no kind has small or large accounts."""
        kinds: list[type[Honest]] = [*self.plan.liars, *[Honest] * (self.plan.workers - len(self.plan.liars))]
        keys = [self._key(f"worker {n}") for n in range(len(kinds))]
        for kind, key in zip(kinds, keys, strict=True):
            partners = frozenset(k.public for k, other in zip(keys, kinds, strict=True) if other is kind)
            name = f"{kind.__name__} {key.public.hex()[:8]}"
            self.keys[key.public] = key
            self.traders[key.public] = kind(name, partners - {key.public})
            self.books.accounts[key.public] = Account(kind.__name__, kind.lies)

    # -- the ledger -----------------------------------------------------------------------------------------

    @property
    def context(self) -> Context:
        beacon = hashlib.sha256(b"%d beacon %d" % (self.plan.seed, self.height)).digest()
        return Context(self.genesis.net, self.height, self.time, beacon)

    def say(self, key: SigningKey, payload: Payload) -> str:
        event = self._event(key, payload)
        self.state, receipt = self.rules.execute(self.state, event, self.context)
        self._told(receipt)
        return receipt.code

    def _event(self, key: SigningKey, payload: Payload) -> Event:
        seq = self._seqs[key.public]
        self._seqs[key.public] += 1
        kind, version = kind_of(payload)
        prev = None if seq == 0 else SPEC
        return events.make(
            key,
            net=self.genesis.net,
            lane=0,
            seq=seq,
            prev=prev,
            parents=(),
            lc=seq + 1,
            ts=self.time,
            kind=kind,
            version=version,
            body=payload,
        )

    def close(self) -> None:
        self.state, receipt = self.rules.close(self.state, self.context)
        self._told(receipt)
        self._look_at_draws()
        self.height += 1
        self.time += CLOSE_MS
        if self.height % COUNT_EVERY == 0:
            self.state = self.state.seal()

    def _told(self, receipt: Receipt) -> None:
        for data in receipt.effects:
            match effects.decode(data):
                case RunIs() as run:
                    self._run_is(run)
                case ShardIs() as shard:
                    self._shard_is(shard)
                case Forfeited() as loss:
                    self.books.forfeited(loss)
                case Transferred() as told:
                    self.books.given(told)
                case AppealIs() as told:
                    self._appeal_is(told)

    # -- what is told ---------------------------------------------------------------------------------------

    def _run_is(self, run: RunIs) -> None:
        shard = self.shards.setdefault(run.job, Shard())
        before = shard.runs.get(run.attempt)
        shard.runs[run.attempt] = run
        if before is None:
            self.books.leased(run)
            if shard.opened or run.job in self._appeals:
                shard.late.add(run.attempt)
        if run.state == "paid":
            self.books.paid(run, right=self._is_right(run))
        if run.state in ("paid", "unpaid", "expired", "released"):
            self.traders[run.worker].over(run)

    def _shard_is(self, told: ShardIs) -> None:
        shard = self.shards.setdefault(told.job, Shard())
        shard.state = told.state
        if told.state == "open":
            shard.is_drawn = False
        if told.state in ("settled", "failed", "expired", "cancelled"):
            self._ended(told, shard)

    def _ended(self, told: ShardIs, shard: Shard) -> None:
        self.books.counts[f"shards.{told.state}"] += 1
        paid = [run for run in shard.runs.values() if run.state == "paid"]
        if len(paid) > 1:
            for run in paid:
                if run.attempt not in shard.late:
                    self.books.agreed(run.worker)
            if not self._is_right(paid[0]):
                self.books.counts["vouched" if self._are_partners(paid) else "overlooked"] += 1
        if told.state == "settled" and paid and self._is_canary(told.job) and not self._is_right(paid[0]):
            self._doubted.append(told.job)
            self._settled[told.job] = {
                run.worker: shard.opened[run.attempt] for run in paid if run.attempt in shard.opened
            }
        self._open.discard(told.job)
        del self.shards[told.job]

    def _is_canary(self, job: Cid) -> bool:
        """Whether the buyer knows the answer: nothing that others could see tells."""
        return (
            job not in self._appeals
            and self._of_job(job, "canary").random() * 1_000_000 < self.plan.canaries_ppm
        )

    def _of_job(self, job: Cid, what: str) -> random.Random:
        return stream(self.plan.seed, what, bytes(job))

    def _appeal_is(self, told: AppealIs) -> None:
        self.books.counts[f"appeals.{told.state}"] += 1
        self._appeals[told.appeal] = self.origin(told.job)
        if told.state == "open":
            self._open.add(told.appeal)

    def origin(self, job: Cid) -> Cid:
        """The job whose program runs: an appeal runs that of another."""
        return self._appeals.get(job, job)

    def _are_partners(self, runs: list[RunIs]) -> bool:
        workers = {run.worker for run in runs}
        return any(self.traders[worker].partners & workers for worker in workers)

    def _look_at_draws(self) -> None:
        """What this close drew for runs that had committed before."""
        for job in sorted(self._open):
            shard = self.shards.get(job)
            if shard is None or shard.is_drawn or shard.state not in ("checking", "trusted"):
                continue
            row = self.state.get(SHARD.name, job + b"\0\0")
            assert row is not None, "a shard that has not ended has its row"
            fate = SHARD.decode(row).fate
            if fate != Fate.UNDRAWN:
                shard.is_drawn = True
                run = next(run for run in shard.live if run.role == "work")
                right = self._opening_is_right(run, self.traders[run.worker].opening.get((job, run.attempt)))
                pay = unit(FUEL_MAX, PRICE)
                self.books.drawn(run.worker, pay, run.bond, hit=fate == Fate.CHECKED, right=right)

    # -- the truth ------------------------------------------------------------------------------------------

    def truth(self, job: Cid) -> tuple[Cid, int]:
        """What the program gives, and its fuel: somewhere near half of what is allowed."""
        job = self.origin(job)
        seed = hashlib.sha256(b"truth" + job).digest()
        return Cid.of(b"result" + job), 9 * GFUEL // 10 + int.from_bytes(seed[:4], "big") % (GFUEL // 5)

    def _is_right(self, run: RunIs) -> bool:
        return (run.result, run.fuel) == self.truth(run.job)

    def _opening_is_right(self, run: RunIs, opening: Opening | None) -> bool:
        return opening is not None and (opening.result, opening.fuel) == self.truth(run.job)

    # -- people ---------------------------------------------------------------------------------------------

    def run(self) -> BazaarReport:
        self._offer()
        while self._submitted < self.plan.jobs or self._open:
            self._submit()
            self._doubt()
            for job in sorted(self._open):
                self._work_on(job)
            self.close()
        return self._report()

    def _offer(self) -> None:
        """Offers stand for a day at most: longer than any run here."""
        for key in self.keys.values():
            terms = BondedOffer(self.plan.slots, PRICE, START + OFFER_MS, ENGINE, self.plan.bond)
            assert self.say(key, terms) == "ok"

    def _submit(self) -> None:
        wanted = int(OPEN_JOBS * self.plan.slots * self.plan.workers)
        while len(self._open) < wanted and self._submitted < self.plan.jobs:
            order = BondedJob(
                spec=SPEC,
                shards=1,
                fuel=FUEL_MAX,
                price=PRICE,
                lease=LEASE_MS,
                deadline=self.time + 3_600_000,
                engine=ENGINE,
                checks=Checks.ADAPTIVE,
                bond=self.plan.bond,
            )
            event = self._event(self.buyer, order)
            self.state, receipt = self.rules.execute(self.state, event, self.context)
            assert receipt.ok, receipt
            self._submitted += 1
            self._open.add(event.id)

    def _doubt(self) -> None:
        """The buyer got another answer than the one it knows."""
        for job in self._doubted:
            code = self.say(self.buyer, JobAppeal(job, 0))
            assert code == "ok", code
        self._doubted.clear()

    def _work_on(self, job: Cid) -> None:
        shard = self.shards.get(job)
        if shard is None:
            return
        for run in shard.live:
            if run.state == "leased":
                self._commit(shard, run)
        if not shard.may_open:
            return
        for run in sorted(shard.live, key=lambda run: self.traders[run.worker].wants_others_first):
            if run.state == "committed" and job in self.shards:
                self._reveal(shard, run)

    def _commit(self, shard: Shard, run: RunIs) -> None:
        trader, seen = self.traders[run.worker], self._seen(shard, run)

        def compute(job: Cid) -> Opening:
            result, fuel = self.truth(job)
            self.books.computed(run.worker, COST_PPM * payment(fuel, PRICE) // 1_000_000)
            return Opening(result, fuel, self._salts.randbytes(32))

        sealed = trader.commit(seen, compute)
        opening = trader.opening.get((run.job, run.attempt))
        if sealed is None:
            return
        if self.say(self.keys[run.worker], SealedCommit(run.job, 0, run.attempt, sealed)) == "ok":
            shard.committed[run.attempt] = sealed
            self.books.committed(run, right=self._opening_is_right(run, opening))

    def _reveal(self, shard: Shard, run: RunIs) -> None:
        opening = self.traders[run.worker].open(self._seen(shard, run))
        if opening is None:
            return
        order = LeaseReveal(run.job, 0, run.attempt, opening.result, opening.fuel, opening.salt)
        if self.say(self.keys[run.worker], order) == "ok":
            shard.opened[run.attempt] = opening

    def _seen(self, shard: Shard, run: RunIs) -> Seen:
        others = [other for other in shard.runs.values() if other.attempt != run.attempt]
        streak = self.books.accounts[run.worker].streak
        return Seen(
            run,
            FUEL_MAX,
            self.context.beacon,
            formula(streak, unit(FUEL_MAX, PRICE), run.bond),
            streak >= self.plan.patience,
            pulse.is_ready(self.state),
            others,
            {shard.runs[n].worker: what for n, what in shard.committed.items() if n != run.attempt},
            self._settled.get(self.origin(run.job), {})
            | {shard.runs[n].worker: what for n, what in shard.opened.items() if n != run.attempt},
        )

    # -- the end --------------------------------------------------------------------------------------------

    def _report(self) -> BazaarReport:
        self.state = self.state.seal()
        broken = [*self.books.broken(), *self._money()]
        return BazaarReport(self.plan, self.books, self.height, self.state.root, tuple(broken))

    def _money(self) -> Iterable[tuple[str, str]]:
        count = conservation(self.state)
        if not count.holds:
            yield "B6", f"{count}"
        for account, book in self.books.accounts.items():
            free, _, pledged = holdings(self.state, account)
            gained = free + pledged - self._capital[account]
            if gained != book.earned + book.cost:
                yield (
                    "B6",
                    f"{self.traders[account].name} gained {gained}, by the books {book.earned + book.cost}",
                )


def simulate_market(plan: Plan) -> BazaarReport:
    """One run, from its plan."""
    return Bazaar(plan).run()
