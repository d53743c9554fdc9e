"""The read models over the real rules and the real replica: what the tables say is what the state says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import astuple, replace

from domain.payloads import (
    BondedJob,
    BondedOffer,
    EscrowOpen,
    EvidenceVotes,
    JobCancel,
    JobSubmit,
    LeaseCommit,
    LeaseReveal,
    Offer,
    Payload,
    StakeBond,
    Transfer,
    kind_of,
)
from domain.rules import FogRules, commitment, conservation
from domain.rules.execute import VERSION as RULES
from domain.rules.records import ACCOUNT, POTS
from ledger import event as events
from ledger.cid import Cid
from ledger.database import reading
from ledger.event import Event
from ledger.evidence import VoteFault
from ledger.genesis import Allocation, Genesis, Validator
from ledger.replica import Replica
from ledger.store import Store
from ledger.votes import Phase, SignedVote, Vote
from projections import balances, log, prices, reputation, schedules, validators
from projections.model import Row
from projections.runner import MODELS, Runner
from tests.ledger.world import finalize
from tests.projections.world import CREATED, ENGINE, VALIDATOR, account, cid, key

HELD = {"alice": 10_000_000, "bob": 0, "carol": 0, "dave": 0}
STAKE = 10**9  # so much that whoever bonds here, and never votes, holds nothing up
WORKERS = ("bob", "carol", "dave")
NAMES = {account(name): name for name in WORKERS}
FUEL = 3 * 10**9
SALT = bytes(32)
COMMITMENT = commitment(cid("result"), FUEL, SALT)


class Network:
    """One validator and four people who sign by hand; time goes on by a second with each checkpoint."""

    epoch = 3

    def __init__(self, folder: Path) -> None:
        allocations = sorted((account(name), amount) for name, amount in HELD.items())
        genesis = Genesis(
            1,
            "test",
            CREATED,
            RULES,
            (Validator(VALIDATOR.public, STAKE),),
            tuple(Allocation(*allocation) for allocation in allocations),
            {"bond_min": 1_000, "epoch_checkpoints": self.epoch},
        )
        self.store = Store.create(f"sqlite:///{folder}/ledger.db", genesis)
        self.replica = Replica.open(self.store, FogRules(), VALIDATOR, validator=True)
        self.runner = Runner(self.store)
        self.now = CREATED
        self._heads: dict[str, Event] = {}

    def say(self, name: str, payload: Payload) -> Cid:
        before = self._heads.get(name)
        kind, version = kind_of(payload)
        new = events.make(
            key(name),
            net=self.store.net,
            lane=0,
            seq=0 if before is None else before.header.seq + 1,
            prev=None if before is None else before.id,
            parents=(),
            lc=1 if before is None else before.header.lc + 1,
            ts=self.now,
            kind=kind,
            version=version,
            body=payload,
        )
        self._heads[name] = new
        ingested = self.replica.ingest([new.wire], peer=name, now=self.now)
        assert ingested.admitted == [new], ingested.rejected
        return new.id

    def fork(self, name: str, payload: Payload) -> None:
        """Another event at the place of the last one; `say` goes on from the first."""
        first = self._heads[name].header
        kind, version = kind_of(payload)
        rival = events.make(
            key(name),
            net=self.store.net,
            lane=first.lane,
            seq=first.seq,
            prev=first.prev,
            parents=(),
            lc=first.lc,
            ts=self.now,
            kind=kind,
            version=version,
            body=payload,
        )
        ingested = self.replica.ingest([rival.wire], peer=name, now=self.now)
        assert len(ingested.forks) == 1, ingested

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table of every model."""
        tables = [table for model in MODELS for table in model.tables]
        with reading(self.store.engine) as conn:
            return {
                table.name: [
                    tuple(row) for row in conn.execute(sa.select(table).order_by(*table.primary_key))
                ]
                for table in tables
            }

    def double_vote(self, name: str) -> EvidenceVotes:
        votes = (Vote(self.store.net, 0, 1, Phase.NOTARIZE, cid(what), CREATED) for what in "ab")
        fault = VoteFault.of(*(SignedVote.make(key(name), vote) for vote in votes))
        return EvidenceVotes(fault.one, fault.other)

    def finalize(self) -> None:
        self.now += 1_000
        finalize(self.replica, self.now)
        self.runner.catch_up()

    def ask(self, query: Any, *args: Any) -> Any:
        with reading(self.store.engine) as conn:
            return query(conn, *args)

    def balances(self) -> dict[bytes, tuple[int, ...]]:
        rows = self.ask(balances.page, None, 200).rows
        return {row["account"]: (row["free"], row["escrow"], row["pledged"]) for row in rows}

    def state_balances(self) -> dict[bytes, tuple[int, ...]]:
        rows = ((who, ACCOUNT.decode(data)) for who, data in self.replica.state.items(ACCOUNT.name))
        return {who: (held.free, held.escrow, held.pledged) for who, held in rows}

    def work(self, job: Cid) -> None:
        """Every worker does what its runs in the tables ask of it."""
        runs = self.ask(schedules.runs, job, None, None, 200).rows
        for run in runs:
            place = (job, run["shard"], run["attempt"])
            states = [r["state"] for r in runs if r["shard"] == run["shard"]]
            if run["state"] == "leased":
                self.commit(run)
            elif run["state"] == "committed" and len(states) == 2 and "leased" not in states:
                self.say(NAMES[run["worker"]], LeaseReveal(*place, cid("result"), FUEL, SALT))

    def commit(self, run: Row) -> None:
        place = (Cid(run["job"]), run["shard"], run["attempt"])
        self.say(NAMES[run["worker"]], LeaseCommit(*place, COMMITMENT))


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    network = Network(tmp_path)
    yield network
    network.store.close()


def test_tables_agree_with_the_state_at_every_height_of_a_checked_job(network: Network) -> None:
    """Offers, a job of two shards, both checked and paid: money is conserved and nobody's balance differs."""
    network.say("alice", Transfer(account("bob"), 5))
    network.say("bob", Transfer(account("carol"), 10**9))
    for name, price in zip(WORKERS, (50, 60, 70), strict=True):
        network.say(name, Offer(2, price, CREATED + 3_600_000, ENGINE))
    network.finalize()
    submit = JobSubmit(cid("spec"), 2, 10 * 10**9, 100, 60_000, CREATED + 3_000_000, ENGINE, 1)
    job = network.say("alice", submit)
    for _ in range(12):
        network.finalize()
        held = network.balances()
        assert sum(map(sum, held.values())) == sum(HELD.values())
        assert held == network.state_balances()
        assert conservation(network.replica.state).holds
        if network.ask(schedules.job, job)["state"] != "running":
            break
        network.work(job)
    done = network.ask(schedules.job, job)
    assert (done["state"], done["settled"], done["failed"]) == ("done", 2, 0)
    paid = network.ask(reputation.contributions, None, job, None, 200).rows
    assert len(paid) == 4
    assert sum(row["amount"] for row in paid) == done["spent"]
    assert network.ask(schedules.live_runs, None, None, 200).rows == []
    codes = {row["code"] for row in network.ask(log.events, account("bob"), "transfer", None, None, 200).rows}
    assert codes == {"insufficient_funds"}
    (asks,) = network.ask(prices.current, None, 200).rows
    assert (asks["lowest"], asks["median"], asks["offers"]) == (50, 60, 3)


def test_a_restarted_node_reads_on_where_it_was(network: Network, tmp_path: Path) -> None:
    """Open the store anew, fold on, and compare with tables rebuilt from nothing."""
    network.say("alice", Transfer(account("bob"), 5))
    network.finalize()
    network.say("bob", Transfer(account("carol"), 2))
    network.now += 1_000
    assert finalize(network.replica, network.now) is not None  # final, and not yet folded
    network.store.close()
    with Store.open(f"sqlite:///{tmp_path}/ledger.db") as store:
        runner = Runner(store)
        assert (runner.height, runner.catch_up()) == (1, 2)
        with reading(store.engine) as conn:
            before = balances.page(conn, None, 200)
        runner.rebuild()
        with reading(store.engine) as conn:
            assert balances.page(conn, None, 200) == before
            assert balances.one(conn, account("carol"))["free"] == 2


def test_tables_made_anew_equal_the_live_ones_row_by_row(network: Network) -> None:
    """Jobs done, cancelled and expired, a bond lost, a fork, refusals, an unknown kind: every table of
    every model has rows, and after forgetting them all, the same rows again."""
    for name, price in zip(WORKERS, (50, 60, 70), strict=True):
        network.say(name, Offer(2, price, CREATED + 3_600_000, ENGINE))
    network.finalize()
    terms = JobSubmit(cid("spec"), 2, 10 * 10**9, 100, 60_000, CREATED + 3_000_000, ENGINE, 1)
    done = network.say("alice", terms)
    cancelled = network.say("alice", replace(terms, spec=cid("other")))
    expired = network.say(
        "alice", replace(terms, spec=cid("late"), deadline=CREATED + 90_000, engine=cid("x")[4:])
    )
    for _ in range(12):
        network.finalize()
        if network.ask(schedules.job, done)["state"] != "running":
            break
        network.work(done)
    for name in WORKERS:
        network.say(name, BondedOffer(2, 50, CREATED + 3_600_000, ENGINE, 100))
    network.finalize()
    hidden = network.say("alice", BondedJob(*astuple(replace(terms, shards=1)), 100))
    for _ in range(6):
        network.finalize()
        for run in network.ask(schedules.live_runs, None, None, 200).rows:
            if run["job"] == hidden and run["state"] == "leased":
                network.commit(run)
    assert [row["pledged"] for row in network.ask(balances.page, None, 200).rows if row["pledged"]] == [
        100
    ] * 2
    network.say("alice", JobCancel(cancelled))
    network.say("alice", StakeBond(1_000))
    network.finalize()  # else the bond may be ordered after what it answers for
    network.say("bob", network.double_vote("alice"))
    network.say("alice", EscrowOpen(account("bob"), 1_000, 400, network.now + 60_000))
    network.say("bob", Transfer(account("carol"), 10**15))
    network.say("dave", Transfer(account("dave"), 1))
    network.say("carol", Transfer(account("alice"), 1))
    network.fork("carol", Transfer(account("bob"), 1))
    network.say("carol", Transfer(account("dave"), 1))
    network.finalize()
    network.now = CREATED + 400_000
    for name in ("alice", "dave"):  # ledger time lags by a checkpoint
        network.say(name, Transfer(account("bob"), 1))
        network.finalize()
    states = {job: network.ask(schedules.job, job)["state"] for job in (done, cancelled, expired)}
    assert states == {done: "done", cancelled: "cancelled", expired: "expired"}
    codes = {row["code"] for row in network.ask(log.events, None, None, None, None, 200).rows}
    assert {"ok", "insufficient_funds", "to_self", "fork_void"} <= codes

    lost = network.ask(reputation.forfeits, None, None, 200).rows
    assert [(row["reason"], row["amount"], row["bounty"]) for row in lost] == [("hidden_result", 100, 0)] * 2
    kept = conservation(network.replica.state).kept
    assert network.ask(validators.supply) == {name: getattr(kept, name) for name in ("minted", *POTS)}
    assert network.balances() == network.state_balances()

    live = network.contents()
    assert all(live.values()), f"without a row: {[name for name, rows in live.items() if not rows]}"
    assert network.runner.rebuild() == network.replica.height
    assert network.contents() == live
