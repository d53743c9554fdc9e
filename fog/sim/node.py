"""One honest node: the real replica on a disk of its own, with what `fog.exchange` does, without waiting.

    gossip in     events -> ingest -> passed on; lacking parents asked for.  votes -> hear
    votes         `fog.sim.voice`
    sync          one peer now and then, sooner when something is known to be missing
    people        append, durable, announced

It may crash in any write: before the commit, after it and before anything is said. It starts again from its
disk, as a node does.

What must always hold: a node that is down does nothing and hears nothing; what it says was durable before.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from domain.payloads import Payload, kind_of
from fog.sim.accusing import Accusing
from fog.sim.beginning import Shown, fetch, invite
from fog.sim.disk import Disk, PowerCut
from fog.sim.ground import EVENTS, Ground
from fog.sim.listening import Listening
from fog.sim.observer import Violation
from fog.sim.sessions import Session, replies
from fog.sim.voice import Voice
from ledger import archive, audit
from ledger.cid import Cid
from ledger.errors import RemoteError, StoreCorrupt, UsageError
from ledger.event import Event
from ledger.reactions import Ingested
from ledger.replica import Replica
from ledger.signing import SigningKey
from network.gossip import decode_events, encode_events
from network.sync_actions import Delivered

T = TypeVar("T")

SYNC_MS: Final = 30_000
"""Between two syncs with some peer, when nothing is known to be missing."""

AGAIN_MS: Final = 1_000
"""Between a session and the next one for what it did not bring."""

DIFFERS_MS: Final = 5_000
"""After a peer asked us and turned out to hold something else."""

BATCH_MS: Final = 0
"""How long news waits for company before the voter is asked (`fog.validating`: not at all)."""

INTERVAL_MS: Final = 50
"""Least time between two proposals (`finality.checkpoint_interval_ms`)."""

SEEN_MAX: Final = 4_096
"""Names of gossip messages remembered, so that each is looked at once: some minutes of them."""

RELAYS: Final = 1
"""To how many others a message of somebody else is passed on."""

WANTED_MAX: Final = 256


class Node:
    is_liar = False
    has_twin = False

    def __init__(self, ground: Ground, index: int, key: SigningKey, disk: Disk) -> None:
        self.ground = ground
        self.index = index
        self.key = key
        self.disk = disk
        self.skew = 0  # ms by which its clock is wrong
        self.life = 0  # counts starts: what an earlier life had begun is over
        self.up = False
        self.replica: Replica = None  # type: ignore[assignment]
        self.voice: Voice = None  # type: ignore[assignment]
        self.accusing: Accusing = None  # type: ignore[assignment]
        self.listening: Listening = None  # type: ignore[assignment]
        self.begins_fresh = False  # its disk is empty, and it begins from a snapshot
        self.stops_again = False  # its next start ends when it has heard what others hold of its votes
        self.is_damaged = False  # its disk was changed by something else than its store
        self._draw = ground.draw("node", index)
        self.is_ready = False  # it knows where its lane ends
        self._cut_after = False
        self._told_height = 0
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._sessions: dict[int, Session] = {}
        self._synced_at: dict[int, int] = {}
        self._wanted: dict[int, dict[Cid, None]] = {}

    # -- life and death ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Open what is on the disk and join. A disk that cannot be trusted is given up, the key is kept."""
        assert not self.up
        self.life += 1
        self.up = True
        self.disk.mend()
        self.enter(self._start)

    def _start(self) -> None:
        try:
            self._begin()
            self._open()
            if self.is_damaged:
                self._audit()
        except RemoteError as error:
            raise AssertionError(f"its own disk holds what no peer may send: {error}") from error
        except (StoreCorrupt, UsageError) as error:
            self._move_disk_away(error)
            self._open()
        self.note(f"start at {self.replica.height}")
        self.ground.observer.started(self)
        self.is_ready = self.life == 1
        self.listening = Listening(self)
        self.later(self._draw.randrange(SYNC_MS), self._sync_sometimes)
        if self.is_ready:
            self.voice.start()
        else:
            self.listening.look_again()

    def _begin(self) -> None:
        """From a snapshot, if it lost its disk and somebody trusted told it of a checkpoint."""
        anchored = invite(self, self._draw) if self.begins_fresh else None
        self.begins_fresh = False
        if anchored is not None:
            snapshot = fetch(self, anchored, self._draw)
            if snapshot is not None:
                self.disk.begin(self.ground.genesis, snapshot)
                self.ground.observer.begun(self, anchored.height)

    def _open(self) -> None:
        store = self.disk.open(self.ground.genesis.net)
        parts = self.ground.parts
        self.replica = self.kind_of_replica.open(
            store, parts.rules(), self.key, validator=True, interval_ms=INTERVAL_MS, voter=parts.voter
        )
        self.voice = Voice(self)
        self.accusing = Accusing(self)
        self._told_height = self.replica.height

    @property
    def kind_of_replica(self) -> type[Replica]:
        return self.ground.parts.replica

    def _audit(self) -> None:
        """After damage that a start let pass: judge every byte that is final. Raises StoreCorrupt."""
        if self.replica.store.base is not None:
            raise StoreCorrupt("it began from a snapshot: nothing that could be audited")
        out = io.BytesIO()
        try:
            archive.write(self.replica.store, out)
        except (RemoteError, KeyError, AssertionError) as error:
            raise StoreCorrupt(f"cannot be exported: {error!r}") from error
        report = audit.audit(out.getvalue(), self.ground.parts.rules(), net=self.ground.genesis.net)
        if not report.ok:
            raise StoreCorrupt(str(report.problem))

    def be_ready(self) -> None:
        """It knows where its lane ends: it may speak."""
        self.is_ready = True
        self.voice.start()

    def crash(self) -> None:
        """Gone, with all that was not on the disk. Whoever calls says when it starts again."""
        self.note("crash")
        self.up = self._cut_after = False
        self.life += 1
        self._seen.clear()
        self._sessions.clear()
        self._wanted.clear()

    def cut_power(self, *, before: int | None) -> None:
        """In its next write: before its commit number `before`, or (None) after it and before it speaks."""
        if before is None:
            self._cut_after = True
        else:
            self.disk.cut_power_before(before)

    def keep_power(self) -> None:
        """What was going to be cut, is not."""
        self._cut_after = self.stops_again = False
        self.disk.mend()

    def enter(self, action: Callable[[], None]) -> None:
        """Everything that happens in a node happens in here."""
        if not self.up:
            return
        try:
            action()
        except PowerCut:
            self.ground.counts["power_cut"] += 1
            self.crash()
            self.ground.observer.crashed(self)
        except StoreCorrupt as error:
            corrupt = error
            self.enter(lambda: self._give_up(corrupt))
        except AssertionError as error:
            self.ground.observer.fault(self, error)
        except Violation:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is: that it got out is what breaks)
            self.ground.observer.stray(self, error)

    def _give_up(self, error: StoreCorrupt) -> None:
        self._move_disk_away(error)
        self.crash()
        self.ground.observer.crashed(self)

    def _move_disk_away(self, error: StoreCorrupt | UsageError) -> None:
        """What its operator does: the file is moved away, the node starts anew, its key stays."""
        if not self.is_damaged:
            raise AssertionError(f"a disk that nobody touched: {error}") from error
        self.note(f"corrupt {error.code}")
        self.ground.counts["damage_found"] += 1
        self.ground.observer.disk_replaced(self, copied=False)
        self.disk.lose()
        self.is_damaged = False

    def later(self, ms: int, action: Callable[[], None]) -> None:
        """In this life, or never."""
        life = self.life
        self.ground.scheduler.after(ms, lambda: self.enter(action) if self.life == life else None)

    def write(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call the replica; the power may go while it writes."""
        before = self.disk.commits
        result = function(*args, **kwargs)
        if self._cut_after and self.disk.commits > before:
            raise PowerCut
        if self.replica.height > self._told_height:
            first, self._told_height = self._told_height + 1, self.replica.height
            self.ground.observer.became_final(self, first)
            self.later(0, lambda: self.ground.on_final(self))
        return result

    @property
    def now(self) -> int:
        """Unix ms by this node's own clock."""
        return self.ground.time + self.skew

    # -- gossip ------------------------------------------------------------------------------------------

    def facing(self, other: Node) -> Node:
        """Who this node is for another one. A liar may be several."""
        return self

    def telling(self, target: Node, topic: str, message: bytes) -> Sequence[bytes]:
        """What the target is told when this node says `message` to all. A liar may say something else."""
        return (message,)

    def receive(self, topic: str, message: bytes, name: bytes, source: int) -> None:
        if not self.up or name in self._seen:
            return
        self._seen[name] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        self.note(f"hears {topic} of {source}", name)
        self.enter(lambda: self._take(topic, message, source))

    def _take(self, topic: str, message: bytes, source: int) -> None:
        try:
            if topic == EVENTS:
                passed = [message] if self._hear_events(message, source) else []
            else:
                passed = self.voice.hear(message, source)
        except RemoteError as error:
            self.blame(source, error.code)
            return
        for one in passed:
            others = [node for node in self.ground.nodes if node.index not in (self.index, source)]
            self.ground.gossip(self, topic, one, self._draw.sample(others, min(RELAYS, len(others))))

    def _hear_events(self, message: bytes, source: int) -> bool:
        result = self.ingest(decode_events(message), source)
        if result.missing:
            self.want(result.missing, source)
        return not (result.rejected or result.unjudged)

    def ingest(self, wires: Sequence[bytes], source: int, *, asked: bool = False) -> Ingested:
        result = self.write(self.replica.ingest, wires, peer=str(source), now=self.now, asked=asked)
        for code, _ in result.rejected:
            self.blame(source, code)
        self.accusing.events(result)
        if result.admitted:
            self.voice.wake(BATCH_MS)
        return result

    def blame(self, source: int, code: str) -> None:
        self.note(f"blames {source} for {code}")
        self.ground.observer.blamed(self, source, code)

    def say(self, topic: str, message: bytes) -> None:
        """Something of ours, durable by now, to all."""
        self.note(f"says {topic}", message)
        self.ground.observer.said(self, topic, message)
        self.ground.gossip(self, topic, message)

    # -- people ------------------------------------------------------------------------------------------

    def append(self, payload: Payload) -> Event | None:
        """Somebody at this node says something; None when it cannot be said now."""
        said: list[Event] = []
        self.enter(lambda: self._append(payload, said))
        return said[0] if said else None

    def _append(self, payload: Payload, said: list[Event]) -> None:
        if not self.is_ready:
            return
        try:
            event: Event = self.write(self.replica.append, *kind_of(payload), payload, now=self.now)
        except UsageError as error:
            self.ground.counts[f"refused.{error.code}"] += 1
            return
        said.append(event)
        self.ground.observer.appended(self, event)
        self.say(EVENTS, encode_events([event.wire]))
        self.voice.wake(BATCH_MS)

    # -- sync --------------------------------------------------------------------------------------------

    def want(self, ids: Sequence[Cid], source: int) -> None:
        """These are missing, and `source` may have them."""
        wanted = self._wanted.setdefault(source, {})
        wanted.update(dict.fromkeys(ids))
        for id in list(wanted)[WANTED_MAX:]:
            del wanted[id]
        self.later(0, lambda: self._sync_if_wanted(source))

    def _sync_if_wanted(self, peer: int) -> None:
        if peer in self._wanted and peer not in self._sessions:
            self.sync_with(peer, tuple(self._wanted.pop(peer)))

    def _sync_sometimes(self) -> None:
        self.later(SYNC_MS // 2 + self._draw.randrange(SYNC_MS), self._sync_sometimes)
        self.sync_with(self.somebody(), ())

    def sync_with(self, peer: int, wanted: tuple[Cid, ...]) -> None:
        """Now, or when the last session with this peer is AGAIN_MS ago."""
        if not self.asks(self.ground.nodes[peer]):
            return
        since = self.ground.scheduler.now - self._synced_at.get(peer, -AGAIN_MS)
        if peer in self._sessions or since < AGAIN_MS:
            self._wanted.setdefault(peer, {}).update(dict.fromkeys(wanted))
            if peer not in self._sessions:
                self.later(AGAIN_MS - since, lambda: self._sync_if_wanted(peer))
            return
        session = Session(self, self.ground.nodes[peer].facing(self), wanted)
        self._sessions[peer] = session
        session.start()

    def synced(self, session: Session, code: str) -> None:
        """A session is over: `equal`, `synced`, `stalled`, `bye`, or `broken` when its stream was."""
        peer = session.peer.index
        self._sessions.pop(peer, None)
        self._synced_at[peer] = self.ground.scheduler.now
        self.ground.counts[f"sync.{code}"] += 1
        self.listening.ended(peer, code, is_empty=session.met_nothing)
        if code == "synced":
            self.voice.wake(BATCH_MS)
        if peer in self._wanted:
            self.later(AGAIN_MS, lambda: self._sync_if_wanted(peer))

    def is_syncing(self, peer: int) -> bool:
        return peer in self._sessions

    def is_syncing_since(self, moment: int) -> bool:
        """Whether a session of before that (run ms) is still under way."""
        return any(session.begun < moment for session in self._sessions.values())

    def differs_from(self, peer: int) -> None:
        """A peer asked us, and turned out to hold something else: it may hold what we lack."""
        self.later(DIFFERS_MS, lambda: None if peer in self._sessions else self.sync_with(peer, ()))

    def take_events(self, wires: Sequence[bytes], source: int) -> Delivered:
        result = self.ingest(wires, source, asked=True)
        return Delivered(len(result.admitted), tuple(result.missing))

    def asked(self, asker: Node, question: bytes) -> None:
        """A question on a stream that nobody reads the answer of."""
        self.note(f"is asked by {asker.index}", question)
        self.enter(lambda: self._answer_to_nobody(question))

    def _answer_to_nobody(self, question: bytes) -> None:
        sum(map(len, replies(self, question)))

    def shown(self, asker: Node) -> Shown:
        """What whoever begins may fetch here."""
        return Shown(self)

    def answering(self, asker: Node, frames: list[bytes]) -> list[bytes]:
        """What the asker gets for these frames of an answer. A liar may have others for it."""
        return frames

    def somebody(self) -> int:
        """Any other node; a liar who eclipses us may see to it that it is him."""
        found = self.ground.observer.neighbour(self, self._draw)
        for _ in self.ground.nodes:
            if self.asks(self.ground.nodes[found]):
                break
            found = self.ground.observer.neighbour(self, self._draw)
        return found

    def asks(self, other: Node) -> bool:
        """Whether this node ever turns to another one."""
        return True

    # ----------------------------------------------------------------------------------------------------

    def note(self, what: str, data: bytes = b"") -> None:
        self.ground.trace.note(f"n{self.index}", what, data)

    def __repr__(self) -> str:
        return f"<Node {self.index} {'up' if self.up else 'down'} {self.replica!r}>"
