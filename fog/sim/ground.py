"""The ground that all nodes of one run stand on: time, links, the trace, and who else is there.

Knows everybody; decides nothing. Nodes reach each other only through `gossip` and through sessions, so
whatever passes between two of them is in the trace.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from domain.rules import FogRules
from fog.sim.links import Links
from fog.sim.scheduler import Scheduler, Trace, stream
from ledger.execution import Rules
from ledger.genesis import Genesis
from ledger.replica import Replica
from ledger.simplex import Voter
from network.sync import Puller

if TYPE_CHECKING:
    from fog.sim.node import Node
    from fog.sim.observer import Observer
    from fog.sim.phones import Phone

START: Final = 1_790_000_000_000
"""Unix ms at which every run begins, by a true clock."""

EVENTS: Final = "events"
VOTES: Final = "votes"


@dataclass(frozen=True)
class Parts:
    """What honest nodes are made of. A test puts a broken part in, and expects to be told so."""

    replica: type[Replica] = Replica
    rules: Callable[[], Rules] = FogRules
    puller: type[Puller] = Puller
    voter: Callable[..., Voter] = Voter


class Ground:
    def __init__(self, seed: int, genesis: Genesis, links: Links, scheduler: Scheduler, parts: Parts) -> None:
        self.seed = seed
        self.genesis = genesis
        self.links = links
        self.scheduler = scheduler
        self.parts = parts
        self.trace = Trace(scheduler)
        self.nodes: list[Node] = []
        self.phones: list[Phone] = []
        self.observer: Observer = None  # type: ignore[assignment]
        self.counts: Counter[str] = Counter()
        self.half: dict[int, None] | None = None  # one side of the present partition, if there is one
        self.on_final: Callable[[Node], None] = lambda node: None  # this node has another final state
        self.is_calm = False  # the storm is over: faults have stopped, liars have not

    def draw(self, *purpose: object) -> random.Random:
        return stream(self.seed, *purpose)

    @property
    def time(self) -> int:
        """Unix ms by a true clock."""
        return START + self.scheduler.now

    def gossip(self, source: Node, topic: str, message: bytes, targets: list[Node] | None = None) -> None:
        """From one node to all others, or to `targets`; what each is told is the source's choice."""
        for target in self.nodes if targets is None else targets:
            if target is source:
                continue
            for told in source.telling(target, topic, message):
                self._tell(source, target, topic, told)

    def _tell(self, source: Node, target: Node, topic: str, message: bytes) -> None:
        name = hashlib.sha256(message).digest()[:16]

        def arrive() -> None:
            target.receive(topic, message, name, source.index)

        self.links.gossip(source.index, target.index, arrive)

    def eclipse(self, victim: Node, liar: Node, ms: int) -> bool:
        """Let `liar` be the only neighbour of `victim` for so long; False when it may not be."""
        if self.is_calm or victim.index in self.observer.eclipsed:
            return False
        others = [node.index for node in self.nodes if node not in (victim, liar)]
        pairs = [pair for other in others for pair in ((other, victim.index), (victim.index, other))]
        self.counts["fault.eclipse"] += 1
        self.trace.note("world", f"n{victim.index} sees only n{liar.index}")
        self.links.cut(pairs)
        self.observer.eclipsed[victim.index] = liar.index

        def over() -> None:
            self.links.heal(pairs)
            self.observer.eclipsed.pop(victim.index, None)

        self.scheduler.after(ms, over)
        return True

    def calm(self) -> None:
        """No more faults. Whoever lies goes on lying."""
        self.is_calm = True
        self.half = None
        self.links.calm()
        self.observer.eclipsed.clear()

    def __repr__(self) -> str:
        return f"<Ground seed={self.seed} {self.scheduler!r}>"
