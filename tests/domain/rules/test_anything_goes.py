"""Whatever people do, in whatever order, at whatever time: what must always hold, holds.

Random sequences of every kind of event, by right and wrong people, early, late, twice and malformed. After
every step `World` checks the state and the history against `invariants`. In the end the same sequence is
executed again, and then the clock runs out.
"""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from domain.effects import RunIs
from domain.payloads import (
    BondedJob,
    BondedOffer,
    EscrowClose,
    EscrowOpen,
    EscrowRedeem,
    IdentityDelegate,
    JobAppeal,
    JobCancel,
    JobSubmit,
    LeaseCommit,
    LeaseRelease,
    LeaseReveal,
    Offer,
    SealedCommit,
    Transfer,
)
from domain.rules import FogRules, Lease, commitment, sealed
from domain.vouchers import SignedVoucher, Voucher
from ledger import canonical
from ledger.cid import Cid
from ledger.event import Event
from ledger.execution import Context
from ledger.state import State
from tests.domain.rules.world import ENGINE, GFUEL, SPEC, World, result_of, salt_of

OTHER = hashlib.sha256(b"other").digest()
PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank")
FUEL = GFUEL

people = st.sampled_from(PEOPLE)
answers = st.sampled_from(
    (("right", 700_000_001),) * 6 + (("wrong", 700_000_001), ("right", 5), ("odd", FUEL))
)
engines = st.sampled_from((ENGINE, ENGINE, OTHER))
moments = st.sampled_from((1, 1, 1, 1, 1, 300, 1_000, 5_000, 5_000, 60_000))


class AnythingGoes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World({"grace_checkpoints": 2, "appeal_ms": 10_000}, alice=10_000, bob=1_000, carol=50)
        self.escrows: list[tuple[Cid, str, str]] = [(Cid.of(b"no such escrow"), "alice", "bob")]
        self.jobs: list[Cid] = [Cid.of(b"no such job")]
        self.answers: dict[tuple[Cid, int, int], tuple[str, int]] = {}
        self.story: list[tuple[Event | None, Context]] = []

    def do(self, name: str, payload: Any, kind: tuple[str, int] | None = None) -> str:
        event = self.world.event(name, payload, kind)
        self.story.append((event, self.world.context))
        return self.world.order(event)

    def live(self, *states: str) -> list[RunIs]:
        runs = self.world.history.runs
        return [runs[place] for place in sorted(runs) if runs[place].state in states]

    # -- people ---------------------------------------------------------------------------------------------

    @initialize()
    def some_offers_stand(self) -> None:
        for name in PEOPLE[1:5]:
            self.do("alice", Transfer(self.world.account(name), 300))
            self.do(name, BondedOffer(3, 3, self.world.time + 80_000_000, ENGINE, 40))
            self.do(name, IdentityDelegate(self.world.account(f"{name}'s laptop")))
            self.laptop_offers(name, BondedOffer(3, 3, self.world.time + 80_000_000, OTHER, 40))

    def laptop_offers(self, who: str, offer: BondedOffer) -> None:
        """Another engine, the same credits."""
        event = self.world.event(f"{who}'s laptop", offer, acct=who)
        self.story.append((event, self.world.context))
        self.world.order(event)

    @rule(source=people, to=people, amount=st.sampled_from((1, 7, 60, 5_000, 2**62)))
    def pay(self, source: str, to: str, amount: int) -> None:
        self.do(source, Transfer(self.world.account(to), amount))

    @rule(
        who=people,
        slots=st.sampled_from((0, 1, 3, 3)),
        price=st.integers(0, 12),
        stands=st.sampled_from((-1, 5_000, 80_000_000, 2**40)),
        bond=st.sampled_from((None, 0, 7, 40, 40, 40, 2**53)),
        engine=engines,
        laptop=st.booleans(),
    )
    def offer(
        self, who: str, slots: int, price: int, stands: int, bond: int | None, engine: bytes, laptop: bool
    ) -> None:
        until = self.world.time + stands
        bonded = BondedOffer(slots, price, until, engine, bond or 0)
        if laptop:
            self.laptop_offers(who, bonded)
        else:
            self.do(who, Offer(slots, price, until, engine) if bond is None else bonded)

    @rule(
        who=st.sampled_from(("alice", "alice", "bob", "carol")),
        shards=st.integers(1, 4),
        price=st.integers(2, 12),
        lease=st.sampled_from((500, 1_000, 5_000, 5_000, 5_000)),
        ahead=st.sampled_from((0, 10_000, 20_000, 200_000, 200_000, 200_000, 2**40)),
        checks=st.sampled_from((1, 1, 0, 2, 2)),
        bond=st.sampled_from((0, 1, 7, 40, 40)),
        engine=engines,
    )
    def submit(
        self,
        who: str,
        shards: int,
        price: int,
        lease: int,
        ahead: int,
        checks: int,
        bond: int,
        engine: bytes,
    ) -> None:
        deadline = self.world.time + ahead
        if lease < 1_000:  # no struct can say that; the bytes can
            body = {"spec": SPEC, "shards": shards, "fuel": FUEL, "price": price, "lease": lease}
            rest = {"deadline": deadline, "engine": engine}
            self.do(who, canonical.encode(body | rest), ("job.submit", 1))
        else:
            job: JobSubmit | BondedJob = BondedJob(
                SPEC, shards, FUEL, price, lease, deadline, engine, checks, bond
            )
            if checks < 2 and not bond:
                job = JobSubmit(SPEC, shards, FUEL, price, lease, deadline, engine, checks)
            if self.do(who, job) == "ok":
                event = self.world.receipts[-1].event
                assert event is not None
                self.jobs.append(event)

    @rule(who=st.sampled_from(("alice", "alice", "bob")), data=st.data())
    def cancel(self, who: str, data: st.DataObject) -> None:
        self.do(who, JobCancel(data.draw(st.sampled_from(self.jobs))))

    @rule(who=people, data=st.data())
    def doubt(self, who: str, data: st.DataObject) -> None:
        settled = [place for place, how in self.world.history.shards.items() if how.state == "settled"]
        job, shard = data.draw(st.sampled_from(sorted(settled))) if settled else (self.jobs[0], 0)
        if self.do(who, JobAppeal(job, shard)) == "ok":
            event = self.world.receipts[-1].event
            assert event is not None
            self.jobs.append(event)

    @rule(
        payer=people,
        payee=people,
        amount=st.sampled_from((1, 40, 900)),
        ahead=st.integers(0, 6),
        ms=st.sampled_from((0, 1, 20_000)),
    )
    def open_escrow(self, payer: str, payee: str, amount: int, ahead: int, ms: int) -> None:
        moment = self.world.time + ms
        order = EscrowOpen(self.world.account(payee), amount, self.world.height + ahead, moment)
        if self.do(payer, order) == "ok":
            event = self.world.receipts[-1].event
            assert event is not None
            self.escrows.append((event, payer, payee))

    @rule(data=st.data(), total=st.sampled_from((1, 20, 40, 500, 900)), liar=st.booleans())
    def redeem(self, data: st.DataObject, total: int, liar: bool) -> None:
        id, payer, payee = data.draw(st.sampled_from(self.escrows))
        signer = self.world.key(payee if liar else payer)
        signed = SignedVoucher.make(signer, Voucher(self.world.genesis.net, id, total))
        self.do(payee, EscrowRedeem(id, total, signed.sig))

    @rule(data=st.data(), who=people)
    def close_escrow(self, data: st.DataObject, who: str) -> None:
        id, _, payee = data.draw(st.sampled_from(self.escrows))
        self.do(data.draw(st.sampled_from((payee, who))), EscrowClose(id))

    @rule(
        who=people, kind=st.sampled_from(("transfer", "offer", "x", "lease.commit")), body=st.integers(0, 9)
    )
    def nonsense(self, who: str, kind: str, body: int) -> None:
        assert self.do(who, canonical.encode({"n": body}), (kind, 1)) in ("unknown_kind", "bad_payload")

    # -- workers --------------------------------------------------------------------------------------------

    @rule(data=st.data(), absent=st.sampled_from(("nobody", "nobody", "bob", "carol")))
    def work_goes_on(self, data: st.DataObject, absent: str) -> None:
        """What is placed is committed to, and what may be revealed is, twice; but not by who is absent."""
        for _ in range(2):
            self.checkpoints_end(1, 2)
            for run in self.live("leased"):
                if self.world.name(run.worker) != absent:
                    self.commit(run, self.world.name(run.worker), data.draw(answers))
            for run in self.live("committed"):
                if self.world.name(run.worker) != absent:
                    answer = self.answers[run.job, run.shard, run.attempt]
                    self.reveal(run, self.world.name(run.worker), answer)

    @rule(data=st.data())
    def work_goes_on_all_the_same(self, data: st.DataObject) -> None:
        self.work_goes_on(data, "nobody")

    @rule(data=st.data(), answer=answers)
    def somebody_commits(self, data: st.DataObject, answer: tuple[str, int]) -> None:
        runs = self.live("leased", "committed", "paid")
        if runs:
            run = data.draw(st.sampled_from(runs))
            self.commit(run, data.draw(st.sampled_from((self.world.name(run.worker), "alice"))), answer)

    @rule(data=st.data(), lie=st.none() | answers)
    def somebody_reveals(self, data: st.DataObject, lie: tuple[str, int] | None) -> None:
        runs = self.live("leased", "committed", "committed", "revealed", "paid")
        if runs:
            run = data.draw(st.sampled_from(runs))
            answer = lie or self.answers.get((run.job, run.shard, run.attempt), ("right", 1))
            self.reveal(run, data.draw(st.sampled_from((self.world.name(run.worker), "bob"))), answer)

    @rule(data=st.data(), attempt=st.integers(0, 3), shard=st.integers(0, 5))
    def somebody_releases(self, data: st.DataObject, attempt: int, shard: int) -> None:
        runs = self.live("leased")
        if runs and attempt:
            run = data.draw(st.sampled_from(runs))
            self.do(self.world.name(run.worker), LeaseRelease(run.job, run.shard, run.attempt, "tired"))
        else:
            self.do("bob", LeaseRelease(data.draw(st.sampled_from(self.jobs)), shard, attempt, "tired"))

    def commit(self, run: RunIs, who: str, answer: tuple[str, int]) -> None:
        opened = (result_of(answer[0]), answer[1], salt_of(self.world.account(who)))
        place = (run.job, run.shard, run.attempt)
        order: LeaseCommit | SealedCommit = LeaseCommit(*place, commitment(*opened))
        if run.bond:
            order = SealedCommit(*place, sealed(*opened, Lease(self.world.account(who), *place)))
        if self.do(who, order) == "ok":
            self.answers[run.job, run.shard, run.attempt] = answer

    def reveal(self, run: RunIs, who: str, answer: tuple[str, int]) -> None:
        salt = salt_of(self.world.account(who))
        self.do(who, LeaseReveal(run.job, run.shard, run.attempt, result_of(answer[0]), answer[1], salt))

    # -- time -----------------------------------------------------------------------------------------------

    @rule(ms=moments, times=st.integers(1, 3))
    def checkpoints_end(self, ms: int, times: int) -> None:
        for _ in range(times):
            self.story.append((None, self.world.context))
            self.world.close(ms)

    # -- the end --------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        root = self.world.state.seal().root
        assert replay(self.world, self.story).seal().root == root, "the same story, another state"
        self.nothing_is_left_when_time_has_run_out()

    def nothing_is_left_when_time_has_run_out(self) -> None:
        for _ in range(20):
            self.world.close(2**33)
        assert self.world.rules.due(self.world.state) is None
        assert all(escrow == pledged == 0 for _, escrow, pledged in self.world.balances.values())
        kept = {"account", "bond", "standing", "params", "supply", "validators", "identity", "delegation"}
        assert set(self.world.state.tables()) <= kept, "something outlived its time"
        assert all(job.state != "running" for job in self.world.job_is.values())


def replay(world: World, story: list[tuple[Event | None, Context]]) -> State:
    """The same events and closes on new rules."""
    rules = FogRules()
    state = rules.genesis(world.genesis)
    for event, context in story:
        state, _ = rules.close(state, context) if event is None else rules.execute(state, event, context)
    return state


TestAnythingGoes = AnythingGoes.TestCase
TestAnythingGoes.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
