"""py-libp2p's gossipsub made fit for a ledger: everything we change of it, in one file.

Gossip here is an announcement, never the truth: what it loses, sync repairs. But what it does must be
bounded, must not die of a peer's bytes, and must say what it dropped. Where 0.8.1 differs, we override:

    stock 0.8.1                                        here
    message ids are from+seqno, seqno restarts at      sha256(topic + data); the counter starts at the
      the clock's seconds: restarts lose messages        clock's nanoseconds
    reads the length of each RPC byte by byte, a       one buffered read
      window update (its own packet) for each read
    every RPC carries a signed address record, which   sent in the hello only, and not made for others
      the receiver verifies again
    a task for each message of an RPC                  one after the other, in the task that reads
    each message is an RPC, a frame and a packet       what waits for one peer leaves together
    a message is passed on to who has it already       not to those who sent it to us while it was judged
    IDONTWANT for every message (v1.2)                 speaks v1.1: half the CPU for small messages (1.8
                                                         against 3.9 ms, both ends), a fifth less for 60 KB
    a full queue, a slow reader: dropped silently      counted; `publish` waits (`network.topic`)
    an exception in a validator, or an undecodable     counted, blamed on the forwarder, the host lives
      key in a message, ends the whole host
    an id cache without bound and a thread for it      bounded, no thread, the event loop's clock
    keeps whole messages to detect equivocation        does not: events are signed and forks have proofs
    "recent messages" are written beside the sending   not sent: sync runs on every connect anyway
      loop, so frames of two RPCs can interleave
    a topic joined while a peer's hello is on its      announced again once the peer is registered
      way is never announced to that peer
    when one of two links to a peer ends (they         moves to the other link at once, and keeps what
      dialled each other at once), gossip stays on       the peer subscribed to
      it or forgets the subscriptions: dead for good
    IHAVE announces from+seqno whatever the ids are    announces our ids

Signing is strict (StrictSign): js-libp2p refuses the unsigned form that 0.8.1 sends (it keeps `from` and
`seqno`), and with batches of up to 64 KiB one signature a message costs nothing that can be measured.

For js-libp2p: msgIdFn: (m) => sha256(concat(utf8(m.topic), m.data)).
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

import trio
from libp2p.abc import IHost, IMuxedConn, INetStream
from libp2p.io.exceptions import IOException, MessageTooLarge
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID, PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.mcache import CacheEntry, MessageCache
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.utils import maybe_consume_signed_record
from libp2p.pubsub.validators import signature_validator
from libp2p.tools.timed_cache.last_seen_cache import LastSeenCache
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

MESSAGE_SIZE_MAX: Final = 64 * 1024  # bytes of data in one gossip message
RPC_SIZE_MAX: Final = 1024 * 1024  # stock; IWANT answers carry several messages
SEEN_IDS_MAX: Final = 65_536  # two minutes at 500 messages a second; 6 MB
SEEN_S: Final = 120.0
RPC_TOGETHER_MAX: Final = 64 * 1024  # bytes of messages that leave for one peer in one frame
CACHED_MESSAGES_MAX: Final = 512  # for IWANT: 32 MiB at the very most
HELD_MESSAGES_MAX: Final = 512  # waiting for their reader's verdict: twice an inbox
TOPICS_PER_PEER_MAX: Final = 16  # we use two a network
HEARTBEAT_S: Final = 1
DEGREE, DEGREE_LOW, DEGREE_HIGH = 6, 4, 12  # the gossipsub specification's defaults


def content_id(topic: str, data: bytes) -> bytes:
    """sha256 of the topic's UTF-8 bytes and the data: the same content is the same message."""
    return hashlib.sha256(topic.encode() + data).digest()


def message_id(message: rpc_pb2.Message) -> bytes:
    return content_id(message.topicIDs[0] if message.topicIDs else "", message.data)


class Inbox(Protocol):
    """Where accepted messages go. Synchronous, and never raises."""

    relays_at_once: bool
    """False: a message is passed on when the reader calls `Gossip.relay`, not before."""

    def accepts(self, peer: ID, data: bytes) -> bool:
        """Judge and, if good, take the message. False: not valid, or no room; it is forgotten then."""


class RecentIds(LastSeenCache):
    """Ids seen in the last `SEEN_S` seconds, at most `SEEN_IDS_MAX`; the oldest leave first."""

    def __init__(self) -> None:
        self._due: OrderedDict[bytes, float] = OrderedDict()  # not super().__init__: it starts a thread

    def add(self, key: bytes) -> bool:
        now = trio.current_time()
        is_new = key not in self._due
        self._due[key] = now + SEEN_S
        self._due.move_to_end(key)
        while self._due and (len(self._due) > SEEN_IDS_MAX or next(iter(self._due.values())) < now):
            self._due.popitem(last=False)
        return is_new

    def has(self, key: bytes) -> bool:
        due = self._due.get(key)
        return due is not None and due >= trio.current_time()

    def stop(self) -> None:
        """Nothing runs, so nothing stops."""

    def length(self) -> int:
        return len(self._due)


class ContentCache(MessageCache):
    """Messages of the last heartbeats under our ids, bounded in number."""

    def put(self, msg: rpc_pb2.Message) -> None:
        mid = message_id(msg)
        if mid not in self.msgs and len(self.msgs) < CACHED_MESSAGES_MAX:
            self.msgs[mid] = msg
            self.history[0].append(CacheEntry(mid, msg.topicIDs))


class Router(GossipSub):
    """GossipSub with our limits. `counts` is shared with the host's metrics."""

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__(
            [PROTOCOL_ID_V11, PROTOCOL_ID],
            DEGREE,
            DEGREE_LOW,
            DEGREE_HIGH,
            heartbeat_interval=HEARTBEAT_S,  # stock: 120
            adaptive_gossip_enabled=False,  # it changes the heartbeat by the wall clock
            spam_protection_enabled=False,  # stock: 10 messages a second, our own included
            eclipse_protection_enabled=False,  # it counts IP addresses; links may have none
            max_pending_messages_per_peer=1,
        )
        self.counts = counts
        self.mcache = ContentCache(self.mcache.window_size, self.mcache.history_size)
        # appended to on every message, read and trimmed only by what is switched off above
        self.recent_message_deliveries = cast(dict[str, list[float]], defaultdict(lambda: deque(maxlen=1)))

    def _check_equivocation(self, msg: rpc_pb2.Message) -> bool:
        return True

    async def flush_pending_messages(self, peer_id: ID) -> None:
        self._pending_messages.pop(peer_id, None)

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        """Nothing: see the table above."""

    async def publish(
        self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message, also_known_to: Collection[ID] = ()
    ) -> None:
        """To the mesh, but not to who is known to have it."""
        assert self.pubsub is not None
        self.mcache.put(pubsub_msg)
        peers = self._get_peers_to_send(
            pubsub_msg.topicIDs,
            msg_forwarder=msg_forwarder,
            origin=ID(pubsub_msg.from_id),
            msg_id=message_id(pubsub_msg),
        )
        rpc = rpc_pb2.RPC(publish=[pubsub_msg])
        for peer in peers:
            if peer in also_known_to:
                self.counts["gossip.spared"] += 1
            elif peer in self.pubsub.peers:
                self.send_rpc(peer, rpc)
        await trio.lowlevel.checkpoint()

    def send_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, priority: bool = False) -> None:
        rpc.ClearField("senderRecord")
        super().send_rpc(peer_id, rpc, priority)

    def _handle_dropped_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, reason: str) -> None:
        self.counts[f"gossip.dropped.{reason}"] += max(1, len(rpc.publish))
        super()._handle_dropped_rpc(peer_id, rpc, reason)


class BufferedStream:
    """An INetStream whose small reads are served from one large read. All else passes through."""

    def __init__(self, raw: INetStream) -> None:
        self._raw = raw
        self._buffer = bytearray()

    async def read(self, n: int | None = None) -> bytes:
        if not self._buffer:
            self._buffer += await self._raw.read(MESSAGE_SIZE_MAX)
        taken = bytes(self._buffer[:n])
        del self._buffer[: len(taken)]
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


@dataclass(slots=True)
class Held:
    """A message that waits for its reader's verdict, and who else sent it to us meanwhile."""

    forwarder: ID
    message: rpc_pb2.Message
    known_to: set[ID] = field(default_factory=set)


class Gossip(Pubsub):
    """Pubsub that hands each new, genuine message to the inbox of its topic, once."""

    def __init__(self, host: IHost, router: Router, counts: Counter[str], *, first_seqno: int) -> None:
        """`first_seqno`: above every number this key ever used; the clock's nanoseconds will do."""
        super().__init__(
            host,
            router,
            strict_signing=True,
            msg_id_constructor=message_id,
            max_inbound_rpc_size=RPC_SIZE_MAX,
            max_subscriptions_per_peer=TOPICS_PER_PEER_MAX,
            max_subscriptions_per_rpc=4 * TOPICS_PER_PEER_MAX,
        )
        self.seen_messages.stop()  # the thread of the stock cache
        self.seen_messages = RecentIds()
        self.counter = first_seqno
        self.counts = counts
        self.inboxes: dict[str, Inbox] = {}
        self._held: OrderedDict[bytes, Held] = OrderedDict()
        self.sent = trio.Event()  # set, and replaced, whenever an RPC left a queue

    async def _handle_new_peer(self, peer_id: ID) -> None:
        told = set(self.topic_ids)  # the hello, built after this, has at least these
        await super()._handle_new_peer(peer_id)
        queue = self.peer_queues.get(peer_id)
        for topic in sorted(set(self.topic_ids) - told):
            if queue is not None:
                queue.push(self._build_announce_rpc(topic, subscribe=True)[0])

    def link_lost(self, peer: ID, link: IMuxedConn) -> None:
        """A link ended. If it carried our stream to a peer that has another link, open one over that."""
        stream = self.peers.get(peer)
        if stream is not None and stream.muxed_conn is link and self._peer_is_connected(peer):
            self._handle_dead_peer(peer)

    def _handle_dead_peer(self, peer_id: ID) -> None:
        topics = [topic for topic, peers in self.peer_topics.items() if peer_id in peers]
        super()._handle_dead_peer(peer_id)
        if self._peer_is_connected(peer_id):
            # It announced them once, perhaps over the link that lives, and will not do so again.
            for topic in topics:
                self.peer_topics.setdefault(topic, set()).add(peer_id)
            self._peer_subscription_count[peer_id] = len(topics)

    async def continuously_read_stream(self, stream: INetStream) -> None:
        peer = stream.muxed_conn.peer_id
        buffered = cast(INetStream, BufferedStream(stream))
        try:
            while self.manager.is_running:
                data = await read_varint_prefixed_bytes_limited(buffered, self.max_inbound_rpc_size)
                await self._take_rpc(peer, rpc_pb2.RPC.FromString(data))
        except MessageTooLarge:
            self.counts["gossip.refused.oversize_rpc"] += 1
            self._handle_dead_peer(peer)
            await stream.reset()
        except (StreamError, IOException, RawConnError):
            return  # the link ended

    async def _take_rpc(self, peer: ID, rpc: rpc_pb2.RPC) -> None:
        """One frame of a peer's, in the order of its parts. What its bytes raise ends the link."""
        if not maybe_consume_signed_record(rpc, self.host, peer):
            self._refuse("bad_record")
            return
        for message in rpc.publish:
            await self.push_msg(peer, message)
        if len(rpc.subscriptions) <= self.max_subscriptions_per_rpc:
            for change in rpc.subscriptions:
                self.handle_subscription(peer, change)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer)

    async def write_msg(self, stream: INetStream, rpc_msg: rpc_pb2.RPC) -> bool:
        if rpc_msg.publish:
            self._take_along(stream.muxed_conn.peer_id, rpc_msg)
        try:
            return await super().write_msg(stream, rpc_msg)
        finally:
            self.sent.set()
            self.sent = trio.Event()

    def _take_along(self, peer: ID, rpc: rpc_pb2.RPC) -> None:
        """Append the messages that wait for the same peer, as far as they fit."""
        queue = self.peer_queues.get(peer)
        waiting = None if queue is None else queue._queue._non_priority
        size = rpc.ByteSize()
        while waiting and (size := size + waiting[0].ByteSize()) <= RPC_TOGETHER_MAX:
            rpc.MergeFrom(waiting.popleft())

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """(1) our topic, (2) not too large, (3) new, (4) genuine, (5) taken by the inbox, (6) passed on.

        There is no await between (3) and (5), so a message that comes from three sides is judged once.
        """
        mine = msg_forwarder == self.my_id
        if not mine and not self._take(msg_forwarder, msg):
            return
        mid = message_id(msg)
        self.seen_messages.add(mid)
        if mine or self.inboxes[msg.topicIDs[0]].relays_at_once:
            await self.router.publish(msg_forwarder, msg)
            return
        self._held[mid] = Held(msg_forwarder, msg)
        while len(self._held) > HELD_MESSAGES_MAX:
            self._held.popitem(last=False)
            self.counts["gossip.dropped.not_relayed"] += 1

    async def relay(self, mid: bytes) -> None:
        """Pass a held message on: its reader found it good. Unknown ids (too late) are ignored."""
        held = self._held.pop(mid, None)
        if held is not None:
            router = cast(Router, self.router)
            await router.publish(held.forwarder, held.message, held.known_to)

    def _take(self, forwarder: ID, msg: rpc_pb2.Message) -> bool:
        inbox = self.inboxes.get(msg.topicIDs[0]) if len(msg.topicIDs) == 1 else None
        if inbox is None or self.is_peer_blacklisted(forwarder):
            return self._refuse("unasked")
        if len(msg.data) > MESSAGE_SIZE_MAX:
            return self._refuse("oversize")
        if self.seen_messages.has(mid := message_id(msg)):
            if (held := self._held.get(mid)) is not None:
                held.known_to.add(forwarder)
            return False
        if ID(msg.from_id) == self.my_id or not _is_genuine(msg):
            return self._refuse("bad_signature")
        return inbox.accepts(forwarder, msg.data)

    def _refuse(self, why: str) -> bool:
        self.counts[f"gossip.refused.{why}"] += 1
        return False


def _is_genuine(msg: rpc_pb2.Message) -> bool:
    try:
        return bool(signature_validator(msg))
    except Exception:  # noqa: BLE001 - libp2p decodes a peer's key in there and raises whatever the key provokes
        return False
