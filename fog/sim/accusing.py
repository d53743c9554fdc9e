"""What a node found out about others, said so that it is punished: what `fog.accuser` does, without waiting.

An honest node that a fault of the run made contradict itself (a disk that was lost, or is older than its
word) is not accused here, though it would be in earnest: its punishment would make more of the stake faulty
than a plan says. Any other honest node that could be accused breaks I11.

What must always hold: an offence is said at most once in one life of a node.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from domain.payloads import EvidenceFork, EvidenceVotes, EvidenceWarrant
from fog.accuser import Evidence, View, is_worth_saying, offence_of
from ledger.evidence import VoteFault
from ledger.reactions import Ingested, Reaction

if TYPE_CHECKING:
    from fog.sim.node import Node

PATIENCE_MS: Final = 3_000
"""The longest wait before saying what others saw too (`fog.accuser`)."""


class Accusing:
    """Of one life of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._draw: random.Random = node.ground.draw("accusing", node.index, node.life)
        self._known: dict[bytes, None] = {}

    def events(self, found: Ingested | Reaction) -> None:
        self._take([EvidenceFork(proof) for proof in found.forks])
        self._take([EvidenceWarrant(warrant) for warrant in found.warrants])

    def votes(self, faults: Sequence[VoteFault]) -> None:
        self._take([EvidenceVotes(fault.one, fault.other) for fault in faults])

    def _take(self, found: Sequence[Evidence]) -> None:
        view = View.of(self._node.replica)
        for evidence in found:
            name = offence_of(evidence, view)
            if name not in self._known and self._node.ground.observer.accused(self._node, evidence):
                self._known[name] = None
                self._node.later(self._draw.randrange(PATIENCE_MS), partial(self._say, evidence))

    def _say(self, evidence: Evidence) -> None:
        node = self._node
        if is_worth_saying(evidence, View.of(node.replica), node.key.public):
            node.ground.counts["accused"] += 1
            node.append(evidence)
