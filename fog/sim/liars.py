"""The liars who lie with events, with sync, and with silence, one sentence each.

(`fog.sim.adversaries` lists all liars, and says which of the design's adversaries each is.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from fog.sim.ground import EVENTS
from fog.sim.habits import Habit, Liar
from fog.sim.node import Node
from fog.sim.pen import Pen, respelled
from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import LANE_BULK
from ledger.pending import PENDING_PER_LANE_MAX
from network.sync_messages import (
    IDS_MAX,
    Checkpoints,
    Differences,
    Events,
    GetIds,
    Heads,
    Hello,
    Votes,
    decode_answer,
    decode_welcome,
    encode,
)


class DoubleSpender(Habit):
    """Pays its balance to two accounts at one place in its lane, and tells each half of the network one."""

    def act(self) -> None:
        now = self.liar.now
        one, other = self.pen.write(self.payment(900_000), now), self.pen.write(self.payment(900_000), now)
        left, right = self.halves()
        self.tell(one, to=left)
        self.tell(other, to=right)
        self.pen.head = one


class DeepForker(Habit):
    """Writes a lane, and much later another continuation of an early place of it, several events deep."""

    def act(self) -> None:
        left, _ = self.halves()
        if self.pen.head is None:
            lane = [self.pen.say(self.payment(), self.liar.now) for _ in range(6)]
            self.tell(*lane)
            self.pen.head = lane[1]
            return
        branch = [self.pen.say(self.payment(), self.liar.now) for _ in range(3)]
        self.tell(*branch, to=left)


class Poisoner(Habit):
    """Says good children of a parent that can never stand, to make others wait for it."""

    def act(self) -> None:
        now = self.liar.now
        bad = self.pen.write(self.payment(), now, lc=9_000)
        child = Pen(self.stranger(), self.pen.net).write(self.payment(), now, seen=[bad])
        self.tell(child)
        self.tell(bad, to=self.halves()[0])


class Jumper(Habit):
    """Jumps in lc, in time and in its sequence."""

    def act(self) -> None:
        now, pen = self.liar.now, Pen(self.stranger(self.draw.randrange(10**9)), self.pen.net)
        first = pen.say(self.payment(), now)
        jump: dict[str, Any] = self.draw.choice(
            [
                {"lc": 2**62},
                {"lc": 1},
                {"ts": now - 86_400_000},
                {"ts": now + 3_600_000},
                {"seq": 7},
                {"prev": Cid.of(b"nothing")},
                {"parents": (first.id,), "prev": None, "seq": 0},
            ]
        )
        self.tell(first)
        self.tell(pen.write(self.payment(), now, **jump))


class Foreigner(Habit):
    """Replays events of another network, and signs for another network."""

    def act(self) -> None:
        self.tell(Pen(self.liar.key, Cid.of(b"another network")).write(self.payment(), self.liar.now))


class Scribbler(Habit):
    """Sends bytes that are nearly an event: bits flipped, longer forms, extra keys, ends cut off."""

    def act(self) -> None:
        wire = bytearray(Pen(self.stranger(), self.pen.net).write(self.payment(), self.liar.now).wire)
        match self.draw.randrange(5):
            case 0:
                wire[self.draw.randrange(len(wire))] ^= 1 << self.draw.randrange(8)
            case 1:
                wire += b"\x00"
            case 2:
                del wire[self.draw.randrange(len(wire)) :]
            case 3:
                wire[0:1] = b"\xbf"  # a map of indefinite length, whose end is missing
            case 4:
                fields = canonical.decode(bytes(wire), size_max=len(wire))
                wire = bytearray(canonical.encode({**fields, "x": 1}))
        if wire:
            self.tell_wires([bytes(wire)])


class Respeller(Habit):
    """Signs one header in many ways, all of them valid, and tells everybody another one."""

    every_ms = 60_000

    def act(self) -> None:
        pen = Pen(self.stranger(self.draw.randrange(10**9)), self.pen.net)
        event = pen.say(self.payment(), self.liar.now)
        for number, node in enumerate(self.liar.ground.nodes):
            if node is not self.liar:
                spelled = event.wire if number % 3 == 0 else respelled(event, pen.key, number)
                self.tell_wires([spelled], to=[node])


class Withholder(Habit):
    """Announces children and keeps their parents; sends headers and keeps their bodies."""

    def act(self) -> None:
        now = self.liar.now
        kept = self.pen.say(self.payment(), now)
        child = self.pen.say(self.payment(), now)
        bare = canonical.encode({"h": kept.header_bytes, "s": kept.signature, "b": None})
        self.tell(child)
        self.tell_wires([bare])

    def answering(self, asker: Node, frames: list[bytes]) -> list[bytes]:
        return [_without_events(frame) if self.draw.randrange(3) else frame for frame in frames]


class Flooder(Habit):
    """Fills the waiting room: long tails of events whose beginning it never shows, under many keys."""

    every_ms = 180_000

    def act(self) -> None:
        now = self.liar.now
        for key in range(2):
            pen = Pen(self.stranger(self.draw.randrange(10**9)), self.pen.net, lane=LANE_BULK if key else 0)
            tail = [pen.say(self.payment(), now) for _ in range(PENDING_PER_LANE_MAX // 3)]
            self.tell(*tail[1:], to=self.halves()[key])


class Amplifier(Habit):
    """Asks for the same large answers again and again, and never reads one."""

    def act(self) -> None:
        victim = self.draw.choice([node for node in self.liar.ground.nodes if node is not self.liar])
        ids = tuple(self.liar.ground.observer.places)[:IDS_MAX] or (Cid.of(b"nothing"),)
        question = encode(GetIds(ids))
        if victim.up:
            self.note()
            for _ in range(3):
                victim.asked(self.liar, question)


class Silent(Habit):
    """Hears everything and says nothing."""

    every_ms = 0

    def telling(self, target: Node, topic: str, told: Sequence[bytes]) -> Sequence[bytes]:
        self.note()
        return ()

    def answering(self, asker: Node, frames: list[bytes]) -> list[bytes]:
        self.note()
        return []


class Selective(Habit):
    """Tells each message to some and not to others."""

    every_ms = 0

    def telling(self, target: Node, topic: str, told: Sequence[bytes]) -> Sequence[bytes]:
        if self.draw.randrange(2):
            return told
        self.note()
        return ()


class Censor(Habit):
    """Never passes on or answers with what one account says, and proposes nothing while it would be in it."""

    every_ms = 0

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._victim = self.draw.randrange(self.liar.ground.links.nodes)

    @property
    def _key(self) -> bytes:
        return self.liar.ground.nodes[self._victim].key.public

    def telling(self, target: Node, topic: str, told: Sequence[bytes]) -> Sequence[bytes]:
        if topic == EVENTS:
            passed = [message for message in told if self._key not in message]
        else:
            waiting = any(event.header.by == self._key for event, _ in self.liar.replica.waiting(64))
            passed = [] if waiting else list(told)
        if len(passed) < len(told):
            self.note()
        return passed

    def answering(self, asker: Node, frames: list[bytes]) -> list[bytes]:
        if any(self._key in frame for frame in frames):
            self.note()
        return [_without_events(frame) if self._key in frame else frame for frame in frames]


class Eclipser(Habit):
    """Is the only neighbour of one honest node for a while, and tells it what suits."""

    every_ms = 60_000

    def act(self) -> None:
        honest = [node for node in self.liar.ground.nodes if not node.is_liar]
        victim = self.draw.choice(honest)
        if not self.liar.ground.eclipse(victim, self.liar, 60_000):
            return
        one, other = (
            self.pen.write(self.payment(), self.liar.now),
            self.pen.write(self.payment(), self.liar.now),
        )
        self.tell(one, to=[victim])
        self.tell(other, to=[node for node in honest if node is not victim])


class StaleCopy(Habit):
    """Goes back to an old copy of its own disk, again and again, and speaks from there. Who lost its own disk
    and asks what it voted hears that nothing is known of it."""

    every_ms = 40_000

    def __init__(self, liar: Liar) -> None:
        super().__init__(liar)
        self._copy: bytes | None = None

    def act(self) -> None:
        liar = self.liar
        if self._copy is None:
            self._copy = liar.disk.image()
            return
        self.note()
        liar.append(self.payment())
        liar.crash()
        liar.disk.load(self._copy)
        liar.start()
        liar.append(self.payment())

    def answering(self, asker: Node, frames: list[bytes]) -> list[bytes]:
        return [_without_votes(frame) for frame in frames]


class Impostor(Habit):
    """Says in sync that it is far ahead, and answers with checkpoints that no quorum signed."""

    every_ms = 0

    def answering(self, asker: Node, frames: list[bytes]) -> list[bytes]:
        self.note()
        return [self._forged(frame) for frame in frames]

    def _forged(self, frame: bytes) -> bytes:
        with contextlib.suppress(RemoteError):
            said = decode_welcome(frame)
            if isinstance(said, Hello):
                return encode(replace(said, height=said.height + 3, checkpoint=Cid.of(b"a lie")))
        with contextlib.suppress(RemoteError):
            answer = decode_answer(frame)
            if isinstance(answer, Checkpoints) and answer.items:
                bent = bytearray(answer.items[0][0])
                bent[self.draw.randrange(len(bent))] ^= 1
                return encode(replace(answer, items=((bytes(bent), answer.items[0][1]), *answer.items[1:])))
            if isinstance(answer, Heads | Differences) and answer.frame:
                junk = bytearray(answer.frame)
                junk[self.draw.randrange(len(junk))] ^= 1 << self.draw.randrange(8)
                return encode(replace(answer, frame=bytes(junk)))
        return frame


def _without_events(frame: bytes) -> bytes:
    """The same frame with nothing in it, when it is one of events."""
    try:
        said = decode_answer(frame)
    except RemoteError:
        return frame
    return encode(Events((), end=said.end, more=False)) if isinstance(said, Events) and said.end else frame


def _without_votes(frame: bytes) -> bytes:
    """The same frame with nothing in it, when it is one of votes."""
    try:
        return encode(Votes(())) if isinstance(decode_answer(frame), Votes) else frame
    except RemoteError:
        return frame


EVENT_LIARS: Final[dict[str, type[Habit]]] = {
    habit.name(): habit
    for habit in (
        DoubleSpender,
        DeepForker,
        Poisoner,
        Jumper,
        Foreigner,
        Scribbler,
        Respeller,
        Withholder,
        Flooder,
        Amplifier,
        Silent,
        Selective,
        Censor,
        Eclipser,
        StaleCopy,
        Impostor,
    )
}
