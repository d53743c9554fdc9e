"""Gossip over real topics: announce what is new here, read what others announce.

    announcer = await Announcer.join(host, net)
    nursery.start_soon(announcer.run)
    await announcer.announce([event.wire])
    async for batch in announcer.events:          # (peer, wires); judge them, then:
        await announcer.relay(batch)              # or host.blame(batch.peer, code)

A batch is passed on only after `relay`: a node never forwards what its ledger did not accept, so whoever
forwards garbage made it. Shape (a canonical list of bytes) is judged at once, before it is read.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import trio

from ledger.cid import Cid
from network.gossip import (
    FLUSH_MS,
    WIRE_MAX,
    Batcher,
    decode_events,
    decode_votes,
    encode_votes,
    topic_names,
)
from network.host import Host
from network.topic import Topic, Verdict

OUTBOX_MAX: Final = 2_048  # wires; then `announce` waits: a second of events at full speed


@dataclass(frozen=True, slots=True)
class Batch:
    """Event wires from one message, as `peer` sent them. Nothing in them has been judged."""

    peer: str
    wires: list[bytes]
    message: bytes


@dataclass(frozen=True, slots=True)
class Words:
    """Votes, certificates and proposals from one message, as `peer` sent them. Nothing has been judged."""

    peer: str
    said: list[bytes]
    message: bytes


Item = TypeVar("Item")


class Incoming(Generic[Item]):
    """What a topic brings, decoded; iterate it. It ends when the host closes."""

    def __init__(self, topic: Topic, read: Callable[[str, bytes], Item]) -> None:
        self._topic, self._read = topic, read

    def __aiter__(self) -> Incoming[Item]:
        return self

    async def __anext__(self) -> Item:
        peer, message = await self._topic.__anext__()
        return self._read(peer, message)

    async def some(self, most: int) -> AsyncGenerator[list[Item], None]:
        """The same, as many at once as are there: one turn at the disk serves all that came meanwhile."""
        async for item in self:
            yield [item, *(self._read(*one) for one in self._topic.waiting(most - 1))]


class Announcer:
    """The two topics of one network. Made by `join`."""

    def __init__(self, host: Host, events: Topic, votes: Topic, flush_ms: int) -> None:
        self._host, self._events, self._votes = host, events, votes
        self.events: Incoming[Batch] = Incoming(events, _batch)
        self.votes: Incoming[Words] = Incoming(votes, _words)
        self._batcher = Batcher(flush_ms)
        self._put, self._get = trio.open_memory_channel[bytes](OUTBOX_MAX)

    @classmethod
    async def join(cls, host: Host, net: Cid, *, flush_ms: int = FLUSH_MS) -> Announcer:
        events_name, votes_name = topic_names(net)
        events = await host.topic(events_name, _shape_of_events, relays_at_once=False)
        votes = await host.topic(votes_name, _shape_of_votes, relays_at_once=False)
        return cls(host, events, votes, flush_ms)

    async def announce(self, wires: Sequence[bytes]) -> None:
        """Queue events of ours for gossip; waits while peers that keep up have no room."""
        for wire in wires:
            if len(wire) > WIRE_MAX:
                self._host.counts["gossip.left_to_sync"] += 1
            else:
                await self._queue(wire)
        await trio.lowlevel.checkpoint()

    async def _queue(self, wire: bytes) -> None:
        """Without giving way while there is room: what is announced together travels together."""
        try:
            self._put.send_nowait(wire)
        except trio.WouldBlock:
            await self._put.send(wire)

    async def announce_votes(self, messages: Sequence[bytes], at: int) -> None:
        """Say these at once, each message at most `ledger.votes.MESSAGE_SIZE_MAX`; `at` in unix ms."""
        for message in encode_votes(messages, at):
            await self._votes.publish(message)

    async def run(self) -> None:
        """Send batches until cancelled."""
        while True:
            due_ms = self._batcher.due_ms
            with trio.move_on_at(math.inf if due_ms is None else due_ms / 1000) as wait:
                await self._add(await self._get.receive())
            if wait.cancelled_caught:
                await self._send(self._batcher.flush())

    async def _add(self, wire: bytes) -> None:
        """This wire and all that came with it: a batch is cut by time only when nothing waits."""
        more: bytes | None = wire
        while more is not None:
            await self._send(self._batcher.add(more, _now_ms()))
            try:
                more = self._get.receive_nowait()
            except trio.WouldBlock:
                more = None

    async def _send(self, message: bytes | None) -> None:
        if message is not None:
            # The batcher has forgotten it, so it goes out even if we are cancelled: a second at most.
            with trio.CancelScope(shield=True):
                await self._events.publish(message)

    @property
    def neighbours(self) -> list[str]:
        """Peers that get our events first, by gossip."""
        return self._events.neighbours

    async def relay(self, received: Batch | Words) -> None:
        """Pass on what was read and found good."""
        topic = self._events if isinstance(received, Batch) else self._votes
        await topic.relay(received.message)

    def __repr__(self) -> str:
        return f"<Announcer {self._events!r} {self._batcher!r}>"


def _now_ms() -> int:
    return int(trio.current_time() * 1000)


def _batch(peer: str, message: bytes) -> Batch:
    return Batch(peer, decode_events(message), message)


def _words(peer: str, message: bytes) -> Words:
    return Words(peer, decode_votes(message), message)


def _shape_of_events(peer: str, data: bytes) -> Verdict:
    decode_events(data)  # RemoteError: rejected
    return Verdict.ACCEPT


def _shape_of_votes(peer: str, data: bytes) -> Verdict:
    decode_votes(data)
    return Verdict.ACCEPT
