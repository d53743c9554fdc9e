"""Stake in a real vote: a newcomer's bond comes to decide, and whoever votes twice stops to.

Five replicas with the real rules, one clock, and a post that never loses a message.
"""

from __future__ import annotations

import hashlib
from collections import deque

import pytest

from domain.payloads import EvidenceVotes, Payload, StakeBond, Transfer, kind_of
from domain.rules import FogRules, conservation
from domain.rules.bonds import bond_in
from ledger.cid import Cid
from ledger.evidence import VoteFault
from ledger.genesis import Allocation, Genesis, Validator
from ledger.reactions import Reaction
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.store import Store
from ledger.validators import epoch_of, validators_of
from ledger.votes import Phase, SignedVote, Vote, decode_certificate

START = 1_700_000_000_000
EPOCH = 3
STAKE = 1_000_000
FOUNDERS = ("ann", "ben", "cid", "dot")
EVERYBODY = (*FOUNDERS, "eve")


def key_of(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(name.encode()).digest())


class Town:
    """`down` are those who hear and say nothing."""

    def __init__(self) -> None:
        self.keys = {name: key_of(name) for name in EVERYBODY}
        self.names = {key.public: name for name, key in self.keys.items()}
        validators = sorted((self.keys[name].public, STAKE) for name in FOUNDERS)
        accounts = sorted((key.public, STAKE) for key in self.keys.values())
        genesis = Genesis(
            v=1,
            name="town",
            created=START,
            rules=7,
            validators=tuple(Validator(*row) for row in validators),
            accounts=tuple(Allocation(*row) for row in accounts),
            params={"bond_min": 1_000, "epoch_checkpoints": EPOCH, "jail_ms": 365 * 86_400_000},
        )
        self.replicas = {
            name: Replica.open(Store.create("sqlite://", genesis), FogRules(), key, validator=True)
            for name, key in self.keys.items()
        }
        self.net = genesis.net
        self.now = START
        self.down: set[str] = set()
        self.faults: list[VoteFault] = []
        for replica in self.replicas.values():  # nobody ever voted
            assert replica.rejoin(dict.fromkeys(self.names, ()), now=self.now)

    def say(self, name: str, payload: Payload) -> Cid:
        event = self.replicas[name].append(*kind_of(payload), payload, now=self.now)
        for other, replica in self.replicas.items():
            if other != name:
                replica.ingest([event.wire], peer=name, now=self.now)
        return event.id

    @property
    def height(self) -> int:
        return min(replica.height for name, replica in self.replicas.items() if name not in self.down)

    @property
    def state(self):
        """Of whoever is up; they are all the same, or the vote would have stopped."""
        return next(replica for name, replica in self.replicas.items() if name not in self.down).state

    def grow(self, checkpoints: int, *, within: int = 400) -> None:
        """Something new to order, again and again, until so many checkpoints more are final everywhere."""
        aim = self.height + checkpoints
        for _ in range(within):
            if self.height >= aim:
                return
            if not any(replica.unordered() for replica in self.replicas.values()):
                self.say("dot", Transfer(self.keys["ann"].public, 1))
            self.turn()
        raise AssertionError(f"height {self.height}, not {aim}, after {within} turns")

    def turn(self) -> None:
        """Everybody who is up looks at the clock, then all that is said is heard."""
        self.now += 500
        post: deque[tuple[str, bytes]] = deque()
        for name, replica in self.replicas.items():
            if name not in self.down:
                if replica.is_silent:  # it has a seat since the last turn
                    self._rejoin(name)
                self._note(name, replica.step(self.now), post)
        while post:
            sender, message = post.popleft()
            for name, replica in self.replicas.items():
                if name not in self.down and name != sender:
                    self._note(name, replica.hear(message, now=self.now), post)

    def _rejoin(self, name: str) -> None:
        """As a node does: ask who is up what they hold of its votes, before the first one."""
        others = [other for other in self.replicas if other != name and other not in self.down]
        answers = {self.keys[other].public: self.replicas[other].ballots(0, 0) for other in others}
        assert self.replicas[name].rejoin(answers, now=self.now)

    def _note(self, name: str, reaction: Reaction, post: deque[tuple[str, bytes]]) -> None:
        post.extend((name, message) for message in reaction.send)
        self.faults += reaction.faults

    def hears(self, name: str, *votes: SignedVote) -> None:
        for vote in votes:
            self._note(name, self.replicas[name].hear(vote.encode(), now=self.now), deque())

    def validators(self, epoch: int) -> dict[str, int]:
        stakes = validators_of(self.state, epoch).stakes
        return {self.names[key]: stake for key, stake in stakes.items()}

    @property
    def epoch(self) -> int:
        """Of the checkpoint that comes next."""
        return epoch_of(self.height + 1, EPOCH)

    def voters(self) -> set[str]:
        """Whose votes are in the certificate of the last checkpoint's parent, as somebody keeps it."""
        replica = next(replica for name, replica in self.replicas.items() if name not in self.down)
        (link,), _ = replica.store.run(replica.height, 1)
        return {self.names[ballot.by] for ballot in decode_certificate(link[1]).votes}


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_newcomers_bond_decides_from_two_epochs_later_on(town: Town) -> None:
    """It comes by a tenth at a time; then with one founder away, nothing is final without the newcomer."""
    town.say("eve", StakeBond(840_000))
    town.grow(EPOCH)
    assert town.validators(1) == dict.fromkeys(FOUNDERS, STAKE)
    assert town.validators(2) == {**dict.fromkeys(FOUNDERS, STAKE), "eve": 400_000}
    town.grow(2 * EPOCH)
    assert town.validators(town.epoch) == {**dict.fromkeys(FOUNDERS, STAKE), "eve": 840_000}
    town.down = {"ann"}
    town.grow(2)
    assert town.voters() == {"ben", "cid", "dot", "eve"}
    town.down = {"ann", "eve"}
    height = town.height
    with pytest.raises(AssertionError, match="after 40 turns"):
        town.grow(1, within=40)
    assert town.height == height


def test_who_votes_twice_is_found_punished_and_leaves_and_the_town_goes_on(town: Town) -> None:
    town.grow(2)
    last = town.replicas["ann"].last
    assert last is not None
    place = {"net": town.net, "epoch": town.epoch, "slot": last.final.slot + 1, "ts": town.now}
    one, other = (
        SignedVote.make(town.keys["dot"], Vote(phase=Phase.NOTARIZE, checkpoint=Cid.of(what), **place))  # type: ignore[arg-type]
        for what in (b"here", b"there")
    )
    town.hears("ann", one, other)
    [fault] = town.faults
    assert fault.by == town.keys["dot"].public
    town.say("ann", EvidenceVotes(fault.one, fault.other))
    town.grow(2)
    held = bond_in(town.state, town.keys["dot"].public)
    assert (held.bonded, held.jailed > town.now) == (STAKE - 800_000, True)  # 5 % + 3 x a quarter
    count = conservation(town.state)
    assert count.holds
    assert count.kept.burned == 760_000
    for _ in range(5):
        town.grow(EPOCH)
    assert "dot" not in town.validators(town.epoch)
    town.down = {"dot"}
    town.grow(2)
    assert town.voters() == {"ann", "ben", "cid"}
