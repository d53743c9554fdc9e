"""A stranger: a host of the test's own that meets a real node and tells it events, good or bad.

It has its own key and no ledger; it speaks libp2p, gossip and nothing else, as any program might.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from ledger.cid import Cid
from ledger.event import Event, make
from ledger.signing import SigningKey
from network.gossip import topic_names
from network.host import open_host
from network.topic import Topic
from tests.nodes.cluster import SETTLE_S_MAX, Node, eventually

MEET_S_MAX = 30.0


@dataclass
class Author:
    """Signs events on one lane, each after the one before, without asking anybody."""

    seed: bytes
    net: Cid
    events: list[Event] = field(default_factory=list)

    @property
    def account(self) -> str:
        return SigningKey(self.seed).public.hex()

    def write(self, kind: str, body: Any, *, after: Event | None = None, net: Cid | None = None) -> Event:
        """One more event; `after` another than the last one makes a fork."""
        prev = after or (self.events[-1] if self.events else None)
        event = make(
            SigningKey(self.seed),
            net=net or self.net,
            lane=0,
            seq=0 if prev is None else prev.header.seq + 1,
            prev=None if prev is None else prev.id,
            parents=(),
            lc=1 if prev is None else prev.header.lc + 1,
            ts=1_700_000_000_000,
            kind=kind,
            body=body,
        )
        self.events.append(event)
        return event


def tell(node: Node, seed: bytes, messages: Sequence[bytes], until: Callable[[], object], what: str) -> None:
    """As the host of `seed`, publish gossip messages to `node`; stay until `until` is true there."""
    trio.run(_tell, node, seed, messages, until, what)


async def _tell(
    node: Node, seed: bytes, messages: Sequence[bytes], until: Callable[[], object], what: str
) -> None:
    events_topic, _ = topic_names(node.home.read_genesis().net)
    address = (await trio.to_thread.run_sync(node.status))["addresses"][0]
    with trio.fail_after(MEET_S_MAX + SETTLE_S_MAX):
        async with open_host(seed, []) as host:
            topic = await host.topic(events_topic)
            await _meet(topic, await host.dial(address))
            for message in messages:
                await topic.publish(message)
            await trio.to_thread.run_sync(lambda: eventually(until, what))


async def _meet(topic: Topic, peer: str) -> None:
    """Until gossip reaches the peer: py-libp2p tells of a mesh by no event."""
    with trio.fail_after(MEET_S_MAX):
        while peer not in topic.neighbours:
            await trio.sleep(0.05)
