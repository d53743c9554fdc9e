"""Fetching blobs: which peer is asked for which block, and when. No network here: what happened comes in,
with the time; what to do comes out.

One of these serves all fetches of a node, so a block that several of them want is asked for once, and the
questions on their way are bounded whatever is going on.

    a block     waiting -> asked of one peer -> being checked -> here
                   ^____________|___________________|     the peer lacks it, lied, broke off or was too slow

    a peer that answers gets more questions, one that is slow gets fewer (`network.blobs_peer`)
    a peer that lacks a block is not asked for that block again
    a peer that sent other bytes than were asked for is left by all fetches that there are
    a peer that broke off, or answers nothing for BLOCK_S, is left; tried again after a rest, a few times
    when only a slow peer's questions are left, and a fast one has nothing to do, the slow one is left: its
    questions are given up, not doubled

What must always hold:
    I1  a block is asked of one peer at a time, and of none when it is being checked or here
    I2  no peer has more questions than its window, no more than STREAMS_MAX peers have a stream
    I3  no more than KNOWN_MAX blocks of one fetch are known at once: who wants more brings them piecemeal
    I4  a fetch ends: with all that it wanted, or when no peer is left that might have what is lacking
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from ledger.blob import BLOCK_SIZE_MAX
from ledger.cid import Cid
from network.bandwidth import Bucket
from network.blobs_actions import Action, Ask, Ended, Leave, Open
from network.blobs_peer import BLOCK_S, FAULTS_MAX, Link, Peer

STREAMS_MAX: Final = 8
"""Peers asked at once: more only share the same line."""

PEERS_MAX: Final = 256
"""Peers that one fetch may name: twice as many as a host has links."""

KNOWN_MAX: Final = 512
"""Blocks of one fetch that are known at once: 128 MiB of chunks, some 200 KiB of memory."""

LACKING_MAX: Final = 256
"""Blocks that nobody has, until a fetch gives up the rest: the blob is not there."""

IDLE_S: Final = 30.0
"""How long a stream that is not used stays: opening one costs two round trips."""

GIVE_UP_S: Final = 2.0
GIVE_UP_TIMES: Final = 4
"""The slow peer's questions are given up if they need so much longer than another one would, and so long."""

LOOK_S: Final = 0.25
"""Between two looks whether to give up, while somebody has nothing to do."""

OUT_S: Final = 60.0
"""A peer that was given up may be asked by fetches that begin so much later (a liar by none of these)."""

SLOW_REST_S: Final = 10.0
"""A peer that was left for being slow is not asked for so long."""


@dataclass(slots=True)
class _Block:
    fetches: set[int]
    lacked: set[str] = field(default_factory=set)
    peer: str | None = None  # asked of, or being checked from
    is_waiting: bool = True


@dataclass(slots=True)
class _Fetch:
    peers: tuple[str, ...]
    left: set[Cid] = field(default_factory=set)
    lacking: int = 0
    is_complete: bool = False  # nothing more will be wanted


class Fetches:
    """Each input returns what is to be done, in order. Names of peers are any text."""

    def __init__(self, pace: Bucket | None = None, *, patience_s: float = BLOCK_S) -> None:
        """`pace` bounds what is asked for, if there is a bound. `patience_s`: with one answer."""
        self._pace, self._patience_s = pace, patience_s
        self._next_id = 0
        self._fetches: dict[int, _Fetch] = {}
        self._blocks: dict[Cid, _Block] = {}
        self._again: dict[Cid, None] = {}  # waiting, and given up before: first in line
        self._waiting: dict[Cid, None] = {}
        self._peers: dict[str, Peer] = {}
        self._actions: list[Action] = []

    # -- fetches

    def begin(self, peers: Sequence[str], now: float) -> int:
        """A new fetch, that may ask these peers, the first ones rather. Its number."""
        self._next_id += 1
        named = tuple(dict.fromkeys(peers))[:PEERS_MAX]
        self._fetches[self._next_id] = _Fetch(named)
        for name in named:
            peer = self._peers.setdefault(name, Peer(name, self._patience_s))
            peer.fetches.add(self._next_id)
            peer.forgive(now)
        return self._next_id

    def room(self, fetch: int) -> int:
        """How many blocks more it may want now."""
        return KNOWN_MAX - len(self._fetches[fetch].left) if fetch in self._fetches else 0

    def want(self, fetch: int, cids: Iterable[Cid], now: float) -> list[Action]:
        """Blocks that are not here, no more than there is room for. Nothing happens when it ended."""
        for cid in cids:
            mine = self._fetches.get(fetch)
            if mine is None:
                break  # so much is lacking that it gave up
            assert not mine.is_complete, "a fetch wants more than it said"
            assert len(mine.left) < KNOWN_MAX, "a fetch wants more at once than there is room for"
            mine.left.add(cid)
            if cid in self._blocks:
                self._blocks[cid].fetches.add(fetch)
            else:
                self._blocks[cid] = _Block({fetch})
                self._waiting[cid] = None
            self._judge(cid)
        return self._go_on(now)

    def complete(self, fetch: int, now: float) -> list[Action]:
        """It wants nothing more: `Ended` follows, at once or later."""
        if fetch in self._fetches:
            self._fetches[fetch].is_complete = True
            self._maybe_end(fetch)
        return self._go_on(now)

    def cancel(self, fetch: int, now: float) -> list[Action]:
        """Nobody waits for it any more. What was asked for still comes, and is kept."""
        if fetch in self._fetches:
            self._end(fetch)
        return self._go_on(now)

    def wanting(self, cid: Cid) -> set[int]:
        """The fetches that wait for this block."""
        return set(self._blocks[cid].fetches) if cid in self._blocks else set()

    # -- what peers did

    def opened(self, name: str, now: float) -> list[Action]:
        peer = self._peers[name]
        if peer.link is Link.OPENING:
            peer.opened(now)
        return self._go_on(now)

    def reading(self, name: str, now: float) -> None:
        """After `answered`: what it sends next is being waited for."""
        peer = self._peers.get(name)
        if peer is not None and peer.link is Link.OPEN:
            peer.reading(now)

    def answered(self, name: str, size: int, now: float) -> Cid | None:
        """The next answer of a peer with a stream is read; what it was asked. None: nothing, so it `lied`.

        `had`, `lacks`, `lied` or `let_go` says later what became of it, and `reading` when the next is read.
        """
        cid = self._peers[name].answered(now)
        if cid is not None and self._pace is not None:
            self._pace.take(size - BLOCK_SIZE_MAX, now)
        return cid

    def had(self, name: str, cid: Cid, now: float) -> list[Action]:
        """It was the block, and is stored."""
        if name in self._peers:
            self._peers[name].gave()
        block = self._blocks.pop(cid)
        assert not block.is_waiting, f"{cid} came, and nobody was asked for it"
        for fetch in block.fetches:
            self._fetches[fetch].left.discard(cid)
            self._maybe_end(fetch)
        return self._go_on(now)

    def lacks(self, name: str, cid: Cid, now: float) -> list[Action]:
        if name in self._peers:
            self._peers[name].lacked(now)
        self._blocks[cid].lacked.add(name)
        self._wait(cid)
        return self._go_on(now)

    def lied(self, name: str, cid: Cid | None, now: float) -> list[Action]:
        """It sent other bytes than the block `cid`, or bytes that were not asked for."""
        peer = self._peers.get(name)
        if peer is not None:
            self._give_up(peer)
            if peer.link in (Link.OPENING, Link.OPEN):
                self._leave(peer, "lied")
            self._put_out(peer, until=inf)
        if cid is not None:
            self._blocks[cid].lacked.add(name)
            self._wait(cid)
        return self._go_on(now)

    def let_go(self, cid: Cid, now: float) -> list[Action]:
        """It could not be stored here: all that wait for it were cancelled."""
        assert not self._blocks[cid].fetches, "somebody still waits for a block that is let go"
        del self._blocks[cid]
        return self._go_on(now)

    def broke(self, name: str, now: float, *, is_gone: bool = False) -> list[Action]:
        """Its stream broke, or could not be opened. `is_gone`: it is not connected any more."""
        peer = self._peers.get(name)
        if peer is not None and peer.link in (Link.OPENING, Link.OPEN):
            self._give_up(peer)
            self._broke(peer, FAULTS_MAX if is_gone else 1, now)
        return self._go_on(now)

    # -- time

    def tick(self, now: float) -> list[Action]:
        """Call it at `next_at`."""
        for peer in list(self._peers.values()):
            stalls = peer.stalls_at
            if stalls is not None and stalls <= now:
                self._give_up(peer)
                self._leave(peer, "timeout")
                self._broke(peer, FAULTS_MAX - 1 if peer.blocks else FAULTS_MAX, now)
            elif peer.link is Link.OPEN and not peer.asked and peer.used + IDLE_S <= now:
                self._leave(peer, "idle")
        return self._go_on(now)

    def next_at(self, now: float) -> float | None:
        """When to call `tick`, if nothing happens before; None: there is nothing to wait for."""
        times = [peer.stalls_at for peer in self._peers.values()]
        times += [
            peer.used + IDLE_S for peer in self._peers.values() if peer.link is Link.OPEN and not peer.asked
        ]
        if self._again or self._waiting:
            times += [peer.not_before for peer in self._peers.values() if peer.not_before > now]
            if self._pace is not None and (wait := self._pace.wait(now)) > 0:
                times.append(now + wait)
        elif self._blocks:
            times.append(now + LOOK_S)
        return min((time for time in times if time is not None), default=None)

    # -- deciding

    def _go_on(self, now: float) -> list[Action]:
        """What follows from all this; every input ends here."""
        while (question := self._next_question(now)) is not None:
            peer, cid = question
            self._ask(peer, cid, now)
        self._open_more(now)
        if not self._again and not self._waiting:
            self._give_up_slow(now)
        self._forget_peers()
        actions, self._actions = self._actions, []
        return actions

    def _next_question(self, now: float) -> tuple[Peer, Cid] | None:
        """The peer that would answer first, of those that may be asked, and a block for it."""
        if not self._again and not self._waiting:
            return None
        if self._pace is not None and self._pace.wait(now) > 0:
            return None
        free = [peer for peer in self._peers.values() if peer.has_room(now)]
        for peer in sorted(free, key=lambda peer: peer.next_s):
            cid = self._block_for(peer)
            if cid is not None:
                return peer, cid
        return None

    def _block_for(self, peer: Peer) -> Cid | None:
        for line in (self._again, self._waiting):
            for cid in line:
                block = self._blocks[cid]
                if peer.name not in block.lacked and not block.fetches.isdisjoint(peer.fetches):
                    return cid
        return None

    def _ask(self, peer: Peer, cid: Cid, now: float) -> None:
        block = self._blocks[cid]
        assert block.is_waiting, f"{cid} would be asked for twice"
        block.is_waiting, block.peer = False, peer.name
        self._again.pop(cid, None)
        self._waiting.pop(cid, None)
        peer.ask(cid, now)
        if self._pace is not None:
            self._pace.take(BLOCK_SIZE_MAX, now)
        self._actions.append(Ask(peer.name, cid))

    def _open_more(self, now: float) -> None:
        """Streams to peers that have something to give; those that have nothing to do make place."""
        if not self._again and not self._waiting:
            return
        live = [peer for peer in self._peers.values() if peer.link in (Link.OPENING, Link.OPEN)]
        spare = sum(not peer.asked and self._block_for(peer) is not None for peer in live)
        for peer in self._in_order():
            if spare > len(self._again) + len(self._waiting):
                return  # one more than there is to ask: the first may turn out not to answer
            if peer.link is not Link.CLOSED or peer.not_before > now or self._block_for(peer) is None:
                continue
            if len(live) >= STREAMS_MAX:
                useless = next((one for one in live if self._is_useless(one)), None)
                if useless is None or peer.is_empty:
                    return
                self._leave(useless, "idle")
                live.remove(useless)
            peer.link = Link.OPENING
            live.append(peer)
            spare += 1
            self._actions.append(Open(peer.name))

    def _in_order(self) -> list[Peer]:
        """Those whom the fetch that is first in line would rather ask come first, empty ones last."""
        if all(peer.link is not Link.CLOSED for peer in self._peers.values()):
            return []
        first = next(iter(self._again or self._waiting))
        fetch = self._fetches[min(self._blocks[first].fetches)]
        rank = {name: n for n, name in enumerate(fetch.peers)}
        return sorted(self._peers.values(), key=lambda peer: (peer.is_empty, rank.get(peer.name, PEERS_MAX)))

    def _is_useless(self, peer: Peer) -> bool:
        """Another one may have its place."""
        is_idle = peer.link is Link.OPEN and not peer.asked
        return is_idle and (peer.is_empty or self._block_for(peer) is None)

    def _give_up_slow(self, now: float) -> None:
        """Nothing waits any more: if a slow peer holds up the end, others bring what it was asked for."""
        free = [peer for peer in self._peers.values() if peer.has_room(now) and peer.is_promising]
        if not free:
            return
        fast = min(free, key=lambda peer: peer.turn_s)
        for slow in self._peers.values():
            rest_s = slow.rest_s(now)
            limit_s = max(GIVE_UP_S, GIVE_UP_TIMES * fast.turn_s * len(slow.asked))
            if slow.link is Link.OPEN and rest_s > limit_s and self._can_give(fast, slow.asked):
                self._give_up(slow)
                self._leave(slow, "slow")
                slow.not_before = now + SLOW_REST_S
                while (question := self._next_question(now)) is not None:
                    self._ask(*question, now)
                return

    def _can_give(self, peer: Peer, cids: Iterable[Cid]) -> bool:
        blocks = [self._blocks[cid] for cid in cids]
        return all(
            peer.name not in block.lacked and not block.fetches.isdisjoint(peer.fetches) for block in blocks
        )

    # -- giving up

    def _broke(self, peer: Peer, weight: int, now: float) -> None:
        peer.broke(now, weight=weight)
        if peer.link is Link.OUT:
            self._put_out(peer, until=now + OUT_S)

    def _leave(self, peer: Peer, why: str) -> None:
        peer.closed()
        self._actions.append(Leave(peer.name, why))

    def _give_up(self, peer: Peer) -> None:
        """All that it was asked and did not answer waits again."""
        cids = list(peer.asked)
        peer.asked.clear()
        for cid in cids:
            self._wait(cid)

    def _wait(self, cid: Cid) -> None:
        """Again, and before all that was not asked for yet."""
        block = self._blocks[cid]
        assert not block.is_waiting, f"{cid} waits already"
        block.is_waiting, block.peer = True, None
        if not block.fetches:
            del self._blocks[cid]
            return
        self._again[cid] = None
        self._judge(cid)

    def _put_out(self, peer: Peer, *, until: float) -> None:
        peer.link, peer.out_until = Link.OUT, until
        for cid in [*self._again, *self._waiting]:
            self._judge(cid)

    def _judge(self, cid: Cid) -> None:
        """A block that waits, and that no peer of a fetch can give, is lacking there."""
        block = self._blocks.get(cid)
        if block is None or not block.is_waiting:
            return
        for fetch in list(block.fetches):
            mine = self._fetches[fetch]
            if not any(
                name not in block.lacked and self._peers[name].link is not Link.OUT for name in mine.peers
            ):
                mine.left.discard(cid)
                mine.lacking += 1
                block.fetches.discard(fetch)
                self._drop_if_unwanted(cid)
                self._maybe_end(fetch)

    def _drop_if_unwanted(self, cid: Cid) -> None:
        block = self._blocks.get(cid)
        if block is not None and block.is_waiting and not block.fetches:
            self._again.pop(cid, None)
            self._waiting.pop(cid, None)
            del self._blocks[cid]

    def _maybe_end(self, fetch: int) -> None:
        mine = self._fetches[fetch]
        if (mine.is_complete and not mine.left) or mine.lacking >= LACKING_MAX:
            self._actions.append(Ended(fetch, mine.lacking + len(mine.left)))
            self._end(fetch)

    def _end(self, fetch: int) -> None:
        mine = self._fetches.pop(fetch)
        for cid in mine.left:
            self._blocks[cid].fetches.discard(fetch)
            self._drop_if_unwanted(cid)
        for name in mine.peers:
            self._peers[name].fetches.discard(fetch)

    def _forget_peers(self) -> None:
        """Those that no fetch names, unless they have a stream. Who was out may be asked by later fetches."""
        for name in [
            name
            for name, peer in self._peers.items()
            if not peer.fetches and peer.link in (Link.CLOSED, Link.OUT)
        ]:
            del self._peers[name]

    def __repr__(self) -> str:
        return f"<Fetches {len(self._fetches)}, {len(self._blocks)} blocks, {list(self._peers.values())}>"
