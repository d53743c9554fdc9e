"""The liars who come from the past: validators that left with their stake, and snapshots of long ago."""

from __future__ import annotations

import contextlib
from typing import Final

from msgspec.structs import replace

from domain.payloads import StakeUnbond
from domain.rules.bonds import bond_in
from fog.sim.beginning import Shown
from fog.sim.ground import VOTES
from fog.sim.habits import Habit, Liar
from fog.sim.liars_voting import VotingHabit
from fog.sim.node import Node
from ledger import votes
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.shelf import Shelf
from ledger.snapshot import Download, Part
from ledger.votes import Certificate, Phase, Proposal, SignedVote
from network.sync_messages import Checkpoints, decode_answer, encode

KEPT_MAX: Final = 64
"""Places of votes that a revenant remembers."""


class Revenant(VotingHabit):
    """Takes its stake out, leaves, and then signs with its old key for the epochs in which it counted: votes
    and certificates for another history, rivals of its own old events, and answers about old heights."""

    every_ms = 12_000

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._places: dict[tuple[int, int], None] = {}

    def heard(self, topic: str, message: bytes) -> None:
        if topic == VOTES and len(self._places) < KEPT_MAX:
            for one in self.read(message):
                said = one.vote if isinstance(one, Proposal) else one
                epoch, slot = (said.vote if isinstance(said, SignedVote) else said).place
                self._places[epoch, slot] = None

    @property
    def is_gone(self) -> bool:
        """Whether it counts for nothing any more, and nobody can take anything from it."""
        replica = self.liar.replica
        bond = bond_in(replica.state, self.liar.key.public)
        return self.liar.key.public not in replica.validators and not bond.at_stake

    def act(self) -> None:
        bonded = bond_in(self.liar.replica.state, self.liar.key.public).bonded
        if bonded:
            self.liar.append(StakeUnbond(bonded))
        elif self.is_gone and self._places:
            self._haunt()

    def _haunt(self) -> None:
        (epoch, slot), now = self.draw.choice(list(self._places)), self.liar.now
        name = Cid.of(self.draw.randbytes(8))
        said = [
            self.sign(epoch, slot, Phase.NOTARIZE, name, now),
            self.sign(epoch, slot, Phase.FINALIZE, name, now),
            self.sign(epoch, slot, Phase.SKIP, None, now),
        ]
        said.append(self._alone(said[1]).encode())
        voter = self.liar.replica._voting.voter  # and as if it were still one of them
        said.append(self.sign(voter.epoch, voter.slot, Phase.NOTARIZE, name, now))
        self.tell_votes(said)
        self.tell(self.pen.write(self.payment(), now))

    def _alone(self, vote: bytes) -> Certificate:
        signed = votes.parse_message(vote, net=self.pen.net)
        assert isinstance(signed, SignedVote)
        return Certificate.of([signed])

    def answering(self, asker: Node, frames: list[bytes]) -> list[bytes]:
        return [self._another_history(frame) for frame in frames] if self.is_gone else frames

    def _another_history(self, frame: bytes) -> bytes:
        """The same run of checkpoints, the last of them another one, which it finalizes by itself."""
        with contextlib.suppress(RemoteError):
            answer = decode_answer(frame)
            if isinstance(answer, Checkpoints) and answer.items:
                (last, shown), rest = answer.items[-1], answer.items[:-1]
                bent = replace(parse_checkpoint(last, net=self.pen.net), sroot=bytes(32))
                vote = self.sign(bent.epoch, bent.slot, Phase.FINALIZE, bent.id, self.liar.now)
                self.note()
                items = (*rest, (bent.encode(), shown))
                return encode(replace(answer, items=items, final=self._alone(vote).encode()))
        return frame


class Stale(Shown):
    """A snapshot of long ago, whatever is asked for; some parts of it are not what they were."""

    def __init__(self, habit: StaleSnapshot) -> None:
        super().__init__(habit.liar)
        self._habit = habit

    def manifest(self, above: int) -> bytes | None:
        self._habit.note()
        return self._habit.oldest or super().manifest(0)

    def part(self, checkpoint: Checkpoint, part: Part) -> bytes | None:
        data = self._habit.parts.get((checkpoint.id, part)) or super().part(checkpoint, part)
        if data is None or self._habit.draw.randrange(8):
            return data
        bent = bytearray(data)
        bent[self._habit.draw.randrange(len(bent))] ^= 1
        return bytes(bent)


class StaleSnapshot(Habit):
    """Gives whoever begins a snapshot from its own beginning as if it were of now, or one with a bit bent."""

    every_ms = 15_000

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self.oldest: bytes | None = None
        self.parts: dict[tuple[Cid, Part], bytes] = {}

    def act(self) -> None:
        """Keep the first snapshot that there is."""
        if self.oldest is None and self.liar.replica.height:
            shelf = Shelf(self.liar.replica)
            manifest = shelf.offer(0)
            if manifest is not None:
                download = Download(self.liar.ground.genesis, manifest)
                self._keep(shelf, download)
                self.oldest = manifest.encode()

    def _keep(self, shelf: Shelf, download: Download) -> None:
        while not download.is_whole:
            for part in list(download.lacking()):
                data = shelf.part(download.checkpoint.id, part)
                assert data is not None, "cut a moment ago"
                self.parts[download.checkpoint.id, part] = data
                download.take(part, data)

    def shown(self, asker: Node) -> Shown | None:
        return Stale(self) if self.draw.randrange(2) else None


LEAVING_LIARS: Final[dict[str, type[Habit]]] = {habit.name(): habit for habit in (Revenant, StaleSnapshot)}
