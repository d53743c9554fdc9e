"""Where our own lane ends, as others know it: learnt after a start, before anything new is said on it.

A disk that was put back from a copy, or lost, lacks what we said since. Whoever goes on from it says
something else at a place that is taken, and the lane is closed for good. So a node that starts listens to its
first sessions of sync: one that ended whole has brought all that this peer holds of our lane.

    everybody who may be there ended whole      go on
    two ended whole, nothing of our lane came   go on: one of them may lag or lie
    LISTEN_S are over                           go on from what came, or from the disk when nobody was there
    then still, if our lane came                the disk is older than our word: hear the others out as well
    then still, if its last event is only named whoever comes may have it: wait for it just as long
    then still, if the disk was empty           without a single answer nothing is said

Who may be there: whoever is connected, the validators, and whoever has a lane in our store. Who failed once
is asked once more before it counts as absent. A key that was in use goes on with its lane where others say
that it ends; what nobody else had was never said (decision 042).

Who holds nothing itself has no news of our lane, and is no answer:

    our lane came, or is named                  never
    the disk was empty                          unless everybody who may be there holds nothing; or, after
                                                LISTEN_S, so many that the network may not have begun
                                                (`Sessions.is_unbegun`); or FINISH_S more are over
    the disk holds something                    it is gone on with after LISTEN_S, answered or not

Knows sessions, links and heads. Does not judge events, and asks nobody itself: `network.sync` does.
`Sessions` and `Heard` wait for nothing: the simulator's nodes come back by them as well.

What must always hold: one peer that lags, lies or is silent decides nothing while others are there; a disk
that others showed to be older than our word is not gone on with before one who holds something was heard to
the end.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from fog.exchange import Exchange
from fog.pulse import Pulse
from fog.replica_thread import ReplicaThread
from ledger.cid import Cid
from ledger.errors import UsageError
from ledger.heads import Head, Lane
from ledger.validators import ValidatorSet
from network.host import Host
from network.identity import peer_of

log = logging.getLogger(__name__)

LISTEN_S: Final = 5.0
"""How long others have to be there. Whoever was connected before dials again within a second or two; a
validator whom others call waits for them."""

FINISH_S: Final = 60.0
"""For sessions that are under way then: they may bring a long history, and a peer may drag them out."""

ENOUGH: Final = 2
"""Whole sessions, if none of them brought anything of our lane."""

JUST_FOUNDED_MS: Final = 10_000
"""Age of a network of which an empty disk tells nothing: its founder has said nothing yet."""


@dataclass(frozen=True)
class Heard:
    """What others told until now; peers by id.

    here    connected;  whole, failed   their last session ended so, failed: twice
    empty   holding nothing, or only what they have of us
    others  keys that may be there
    came    something of our own lane that the disk did not hold
    lacks   our lane's last event, which a snapshot names and nobody gave yet
    is_new  the disk held nothing at all, in a network where others are
    is_unbegun   so many hold nothing that this network may not have begun (`Sessions.is_unbegun`)
    """

    here: frozenset[str]
    whole: frozenset[str]
    failed: frozenset[str]
    others: frozenset[bytes]
    came: bool = False
    lacks: bool = False
    is_new: bool = False
    empty: frozenset[str] = frozenset()
    is_unbegun: bool = False

    def is_enough(self, waited_s: float) -> bool:
        """Whether our lane ends where our store says, as far as anybody can know."""
        told, is_over = self._told(waited_s), waited_s >= LISTEN_S + FINISH_S
        if not is_over:
            if self.lacks:
                return False
            if waited_s < LISTEN_S:
                two = len(told) >= ENOUGH and not self.came
                return two or (bool(told) and self._is_everybody)
            if self.under_way and (self.came or not told):
                return False
        return bool(told) or not (self.came or self.lacks or self.is_new)

    def may_end(self, waited_s: float) -> bool:
        """Whether it may yet be enough within the minute though nobody else comes: a session may end whole,
        or those who hold nothing be believed. Who would speak had better wait so long, and no longer."""
        if waited_s >= LISTEN_S + FINISH_S:
            return False
        return bool(self.under_way or (self.is_new and self.whole and not self.came))

    def _told(self, waited_s: float) -> frozenset[str]:
        """Whose answer counts: who holds nothing is asked in vain where others may hold something."""
        if not (self.came or self.lacks):
            is_nobody_left = self._is_everybody and bool(self.others)
            is_beginning = self.is_unbegun and waited_s >= LISTEN_S and not self.under_way
            if is_nobody_left or is_beginning or waited_s >= LISTEN_S + FINISH_S:
                return self.whole
        return self.whole - self.empty

    @property
    def under_way(self) -> frozenset[str]:
        """Whose sessions have not ended yet."""
        return self.here - self.whole - self.failed

    @property
    def _is_everybody(self) -> bool:
        return self.here <= self.whole and (
            len(self.others) <= len(self.whole) and {peer_of(key) for key in self.others} <= self.whole
        )


class Sessions:
    """How sessions with each peer ended since the start; peers by id."""

    def __init__(self) -> None:
        self._whole: set[str] = set()
        self._empty: set[str] = set()
        self._failed: set[str] = set()
        self._excused: set[str] = set()  # failed once, and are asked once more

    def ended(self, peer: str, code: str, *, is_empty: bool = False) -> bool:
        """Note how one went (`network.sync_io.Sync`); `is_empty`: the peer holds nothing at all. Whether it
        is to be asked again at once: it was cut short, or it failed for the first time."""
        if code in ("equal", "synced"):
            self._whole.add(peer)
            self._failed.discard(peer)
            if is_empty:
                self._empty.add(peer)
            elif code == "synced":  # when equal, it may hold what it has of us
                self._empty.discard(peer)
            return False
        if code == "stalled":
            return True
        is_first = peer not in self._excused
        (self._excused if is_first else self._failed).add(peer)
        return is_first

    def is_whole(self, peer: str) -> bool:
        return peer in self._whole

    def is_unbegun(self, validators: ValidatorSet, device: bytes) -> bool:
        """Whether a network of these may not have begun, as those tell who hold nothing: they are a quorum
        with `device`, and more than a third of the stake without it.

        A network that begins while a third is absent must not wait for it. In one that goes on, all but a
        third would have lost their disks. It is what lets a lost disk vote, too (`ledger.rejoining`).
        """
        weight = validators.weight(key for key in validators.stakes if peer_of(key) in self._empty)
        own = validators.weight([device])
        return validators.is_quorum(weight + own) and 3 * weight > validators.total

    def heard(
        self,
        here: Iterable[str],
        others: Iterable[bytes],
        *,
        came: bool = False,
        lacks: bool = False,
        is_new: bool = False,
        is_unbegun: bool = False,
    ) -> Heard:
        whole, failed, empty = map(frozenset, (self._whole, self._failed, self._empty))
        those = frozenset(here), whole, failed, frozenset(others)
        return Heard(*those, came, lacks, is_new, empty, is_unbegun)


def lanes_of(heads: Mapping[Lane, Head], device: bytes) -> dict[int, Head]:
    """Where the lanes of a device end in a store."""
    return {lane: head for (by, lane), head in heads.items() if by == device}


def others_in(heads: Mapping[Lane, Head], validators: Iterable[bytes], device: bytes) -> set[bytes]:
    """Keys that may be there beside `device`, as far as a store knows."""
    return ({by for by, _ in heads} | set(validators)) - {device}


class OwnHead:
    """Made before sync runs; then `learn` once. `known` may be awaited by any number of tasks."""

    def __init__(self, host: Host, exchange: Exchange, ledger: ReplicaThread, *, has_others: bool) -> None:
        """`has_others`: somebody let us into this network, or founded it with us."""
        self._host = host
        self._sync = exchange.sync
        self._ledger = ledger
        replica = ledger.replica
        self._before = lanes_of(replica.heads, ledger.device)
        self.is_empty = not replica.heads and replica.height == 0
        """The disk holds nothing that anybody said."""
        self._is_new = self.is_empty and has_others
        self._sessions = Sessions()
        self._asked: set[str] = set()  # for the last events of our lanes, where a snapshot only names them
        self._news = Pulse()
        self._told = trio.Event()
        self.is_known = False
        exchange.on_session(self._ended)

    def is_just_founded(self, now: int) -> bool:
        """Whether this disk is empty because nothing was ever said. `now` in unix ms."""
        return self.is_empty and now - self._ledger.replica.genesis.created < JUST_FOUNDED_MS

    async def learn(self, *, unless: trio.Event) -> None:
        """Return when our lane may be gone on with, or `unless` this happens first. If it has to wait for
        somebody to come, it says so."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            nursery.start_soon(_cancel_after, unless, nursery.cancel_scope)
            await self._listen()
            nursery.cancel_scope.cancel()

    async def _listen(self) -> None:
        begun = trio.current_time()
        while True:
            seen = self._news.beat
            heard = await self._look()
            waited_s = trio.current_time() - begun
            if heard.is_enough(waited_s):
                break
            if waited_s >= LISTEN_S and not (heard.may_end(waited_s) or self._told.is_set()):
                log.warning("nobody tells where our lane ends: nothing is said on it until somebody does")
                self._told.set()
            marks = (LISTEN_S, LISTEN_S + FINISH_S, math.inf)
            with trio.move_on_at(begun + next(mark for mark in marks if mark > waited_s)):
                await self._news.after(seen)
        if heard.came:
            log.warning(
                "this disk was older than our word: %d peers told how our lane went on", len(heard.whole)
            )
        elif not heard.whole - heard.empty:
            log.warning("nobody told where our lane ends: going on from what the disk holds")
        self.settle()

    def settle(self) -> None:
        """Go on from what the disk holds."""
        self.is_known = True
        self._told.set()

    async def known(self) -> None:
        """Wait until we may speak. Raises UsageError (`head_unknown`) while nobody is there who can tell."""
        await self._told.wait()
        if not self.is_known:
            raise UsageError(
                "this key may have been in use before, and nobody is there who can tell what it said last",
                code="head_unknown",
                next_step="wait until a node that holds the network's events is connected, and try again",
            )

    # -- what sync and links tell ------------------------------------------------------------------------

    def _ended(self, peer: str, code: str) -> None:
        """A session with a peer."""
        if self.is_known:  # peers come and go for as long as the node lives
            return
        again = self._sessions.ended(peer, code, is_empty=self._sync.is_empty(peer))
        if again:
            if code != "stalled":  # what was wanted of it was not answered
                self._asked.discard(peer)
            self._sync.need((), peer)
        self._news.advance()

    async def _watch(self) -> None:
        links = self._host.watch_links()
        try:
            async for _ in links:
                self._news.advance()
        finally:
            links.close()

    async def _look(self) -> Heard:
        here = frozenset(link.peer for link in self._host.peers())
        heads, lacking = await self._ledger.call(self._stand)
        for peer in here - self._asked if lacking else ():
            self._asked.add(peer)
            self._sync.need(lacking, peer)
        device, validators = self._ledger.device, self._ledger.replica.validators
        return self._sessions.heard(
            here,
            others_in(heads, validators.stakes, device),
            came=lanes_of(heads, device) != self._before,
            lacks=bool(lacking),
            is_new=self._is_new,
            is_unbegun=self._sessions.is_unbegun(validators, device),
        )

    def _stand(self) -> tuple[dict[Lane, Head], list[Cid]]:
        """In the replica's thread."""
        return self._ledger.replica.heads, self._ledger.replica.heads_lacking()

    def __repr__(self) -> str:
        return f"<OwnHead known={self.is_known} empty={self.is_empty}>"


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
