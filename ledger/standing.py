"""Where a replica stands: all that can be asked of it and changes nothing.

Safe to call from several threads, one at a time is served. Knows memory (`ledger.admission`, `voting`), and
changes nothing of it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from ledger import heads
from ledger.admission import Admission
from ledger.cid import Cid
from ledger.event import LANES, Event
from ledger.finality import Last
from ledger.heads import Head, Lane
from ledger.holdings import Holdings
from ledger.item_set import ItemSet
from ledger.merkle import Frontier
from ledger.occasion import Standstill
from ledger.signing import SigningKey
from ledger.state import State
from ledger.validators import ValidatorSet
from ledger.voting import Voting


class Hello(NamedTuple):
    """Where this replica stands. Two equal ones have nothing to tell each other.

    `heads` is a digest of those of all lanes that are not forked (of a forked one, two honest replicas may
    have followed different branches for good); `unordered` a fingerprint of the events above the checkpoint.
    """

    net: Cid
    height: int
    checkpoint: Cid | None
    heads: bytes
    unordered: bytes


class Standing:
    """The part of `ledger.replica.Replica` that only reads."""

    net: Cid
    _turn: threading.RLock
    _key: SigningKey | None
    _admission: Admission
    _voting: Voting
    _digest: bytes | None  # of the heads, until one moves
    _holdings: Holdings

    @property
    def height(self) -> int:
        """Of the last final checkpoint; 0 before the first."""
        last = self._voting.last
        return 0 if last is None else last.checkpoint.height

    @property
    def last(self) -> Last | None:
        """The last final checkpoint and the certificate that makes it final."""
        return self._voting.last

    @property
    def state(self) -> State:
        """Final state, after the last checkpoint."""
        return self._voting.candidates.root.state

    def standing(self) -> tuple[Last, State, Frontier] | None:
        """The last final checkpoint, with the state and the event tree after it; None before the first."""
        with self._turn:
            root, last = self._voting.candidates.root, self.last
            return None if last is None else (last, root.state, root.frontier)

    @property
    def validators(self) -> ValidatorSet:
        """Those of the epoch of the next height."""
        return self._voting.voter.validators

    @property
    def is_silent(self) -> bool:
        """Whether this validator waits for `rejoin` before it votes."""
        return self._voting.is_silent

    @property
    def abstains(self) -> bool:
        """Whether this validator leaves the present slot to others: it waits for `rejoin`, or it may have
        voted there before it lost what its disk held."""
        voter = self._voting.voter
        return self._voting.is_validator and voter.slot <= voter.abstains_through

    def standstill(self, now: int) -> Standstill | None:
        """Who is heard, when something is to be made final and nothing becomes final for STANDSTILL_MS."""
        with self._turn:
            return self._voting.standstill(now)

    @property
    def is_validator(self) -> bool:
        """Whether this node has a vote in the present epoch."""
        return self._voting.is_validator

    @property
    def not_final(self) -> int:
        """How many events stand here and wait to become final."""
        return len(self._admission.unordered)

    def waits(self, id: Cid) -> bool:
        """Whether the event stands here and waits to become final."""
        with self._turn:
            return id in self._admission.unordered

    @property
    def heads(self) -> dict[Lane, Head]:
        """A copy of (device key, lane) -> (seq, id)."""
        with self._turn:
            return dict(self._admission.heads)

    def hello(self) -> Hello:
        with self._turn:
            if self._digest is None:
                forked = self._admission.forked
                clear = {lane: head for lane, head in self._admission.heads.items() if lane not in forked}
                self._digest = heads.digest(clear)
            checkpoint, unordered = self.unordered_set()
            return Hello(self.net, self.height, checkpoint, self._digest, unordered.whole)

    def frontier(self) -> ItemSet:
        """The heads of all lanes, to be reconciled."""
        with self._turn:
            return self._holdings.frontier(self._admission.heads)

    def unordered_set(self) -> tuple[Cid | None, ItemSet]:
        """The last checkpoint, and the events above it, to be reconciled with a peer that has it too."""
        with self._turn:
            last = self.last
            unordered = self._holdings.unordered(self._admission.unordered)
            return None if last is None else last.checkpoint.id, unordered

    def missing(self, ids: Sequence[Cid]) -> list[Cid]:
        """Those events that do not stand here (they may be waiting in the pending buffer)."""
        with self._turn:
            return self._admission.missing(ids)

    def heads_lacking(self) -> list[Cid]:
        """The last events of our own lanes, where they are not here: a store that began from a snapshot needs
        them before it can go on."""
        with self._turn:
            lanes = [] if self._key is None else [(self._key.public, lane) for lane in LANES]
            heads = [self._admission.heads[lane][1] for lane in lanes if lane in self._admission.heads]
            return self._admission.missing(heads)

    def unordered(self) -> list[Cid]:
        """Ids of events that stand and have no order yet, oldest arrival first."""
        with self._turn:
            return list(self._admission.unordered)

    def waiting(self, limit: int) -> list[tuple[Event, bool]]:
        """Events that are not final, the newest first, at most `limit`; True for those that stand."""
        with self._turn:
            stand = list(islice(reversed(self._admission.unordered), limit))
            found = [(event, True) for event in self._admission.events_of(stand)]
            early = islice(self._admission.pending.events(), limit - len(found))
            return found + [(event, False) for event in early]

    @property
    def metrics(self) -> dict[str, int]:
        """Counters since the start, and levels, by name."""
        with self._turn:
            pending = self._admission.pending
            return {
                **self._admission.counts,
                **{f"pending.dropped.{why}": count for why, count in pending.dropped.items()},
                "pending": len(pending),
                "pending.bytes": pending.size,
                "pending.peak": pending.peak,
                "pending.of_a_peer": pending.of_a_peer,
                **self._admission.levels,
                "proposals": self._voting.proposals,
                "height": self.height,
            }
