"""The liar who lies by what it proposes and leaves out, one sentence."""

from __future__ import annotations

from typing import Any, Final

from fog.sim.habits import Habit, Liar
from ledger.admission import Admission
from ledger.candidates import Candidate, Candidates
from ledger.cid import Cid
from ledger.event import Event
from ledger.order import Node
from ledger.replica import Replica


class Omitting(Candidates):
    """Proposes as if nothing of one key were here, nor what builds on it; judges as everybody does."""

    victim: bytes
    left_out: int

    def build(self, *given: Any) -> Candidate:
        whole = self._admission
        self._admission = blind = Blind(whole, self.victim)  # type: ignore[assignment]
        try:
            return super().build(*given)
        finally:
            self._admission = whole
            self.left_out += len(whole.unordered) - len(blind.unordered)


class Blind:
    """What stands here, without one author."""

    def __init__(self, whole: Admission, victim: bytes) -> None:
        self._whole = whole
        self.unordered: dict[Cid, Node] = {}
        unseen: set[Cid] = set()
        for event in whole.events_of(list(whole.unordered)):
            if event.header.by == victim or not unseen.isdisjoint(event.parents):
                unseen.add(event.id)
            else:
                self.unordered[event.id] = whole.unordered[event.id]

    def events_of(self, ids: list[Cid]) -> list[Event]:
        return self._whole.events_of(ids)


class Omitter(Habit):
    """Leaves everything that one account says out of what it proposes, and plays by all other rules."""

    every_ms = 10_000

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        nodes = liar.ground.links.nodes
        self._victim = (liar.index + self.draw.randrange(1, nodes)) % nodes if nodes > 1 else 0
        self._counted = 0

    def loaded(self, replica: Replica) -> None:
        candidates = replica._voting.candidates
        candidates.__class__ = Omitting
        assert isinstance(candidates, Omitting)
        candidates.victim, candidates.left_out = self.liar.ground.nodes[self._victim].key.public, 0

    def act(self) -> None:
        """Only count what was left out: saying nothing is all it does."""
        candidates = self.liar.replica._voting.candidates
        assert isinstance(candidates, Omitting)
        self.liar.ground.counts["lie.omitter"] += candidates.left_out
        candidates.left_out = 0


LEADING_LIARS: Final[dict[str, type[Habit]]] = {Omitter.name(): Omitter}
