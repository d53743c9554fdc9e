"""The rules inside a real replica: a job goes its whole way, and checkpoints come without events when due."""

from __future__ import annotations

import hashlib

import pytest

from domain import effects
from domain.effects import Effect, RunIs
from domain.payloads import (
    JobSubmit,
    LeaseCommit,
    LeaseReveal,
    Offer,
    Payload,
    kind_of,
)
from domain.rules import FogRules, commitment, conservation
from domain.rules.accounts import balance
from ledger.cid import Cid
from ledger.genesis import Allocation, Genesis, Validator
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.store import Store
from tests.ledger.world import finalize

ENGINE, RESULT, SALT = bytes(32), Cid.of(b"result"), bytes(32)
START = 1_700_000_000_000
MINUTE = 60_000


class Node:
    """One validator with its own clock; the people's events reach it as wires."""

    def __init__(self, **params: int) -> None:
        self.keys = {
            name: SigningKey(hashlib.sha256(name.encode()).digest()) for name in ("v", "bob", "carol")
        }
        validator = self.keys["v"].public
        genesis = Genesis(
            v=1,
            name="test",
            created=START,
            rules=7,
            validators=(Validator(validator, 1),),
            accounts=(Allocation(validator, 1_000),),
            params=params,
        )
        self.store = Store.create("sqlite://", genesis)
        self.replica = Replica.open(self.store, FogRules(), self.keys["v"], validator=True)
        self.people = {
            name: Replica.open(Store.create("sqlite://", genesis), FogRules(), key, validator=False)
            for name, key in self.keys.items()
            if name != "v"
        }
        self.now = START
        self.position = 0

    def say(self, name: str, payload: Payload) -> Cid:
        speaker = self.people.get(name, self.replica)
        event = speaker.append(*kind_of(payload), payload, now=self.now)
        if speaker is not self.replica:
            self.replica.ingest([event.wire], peer=name, now=self.now)
        return event.id

    def settle(self) -> list[Effect]:
        """Propose for as long as there is something to do; what the new receipts told."""
        for _ in range(10):
            self.now += 1
            if finalize(self.replica, self.now) is None:
                break
        told: list[Effect] = []
        for final in self.store.finalized(self.position, 1_000):
            self.position = final.position
            told += map(effects.decode, final.receipt.effects)
        assert conservation(self.replica.state).holds
        return told


def runs(told: list[Effect], state: str) -> list[RunIs]:
    return [effect for effect in told if isinstance(effect, RunIs) and effect.state == state]


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_job_goes_its_whole_way_on_one_validator(node: Node) -> None:
    names = {key.public: name for name, key in node.keys.items()}
    for name in ("bob", "carol"):
        node.say(name, Offer(1, 5, START + 30 * MINUTE, ENGINE))
    node.settle()
    node.now += 5 * MINUTE  # quiet for longer than the lease that follows
    job = node.say("v", JobSubmit(Cid.of(b"spec"), 1, 10**9, 10, 60_000, node.now + 20 * MINUTE, ENGINE))
    [work] = runs(node.settle(), "leased")
    assert work.until > node.now, "a lease that was over before it began"
    sealed = commitment(RESULT, 10**9, SALT)
    node.now += 50_000
    node.say(names[work.worker], LeaseCommit(job, 0, 0, sealed))
    [check] = runs(node.settle(), "leased")
    assert check.worker != work.worker
    assert check.until > node.now
    node.now += 50_000
    node.say(names[check.worker], LeaseCommit(job, 0, 1, sealed))
    assert runs(node.settle(), "committed")[-1].until > node.now
    for run in (work, check):
        node.say(names[run.worker], LeaseReveal(job, 0, run.attempt, RESULT, 10**9, SALT))
    assert {run.paid for run in runs(node.settle(), "paid")} == {5}
    assert balance(node.replica.state, node.keys["v"].public) == (990, 0)


def test_a_lease_that_nobody_answers_lapses_with_no_event_at_all(node: Node) -> None:
    node.say("bob", Offer(1, 5, START + 30 * MINUTE, ENGINE))
    node.say("v", JobSubmit(Cid.of(b"spec"), 1, 10**9, 10, 5_000, START + 20 * MINUTE, ENGINE))
    [first] = runs(node.settle(), "leased")
    node.now += 5_001
    told = node.settle()
    assert [run.attempt for run in runs(told, "expired")] == [first.attempt]
    assert [run.attempt for run in runs(told, "leased")] == [first.attempt + 1]


def test_reopening_the_store_gives_the_same_state(node: Node) -> None:
    node.say("bob", Offer(1, 5, START + 30 * MINUTE, ENGINE))
    node.say("v", JobSubmit(Cid.of(b"spec"), 5, 10**9, 10, 5_000, START + 20 * MINUTE, ENGINE))
    node.settle()
    again = Replica.open(node.store, FogRules(), node.keys["v"], validator=True)
    assert again.state.root == node.replica.state.root
    assert FogRules().due(again.state) == FogRules().due(node.replica.state)
