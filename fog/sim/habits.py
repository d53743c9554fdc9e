"""What a liar is made of: a node that follows the network like any other, and one or more habits.

A habit may say things of its own (`act`), change what each neighbour is told (`telling`) and change its
answers to sync (`answering`). It holds real keys and uses real encoders; what it cannot do is sign for
others, or read another node's mind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from domain.payloads import Payload, Transfer
from fog.sim.beginning import Shown
from fog.sim.disk import Disk
from fog.sim.ground import EVENTS, Ground
from fog.sim.node import Node
from fog.sim.pen import Pen
from ledger.event import Event
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.votes import SignedVote
from ledger.voting import Voting
from network.gossip import encode_events


class Habit:
    """One way of lying. The docstring of each is its sentence in reports."""

    every_ms: ClassVar[int] = 30_000
    """How often `act` is called, about; 0: never."""

    def __init__(self, liar: Liar) -> None:
        self.liar = liar
        self.draw: random.Random = liar.ground.draw("habit", liar.index, type(self).__name__)
        self.pen = Pen(liar.key, liar.ground.genesis.net)

    def act(self) -> None:
        """Say something of one's own."""

    def begin(self) -> None:
        """The liar started for the first time."""

    def loaded(self, replica: Replica) -> None:
        """The liar's replica was made, or rebuilt its memory: it may be bent."""

    def heard(self, topic: str, message: bytes) -> None:
        """The liar hears a gossip message."""

    def facing(self, other: Node) -> Node | None:
        """Who the liar is for this neighbour; None: itself."""
        return None

    def telling(self, target: Node, topic: str, told: Sequence[bytes]) -> Sequence[bytes]:
        """What the target is told when the liar, as a node, would say this to all."""
        return told

    def answering(self, asker: Node, frames: list[bytes]) -> list[bytes]:
        """What the asker gets for these frames of an answer."""
        return frames

    def shown(self, asker: Node) -> Shown | None:
        """The snapshots that `asker` is given; None: those of an honest node."""
        return None

    # -- what habits are made of

    def payment(self, amount: int | None = None) -> Payload:
        """To anybody else."""
        others = [node.key.public for node in self.liar.ground.nodes if node is not self.liar]
        return Transfer(
            self.draw.choice(others), self.draw.randrange(1, 50_000) if amount is None else amount
        )

    def tell(self, *events: Event, to: list[Node] | None = None) -> None:
        self.tell_wires([event.wire for event in events], to=to)

    def tell_wires(self, wires: list[bytes], *, to: list[Node] | None = None) -> None:
        self.note()
        self.liar.ground.gossip(self.liar, EVENTS, encode_events(wires), to)

    def note(self) -> None:
        """Count a lie: something said, bent or kept back that an honest node would not have."""
        self.liar.ground.counts[f"lie.{self.name()}"] += 1

    def halves(self) -> tuple[list[Node], list[Node]]:
        """All others, in two."""
        others = [node for node in self.liar.ground.nodes if node is not self.liar]
        self.draw.shuffle(others)
        return others[: len(others) // 2], others[len(others) // 2 :]

    def stranger(self, number: int = 0) -> SigningKey:
        """A key of a stranger, of whom a liar has as many as it likes."""
        return SigningKey(self.liar.ground.draw("stranger", self.liar.index, number).randbytes(32))

    @classmethod
    def name(cls) -> str:
        return cls.__name__.lower()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of node {self.liar.index}>"


class Shameless(Voting):
    """Votes whatever it may have said before, where an honest one abstains."""

    def _abstain(self, through: tuple[int, int]) -> None:
        self._abstains_through = (-1, 0)
        self.voter.abstains_through = 0

    def _is_forgotten(self, signed: SignedVote) -> bool:
        return False


class ShamelessReplica(Replica):
    def _load(self, *given: Any, **named: Any) -> None:
        super()._load(*given, **named)
        self._voting.__class__ = Shameless
        self._voting._abstain((0, 0))
        self.loaded()

    def loaded(self) -> None:
        """Its memory is that of its disk again: habits bend it anew."""


class Liar(Node):
    is_liar = True

    def __init__(
        self,
        ground: Ground,
        index: int,
        key: SigningKey,
        disk: Disk,
        habits: Sequence[Callable[[Liar], Habit]],
    ) -> None:
        super().__init__(ground, index, key, disk)
        self.habits = [make(self) for make in habits]

    def start(self) -> None:
        super().start()
        if self.life == 1:
            for habit in self.habits:
                habit.begin()
        for habit in self.habits:
            if habit.every_ms:
                self.later(habit.draw.randrange(habit.every_ms), self._acting(habit))

    def _acting(self, habit: Habit) -> Callable[[], None]:
        def act() -> None:
            self.later(habit.every_ms // 2 + habit.draw.randrange(habit.every_ms), act)
            habit.act()

        return act

    @property
    def kind_of_replica(self) -> type[Replica]:
        def loaded(replica: Replica) -> None:
            for habit in self.habits:
                habit.loaded(replica)

        return type("BentReplica", (ShamelessReplica,), {"loaded": loaded})

    def asks(self, other: Node) -> bool:
        return self.facing(other) is self

    def facing(self, other: Node) -> Node:
        return next((node for habit in self.habits if (node := habit.facing(other)) is not None), self)

    def receive(self, topic: str, message: bytes, name: bytes, source: int) -> None:
        me = self.facing(self.ground.nodes[source])
        if me is not self:
            me.receive(topic, message, name, source)
            return
        super().receive(topic, message, name, source)
        for habit in self.habits:
            habit.heard(topic, message)

    def telling(self, target: Node, topic: str, message: bytes) -> Sequence[bytes]:
        told: Sequence[bytes] = (message,)
        for habit in self.habits:
            told = habit.telling(target, topic, told)
        return told

    def shown(self, asker: Node) -> Shown:
        given = (habit.shown(asker) for habit in self.habits)
        return next((shown for shown in given if shown is not None), super().shown(asker))

    def answering(self, asker: Node, frames: list[bytes]) -> list[bytes]:
        for habit in self.habits:
            frames = habit.answering(asker, frames)
        return frames

    def __repr__(self) -> str:
        return f"<Liar {self.index} {[habit.name() for habit in self.habits]}>"
