"""The liars who lie with votes, one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from fog.sim.disk import Disk
from fog.sim.ground import VOTES
from fog.sim.habits import Habit, Liar, ShamelessReplica
from fog.sim.node import Node
from ledger import votes
from ledger.checkpoint import parse_checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.replica import Replica
from ledger.simplex import AHEAD_MAX
from ledger.votes import Certificate, Message, Phase, Proposal, SignedVote, Vote
from network.gossip import decode_votes, encode_votes


class VotingHabit(Habit):
    """A habit that signs votes."""

    every_ms = 0

    def sign(self, epoch: int, slot: int, phase: Phase, checkpoint: Cid | None, ts: int) -> bytes:
        vote = Vote(self.pen.net, epoch, slot, phase, checkpoint, ts)
        return SignedVote.make(self.liar.key, vote).encode()

    def tell_votes(self, said: Sequence[bytes], to: list[Node] | None = None) -> None:
        self.note()
        for message in encode_votes(said, self.liar.now):
            self.liar.ground.observer.said(self.liar, VOTES, message)
            self.liar.ground.gossip(self.liar, VOTES, message, to)

    def read(self, message: bytes) -> Iterator[Message]:
        try:
            said = [votes.parse_message(data, net=self.pen.net) for data in decode_votes(message)]
        except RemoteError:
            return
        yield from said


class Equivocator(VotingHabit):
    """Notarizes everything that anybody proposes, finalizes it, and skips the same slot: to everybody, or
    to some this and to others that."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._done: dict[tuple[int, int, Cid], None] = {}
        self._is_sly = self.draw.randrange(2)

    def heard(self, topic: str, message: bytes) -> None:
        if topic != VOTES:
            return
        for one in self.read(message):
            vote = (
                one.vote.vote
                if isinstance(one, Proposal)
                else one.vote
                if isinstance(one, SignedVote)
                else one
            )
            if vote.checkpoint is None or (vote.epoch, vote.slot, vote.checkpoint) in self._done:
                continue
            self._done[vote.epoch, vote.slot, vote.checkpoint] = None
            place, now = (vote.epoch, vote.slot), self.liar.now
            left, right = self.halves() if self._is_sly else (None, None)
            self.tell_votes([self.sign(*place, Phase.NOTARIZE, vote.checkpoint, now)])
            self.tell_votes([self.sign(*place, Phase.FINALIZE, vote.checkpoint, now)], left)
            self.tell_votes([self.sign(*place, Phase.SKIP, None, now)], right)


class BadProposer(VotingHabit):
    """Proposes checkpoints whose roots are not those that executing them gives."""

    def telling(self, target: Node, topic: str, told: Sequence[bytes]) -> Sequence[bytes]:
        return told if topic != VOTES else [bent for message in told for bent in self._bent(message)]

    def _is_own(self, one: Message) -> bool:
        return isinstance(one, Proposal) and one.vote.by == self.liar.key.public

    def _bent(self, message: bytes) -> list[bytes]:
        said = list(self.read(message))
        if not any(map(self._is_own, said)):
            return [message]
        self.note()
        return list(encode_votes([self._bend(one) for one in said], self.liar.now))

    def _bend(self, one: Message) -> bytes:
        if not isinstance(one, Proposal) or one.vote.by != self.liar.key.public:
            return one.encode()
        checkpoint = replace(parse_checkpoint(one.checkpoint, net=self.pen.net), sroot=bytes(32))
        vote = replace(one.vote.vote, checkpoint=checkpoint.id)
        return Proposal(SignedVote.make(self.liar.key, vote), checkpoint.encode(), one.parent).encode()


class VoteFlooder(VotingHabit):
    """Votes for slots that are far away, for checkpoints that are none, and with certificates of too few."""

    every_ms = 40_000

    def act(self) -> None:
        voter = self.liar.replica._voting.voter
        said = []
        for number in range(24):
            slot = max(1, voter.slot + self.draw.randrange(-8, 2 * AHEAD_MAX))
            phase = self.draw.choice((Phase.NOTARIZE, Phase.FINALIZE, Phase.SKIP))
            name = None if phase is Phase.SKIP else Cid.of(self.draw.randbytes(8))
            said.append(self.sign(voter.epoch + number // 20, slot, phase, name, self.liar.now))
        alone = votes.parse_message(said[0], net=self.pen.net)
        assert isinstance(alone, SignedVote)
        self.tell_votes([*said, Certificate.of([alone]).encode()])


class Forger(VotingHabit):
    """Signs in the names of others, with signatures that are not theirs: votes, and certificates of them."""

    every_ms = 30_000

    def act(self) -> None:
        voter = self.liar.replica._voting.voter
        name = Cid.of(self.draw.randbytes(8))
        phase = self.draw.choice((Phase.NOTARIZE, Phase.FINALIZE))
        vote = Vote(self.pen.net, voter.epoch, voter.slot, phase, name, self.liar.now)
        forged = [SignedVote(vote, key, self.draw.randbytes(64)) for key in sorted(voter.validators.stakes)]
        self.tell_votes([one.encode() for one in forged])
        self.tell_votes([Certificate.of(forged).encode()])


class WrongClock(VotingHabit):
    """Votes with a clock that is a year wrong."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        liar.skew = self.draw.choice((-1, 1)) * 365 * 24 * 3_600_000

    def telling(self, target: Node, topic: str, told: Sequence[bytes]) -> Sequence[bytes]:
        if topic == VOTES:
            self.note()
        return told


class Skipper(VotingHabit):
    """Skips every slot at once, whoever leads it."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._skipped = (0, 0)

    def heard(self, topic: str, message: bytes) -> None:
        voter = self.liar.replica._voting.voter
        if (voter.epoch, voter.slot) > self._skipped:
            self._skipped = (voter.epoch, voter.slot)
            self.tell_votes([self.sign(*self._skipped, Phase.SKIP, None, self.liar.now)])


class Twin(Node):
    """The other one of two nodes with one key. `talks_to`: whether this neighbour is its own."""

    is_liar = True
    talks_to: Callable[[Node], bool]

    @property
    def kind_of_replica(self) -> type[Replica]:
        return ShamelessReplica

    def asks(self, other: Node) -> bool:
        return self.talks_to(other)

    def telling(self, target: Node, topic: str, message: bytes) -> Sequence[bytes]:
        return (message,) if self.talks_to(target) else ()


class Twins(VotingHabit):
    """Is two honest nodes with one key: each talks to one half of the network, unaware of the other; in a
    partition each has a side of its own."""

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._half = {node: None for node in range(liar.ground.links.nodes) if self.draw.randrange(2)}
        self.twin = Twin(liar.ground, liar.index, liar.key, Disk(liar.disk.template))
        self.twin.talks_to = self._is_other
        liar.has_twin = True

    def begin(self) -> None:
        self.twin.start()

    def _is_other(self, node: Node) -> bool:
        half = self.liar.ground.half
        return node.index in (self._half if half is None else half)

    def facing(self, other: Node) -> Node | None:
        return self.twin if self._is_other(other) else None

    def telling(self, target: Node, topic: str, told: Sequence[bytes]) -> Sequence[bytes]:
        if not self._is_other(target):
            return told
        self.note()
        return ()


VOTING_LIARS: Final[dict[str, type[Habit]]] = {
    habit.name(): habit
    for habit in (Equivocator, BadProposer, VoteFlooder, Forger, WrongClock, Skipper, Twins)
}
