"""One gossip topic: publish with back-pressure, and the messages of others as they come.

What must always hold:
    - at most INBOX_MESSAGES_MAX messages wait to be read; what comes on top is refused and counted
    - a validator decides alone and at once; whatever it raises, the host lives
    - `publish` waits for the queues of peers that keep up, never for one that does not
"""

from __future__ import annotations

import enum
import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio
from libp2p.peer.id import ID

from ledger.errors import RemoteError, UsageError
from network.gossipsub_tuning import MESSAGE_SIZE_MAX, Gossip, content_id

if TYPE_CHECKING:
    from libp2p.pubsub.gossipsub import GossipSub

log = logging.getLogger(__name__)

INBOX_MESSAGES_MAX: Final = 256  # 16 MiB at the largest messages: seconds of a busy reader
QUEUE_HIGH: Final = 16  # of libp2p's 32 RPCs a peer; the rest is for control messages and forwards
PATIENCE_S: Final = 1.0  # then a peer counts as slow, and is not waited for until its queue is short again
assert QUEUE_HIGH < 32, "libp2p drops what does not fit into its queue of 32"


class Verdict(enum.Enum):
    """What a validator makes of a message from a peer."""

    ACCEPT = "accept"
    IGNORE = "ignore"  # not wanted, nobody's fault: neither delivered nor passed on
    REJECT = "reject"  # provably wrong: also held against the forwarder


Validator = Callable[[str, bytes], Verdict]
"""(forwarding peer, data) -> Verdict. Synchronous. A RemoteError counts as REJECT."""


def accept_all(peer: str, data: bytes) -> Verdict:
    """For topics whose reader judges by itself."""
    return Verdict.ACCEPT


class Topic:
    """Made by `Host.topic`. Iterate it for (forwarding peer, data)."""

    def __init__(
        self,
        name: str,
        gossip: Gossip,
        validator: Validator,
        blame: Callable[[str, str], None],
        counts: Counter[str],
        *,
        relays_at_once: bool = True,
    ) -> None:
        self.name, self.relays_at_once = name, relays_at_once
        self._gossip, self._validator, self._blame, self._counts = gossip, validator, blame, counts
        self._put, self._get = trio.open_memory_channel[tuple[str, bytes]](INBOX_MESSAGES_MAX)
        self._slow: set[ID] = set()

    def accepts(self, peer: ID, data: bytes) -> bool:
        """Called by gossip for each new message. See `gossipsub_tuning.Inbox`."""
        verdict = self._judge(str(peer), data)
        self._counts[f"gossip.{verdict.value}"] += 1
        if verdict is not Verdict.ACCEPT:
            return False
        try:
            self._put.send_nowait((str(peer), data))
        except trio.WouldBlock:
            self._counts["gossip.dropped.slow_reader"] += 1
            return False
        return True

    def _judge(self, peer: str, data: bytes) -> Verdict:
        try:
            verdict = self._validator(peer, data)
        except RemoteError as error:
            self._blame(peer, error.code)
            return Verdict.REJECT
        except Exception:
            # Ours, but provoked by a peer's bytes: letting it end the node would be a remote off switch.
            log.exception("the validator of %s failed", self.name)
            self._counts["gossip.validator_failed"] += 1
            return Verdict.IGNORE
        if verdict is Verdict.REJECT:
            self._blame(peer, "rejected_message")
        return verdict

    async def publish(self, data: bytes) -> None:
        """Announce `data` (at most 64 KiB) to the mesh. Returns when the peers that keep up have room for it.

        Delivery is not promised. Raises UsageError (`oversize`).
        """
        if len(data) > MESSAGE_SIZE_MAX:
            raise UsageError(
                f"a gossip message of {len(data)} bytes, at most {MESSAGE_SIZE_MAX} are allowed",
                code="oversize",
                next_step="split it, or store it as a blob and announce its id",
            )
        await self._room()
        await self._gossip.publish(self.name, data)
        self._counts["gossip.published"] += 1

    async def relay(self, data: bytes) -> None:
        """Pass on a message that was read and found good; for topics joined with `relays_at_once=False`."""
        await self._room()
        await self._gossip.relay(content_id(self.name, data))

    async def _room(self) -> None:
        with trio.move_on_after(PATIENCE_S) as patience:
            while self._congested() - self._slow:
                await self._gossip.sent.wait()
        congested = self._congested()
        if patience.cancelled_caught:
            self._counts["gossip.slow_peers"] += len(congested - self._slow)
            self._slow |= congested
        self._slow &= congested
        await trio.lowlevel.checkpoint()

    def _congested(self) -> set[ID]:
        queues = self._gossip.peer_queues
        return {peer for peer in self._mesh() if peer in queues and len(queues[peer]) >= QUEUE_HIGH}

    def _mesh(self) -> set[ID]:
        router: GossipSub = self._gossip.router  # type: ignore[assignment]
        return router.mesh.get(self.name, set()) | router.fanout.get(self.name, set())

    @property
    def neighbours(self) -> list[str]:
        """Peers that get our messages first."""
        return sorted(str(peer) for peer in self._mesh())

    def subscribers(self) -> list[str]:
        """Connected peers that told us they read this topic."""
        return sorted(str(peer) for peer in self._gossip.peer_topics.get(self.name, ()))

    async def next(self) -> tuple[str, bytes]:
        """The next (forwarding peer, data). Raises trio.EndOfChannel when the host closed."""
        return await self._get.receive()

    def waiting(self, most: int) -> list[tuple[str, bytes]]:
        """At most so many (forwarding peer, data) that are here already, without waiting for any."""
        found: list[tuple[str, bytes]] = []
        while len(found) < most:
            try:
                found.append(self._get.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        return found

    def __aiter__(self) -> Topic:
        return self

    async def __anext__(self) -> tuple[str, bytes]:
        try:
            return await self._get.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """No more messages; readers see the end."""
        self._put.close()

    def __repr__(self) -> str:
        waiting = self._get.statistics().current_buffer_used
        return f"<Topic {self.name} neighbours={len(self._mesh())} waiting={waiting} slow={len(self._slow)}>"
