"""An account whose lane a fork has closed goes on with a new device, in a real ledger.

Bob restored a backup and so contradicted himself: two replicas with one key said different things at one
place. Nothing that his key says counts any more. His guardians bring him a new one.
"""

from __future__ import annotations

import hashlib

import pytest

from domain.effects import Effect, IdentityIs, RecoveryIs, Refusal, Transferred
from domain.payloads import (
    IdentityCancel,
    IdentityDelegate,
    IdentityGuard,
    IdentityRecover,
    Payload,
    Transfer,
    kind_of,
)
from domain.rules import FogRules
from domain.rules.accounts import balance
from domain.rules.acting import acts_in
from ledger.errors import UsageError
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.store import Store
from tests.domain.test_rules_in_a_ledger import Node

EPOCH, RECOVERY_MS = 5, 60_000


class Village(Node):
    """Bob has 500 micro-credits; v and carol are his guardians, and both are needed."""

    def __init__(self) -> None:
        super().__init__(epoch_checkpoints=EPOCH, recovery_ms=RECOVERY_MS)
        self.bob = self.keys["bob"].public
        for name in ("bob", "carol"):
            self.say("v", Transfer(self.keys[name].public, 500))
        self.settle()
        self.backup = self.open(self.keys["bob"])  # of a moment when bob had not said anything yet
        guardians = tuple(sorted(self.keys[name].public for name in ("v", "carol")))
        self.say("bob", IdentityGuard(guardians, 2))
        self.settle()

    def open(self, key: SigningKey) -> Replica:
        return Replica.open(Store.create("sqlite://", self.replica.genesis), FogRules(), key, validator=False)

    def say_as(self, replica: Replica, payload: Payload, acct: bytes | None = None) -> None:
        event = replica.append(*kind_of(payload), payload, now=self.now, acct=acct)
        assert not self.replica.ingest([event.wire], peer="somebody", now=self.now).rejected

    def fork(self) -> None:
        """The backup says another first word than bob did."""
        self.say_as(self.backup, Transfer(self.keys["v"].public, 1))
        self.settle()

    def newcomer(self, name: str = "laptop") -> tuple[bytes, Replica]:
        key = SigningKey(hashlib.sha256(name.encode()).digest())
        return key.public, self.open(key)

    def wait(self) -> list[Effect]:
        """An epoch of checkpoints, then the time to cancel."""
        told: list[Effect] = []
        for _ in range(EPOCH + 1):
            self.say("carol", Transfer(self.keys["v"].public, 1))
            told += self.settle()
        self.now += RECOVERY_MS
        return told + self.settle()


def refusals(told: list[Effect]) -> list[str]:
    return [effect.code for effect in told if isinstance(effect, Refusal)]


def test_after_a_fork_the_guardians_bring_a_new_device_that_acts_for_the_account() -> None:
    village = Village()
    village.fork()
    village.say("bob", Transfer(village.keys["v"].public, 5))
    assert not [effect for effect in village.settle() if isinstance(effect, Transferred)], "void: it forked"
    device, laptop = village.newcomer()
    village.say_as(laptop, Transfer(village.keys["v"].public, 7), acct=village.bob)
    village.settle()
    assert balance(village.replica.state, village.bob) == (500, 0), "not delegated"

    for guardian in ("v", "carol"):
        village.say(guardian, IdentityRecover(village.bob, device))
    [*_, waiting] = [effect for effect in village.settle() if isinstance(effect, RecoveryIs)]
    assert (waiting.state, waiting.agreed) == ("waiting", 2)
    assert not acts_in(village.replica.state, village.bob, device)
    told = village.wait()
    [identity] = [effect for effect in told if isinstance(effect, IdentityIs)]
    assert (identity.devices, identity.retired) == ((device,), True)

    village.say_as(laptop, Transfer(village.keys["v"].public, 7), acct=village.bob)
    village.settle()
    assert balance(village.replica.state, village.bob) == (493, 0)


def test_the_time_to_cancel_comes_without_any_event() -> None:
    """A network where nobody says anything makes a checkpoint for it by itself."""
    village = Village()
    device, _ = village.newcomer()
    for guardian in ("v", "carol"):
        village.say(guardian, IdentityRecover(village.bob, device))
    village.settle()
    for _ in range(EPOCH):
        village.now += 60_000  # heartbeats
        village.settle()
    village.now += RECOVERY_MS
    village.settle()
    assert acts_in(village.replica.state, village.bob, device)


def test_an_owner_who_was_only_away_cancels() -> None:
    village = Village()
    device, _ = village.newcomer()
    for guardian in ("v", "carol"):
        village.say(guardian, IdentityRecover(village.bob, device))
    village.settle()
    village.say("bob", IdentityCancel())
    assert refusals(village.settle() + village.wait()) == []
    assert not acts_in(village.replica.state, village.bob, device)


def test_a_node_whose_lane_is_forked_is_told_to_take_a_new_key() -> None:
    """Its own replica refuses to say what could have no effect, once it knows."""
    village = Village()
    village.fork()
    ours = village.people["bob"]
    [wire] = village.backup.store.lane_range(village.bob, 0, 0, 0, bytes_max=1 << 20)
    ours.ingest([wire], peer="v", now=village.now)
    with pytest.raises(UsageError) as caught:
        ours.append(*kind_of(Transfer(village.bob, 1)), Transfer(village.bob, 1), now=village.now)
    assert caught.value.code == "lane_closed"
    assert caught.value.next_step is not None
    assert "new device key" in caught.value.next_step


def test_a_delegated_device_says_what_it_says_on_its_own_lane() -> None:
    """So two devices of one account cannot fork each other's lane, whatever they say at the same time."""
    village = Village()
    devices = [village.newcomer(name) for name in ("laptop", "phone")]
    for device, _ in devices:
        village.say("bob", IdentityDelegate(device))
    village.settle()
    for _, replica in devices:
        village.say_as(replica, Transfer(village.keys["v"].public, 50), acct=village.bob)
    village.say("bob", Transfer(village.keys["v"].public, 50))
    village.settle()
    assert balance(village.replica.state, village.bob) == (350, 0)


def test_reopening_the_store_gives_the_same_identities() -> None:
    village = Village()
    device, _ = village.newcomer()
    village.say("bob", IdentityDelegate(device))
    village.say("carol", IdentityRecover(village.bob, hashlib.sha256(b"other").digest()))
    village.settle()
    again = Replica.open(village.store, FogRules(), village.keys["v"], validator=True)
    assert again.state.root == village.replica.state.root
    assert acts_in(again.state, village.bob, device)
