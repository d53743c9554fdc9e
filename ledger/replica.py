"""The replica: one node's copy of the ledger, and the only way to change it.

    ingest    bytes from peers -> events that stand, stored
    append    a statement of our own -> a signed event, stored
    propose   (validator) what stands -> a final checkpoint, stored
    apply     (everybody) a certified checkpoint -> executed here, compared, stored

Blocking; safe to call from several threads, one at a time is served. Puts the parts together
(`ledger.admission`, `authorship`, `order`, `cut`, `finality`) and is the only one that writes to the store.

What must always hold:
    nothing is returned to be sent that is not on the disk
    memory is what reopening the store would give: after a write that failed it is rebuilt from the store
    a checkpoint is kept only if executing it here gave the same roots; if not, `Diverged`, and no more steps
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from ledger import checkpoint as checkpoints
from ledger import heads
from ledger.admission import INGEST_MAX, Admission, Batch
from ledger.authorship import next_event
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.cut import Outcome, differences, execute_cut, execute_events
from ledger.errors import RemoteError, UsageError
from ledger.event import LANE_LEDGER, Event
from ledger.execution import Rules
from ledger.finality import (
    Claim,
    Commit,
    Diverged,
    Execute,
    Finality,
    Follower,
    Link,
    Proposal,
    SoleVoter,
    follows,
    next_context,
)
from ledger.forks import ForkProof
from ledger.heads import Head, Lane
from ledger.holdings import Holdings
from ledger.item_set import ItemSet
from ledger.merkle import Frontier
from ledger.order import Cut, choose, cut_at
from ledger.restart import frontier_after, state_after
from ledger.signing import SigningKey
from ledger.state import State
from ledger.store import Store

HEARTBEAT_MS: Final = 60_000
"""A checkpoint at least this often, so that ledger time moves when nobody says anything."""

DUE_AGAIN_MS: Final = 1_000
"""When a close left work that was due, the next empty checkpoint comes no sooner than this."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the bytes of one call.

    admitted  stand now, parents first (some may have waited since earlier calls)
    pending   how many of this call wait;  missing  ids to fetch so that they can stand
    rejected  (code, message): broken rules, to be held against the peer
    forks     proofs of forks that this call brought to light
    """

    admitted: list[Event]
    pending: int
    missing: list[Cid]
    rejected: list[tuple[str, str]]
    forks: list[ForkProof]


@dataclass(frozen=True, slots=True)
class Applied:
    """The checkpoint is final here. `new` is False when it was already."""

    height: int
    new: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """Not yet: fetch `ids` (events), or the checkpoints after height `after` when there are none."""

    ids: tuple[Cid, ...]
    after: int


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


class Replica:
    _admission: Admission
    _finality: Finality
    _frontier: Frontier
    _state: State
    _tentative: State | None  # until something stands or becomes final
    _digest: bytes | None  # of the heads, until one moves
    _holdings: Holdings

    def __init__(self, store: Store, rules: Rules, key: SigningKey | None, *, validator: bool) -> None:
        """Use `open`."""
        self.store = store
        self.genesis = store.genesis
        self.net = store.genesis.net
        self._rules = rules
        self._key = key
        self._validator = validator
        self._turn = threading.RLock()
        self._is_behind = False  # the store may know more than memory: rebuild before anything else
        self._diverged: Diverged | None = None
        self._load()

    @classmethod
    def open(cls, store: Store, rules: Rules, key: SigningKey | None, *, validator: bool) -> Replica:
        """Rebuild everything from the store. `key` None: a replica that only reads.

        Raises StoreCorrupt when the state is not the one that the last checkpoint names; UsageError
        (`not_a_quorum`, `no_key`) when it is to validate and cannot.
        """
        if validator and key is None:
            raise UsageError("a validator needs its key", code="no_key", next_step="open with a key")
        return cls(store, rules, key, validator=validator)

    # -- where it stands ------------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """Of the last final checkpoint; 0 before the first."""
        last = self._finality.last
        return 0 if last is None else last[0].height

    @property
    def last(self) -> Link | None:
        """The last final checkpoint and its certificate: what to publish again after a restart."""
        return self._finality.last

    @property
    def state(self) -> State:
        """Final state, after the last checkpoint."""
        return self._state

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
            last = self._finality.last
            unordered = self._holdings.unordered(self._admission.unordered)
            return None if last is None else last[0].id, unordered

    def missing(self, ids: Sequence[Cid]) -> list[Cid]:
        """Those events that do not stand here (they may be waiting in the pending buffer)."""
        with self._turn:
            return self._admission.missing(ids)

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
                "unordered": len(self._admission.unordered),
                "lanes": len(self._admission.heads),
                "forked_lanes": len(self._admission.forked),
                "height": self.height,
            }

    # -- events ---------------------------------------------------------------------------------------------

    def ingest(self, wires: Sequence[bytes], *, peer: str, now: int) -> Ingested:
        """Take events from a peer, in any order; durable on return. `now` in unix ms.

        What breaks a rule is in `rejected`. Raises StoreFull, and UsageError (`batch_too_large`).
        """
        if len(wires) > INGEST_MAX:
            raise UsageError(
                f"{len(wires)} events at once", code="batch_too_large", next_step=f"at most {INGEST_MAX}"
            )
        with self._serving(), self._writing():
            batch = self._admission.take(wires, peer=peer, now=now)
            self._store_batch(batch)
            return Ingested(
                admitted=batch.admitted,
                pending=sum(event.id in self._admission.pending for event in batch.waiting),
                missing=self._to_fetch(batch),
                rejected=batch.rejected,
                forks=batch.forks,
            )

    def append(
        self,
        kind: str,
        version: int,
        body: Any,
        *,
        now: int,
        lane: int = LANE_LEDGER,
        exp: int | None = None,
        acct: bytes | None = None,
    ) -> Event:
        """Sign a statement on our own lane; durable on return. `body` is a payload struct or its bytes.

        Raises UsageError (`read_only`, `lane_closed`, `body_too_large`, `bad_event`), StoreFull.
        """
        with self._serving(), self._writing():
            if self._key is None:
                raise UsageError("this replica has no key", code="read_only", next_step="open it with a key")
            event = next_event(
                self._admission, self._key, kind, version, body, now=now, lane=lane, exp=exp, acct=acct
            )
            batch = Batch()
            self._admission.stand(event, batch)
            assert batch.chain == [event], "our own event does not continue our own lane"
            self._store_batch(batch)
            return event

    def _store_batch(self, batch: Batch) -> None:
        # Evidence first: a proof without its rival is still a proof, a rival without a proof is forgotten.
        for proof in batch.forks:
            self.store.add_fork_proof(proof)
        self.store.add(batch.chain, rivals=batch.rivals)
        if batch.admitted:
            self._admission.counts["admitted"] += len(batch.admitted)
            self._tentative = None
            self._digest = None

    def _to_fetch(self, batch: Batch) -> list[Cid]:
        """What this call left waiting waits for, without what waits here itself."""
        pending = self._admission.pending
        return pending.lacking(event.id for event in batch.waiting if event.id in pending)

    # -- finality -------------------------------------------------------------------------------------------

    def propose(self, now: int) -> Link | None:
        """As the validator: make what stands final, if there is something to do. Durable on return.

        None when this replica does not validate, or nothing is to be ordered, due or overdue at `now`.
        """
        if not self._validator:
            return None
        with self._serving():
            cut = choose(self._admission.unordered, self._parent)
            if not cut.order and not self._is_time(now):
                return None
            outcome = self._executed(cut)
            proposal = Checkpoint(
                v=1,
                net=self.net,
                tips=cut.tips,
                delta=outcome.delta,
                n=outcome.n,
                eroot=outcome.eroot,
                sroot=outcome.sroot,
                rroot=outcome.rroot,
                **follows(self.genesis, self.last),  # type: ignore[arg-type]
            )
            [action] = self._finality.step(Proposal(proposal, now))
            assert isinstance(action, Commit)
            self._commit((action.checkpoint, action.certificate), cut, outcome)
            return action.checkpoint, action.certificate

    def apply(self, checkpoint: bytes, certificate: bytes, now: int) -> Applied | Missing:
        """Execute a certified checkpoint here and keep it, if it gives the same roots. Durable on return.

        In height order; again is harmless. `Missing` says what to fetch before calling again. Raises
        RemoteError for what no quorum stands behind; Diverged (ours: stop) when a quorum stands behind what
        this node finds wrong; StoreFull.
        """
        with self._serving():
            claim = Claim(checkpoint, certificate)
            height = checkpoints.parse_checkpoint(checkpoint, net=self.net).height
            try:
                if height <= self.height:
                    return self._apply_old(claim, height)
                if height > self.height + 1:
                    return Missing((), after=self.height)
                return self._apply_next(claim, now)
            except Diverged as diverged:
                self._diverged = diverged
                raise

    def _apply_old(self, claim: Claim, height: int) -> Applied:
        [(ours, _)] = self.store.checkpoints(height, 1)
        self._finality.judge_old(claim, checkpoints.parse_checkpoint(ours, net=self.net))
        return Applied(height, new=False)

    def _apply_next(self, claim: Claim, now: int) -> Applied | Missing:
        [action] = self._finality.step(claim)
        assert isinstance(action, Execute)
        missing = self._lacking(action.checkpoint.tips, now)
        if missing:
            return Missing(tuple(missing), after=self.height)
        try:
            cut = cut_at(action.checkpoint.tips, self._admission.unordered, self._parent)
        except RemoteError as error:
            raise Diverged(f"a quorum finalised: {error}", action.checkpoint, action.certificate) from error
        outcome = self._executed(cut)
        wrong = differences(action.checkpoint, outcome)
        if wrong:
            raise Diverged(
                f"at height {action.checkpoint.height} a quorum has another {', '.join(wrong)} than we do, "
                f"after {len(cut.order)} events on {self._parent}",
                action.checkpoint,
                action.certificate,
            )
        self._commit((action.checkpoint, action.certificate), cut, outcome)
        return Applied(action.checkpoint.height, new=True)

    def _lacking(self, tips: Sequence[Cid], now: int) -> list[Cid]:
        """Events to fetch before the cut at these tips is whole."""
        missing = self._admission.missing(tips)
        if missing:
            with self._writing():
                self._store_batch(self._admission.demand(missing, now=now))
            missing = self._admission.missing(missing)
        return self._admission.pending.lacking(missing)

    def tentative(self) -> State:
        """Final state with what stands executed on top: what the next cut would give, before its close.

        For people to look at. Nothing is ever spent on it.
        """
        with self._serving():
            if self._tentative is None:
                cut = choose(self._admission.unordered, self._parent)
                ordered = self._admission.events_of(cut.order)
                context = next_context(self.genesis, self.last)
                self._tentative, _ = execute_events(self._rules, self._state, ordered, context)
            return self._tentative

    @property
    def _parent(self) -> Cid:
        last = self._finality.last
        return self.net if last is None else last[0].id

    def _executed(self, cut: Cut) -> Outcome:
        ordered = self._admission.events_of(cut.order)
        context = next_context(self.genesis, self.last)
        return execute_cut(self._rules, self._state, self._frontier, ordered, context)

    def _is_time(self, now: int) -> bool:
        """Whether an empty checkpoint is worth it: for the first, for what is due, for the heartbeat.

        Ledger time lags by one checkpoint, so what is due takes two: one to move time, one to act on it.
        """
        if self.last is None:
            return True
        checkpoint, certificate = self.last
        idle = now - max(ballot.ts for ballot in certificate.votes)
        due = self._rules.due(self._state)
        if due is None or due > now:
            return idle >= HEARTBEAT_MS
        return due > checkpoint.T or idle >= DUE_AGAIN_MS

    def _commit(self, link: Link, cut: Cut, outcome: Outcome) -> None:
        """Make a checkpoint with its vote and certificate durable, then move memory on."""
        with self._writing():
            self.store.commit(
                *link,
                cut.order,
                outcome.receipts,
                outcome.close_receipt,
                outcome.changes,
                outcome.frontier.encode(),
            )
            self._admission.ordered(cut.order)
            self._finality.advanced(link)
            self._state = outcome.state
            self._frontier = outcome.frontier
            self._tentative = None

    # -- memory and store -----------------------------------------------------------------------------------

    @contextmanager
    def _serving(self) -> Iterator[None]:
        with self._turn:
            if self._diverged is not None:
                raise self._diverged
            if self._is_behind:
                self._load()
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """If the block raises, nobody knows what the store took: the next caller starts from the store."""
        self._is_behind = True
        yield
        self._is_behind = False

    def _load(self) -> None:
        last = self.store.last()
        self._finality = self._voter(last)
        self._frontier = frontier_after(self.store, last)
        self._state = state_after(self.store, self._rules, last)
        self._admission = Admission(self.store)
        self._holdings = Holdings()
        self._tentative = None
        self._digest = None
        self._is_behind = False

    def _voter(self, last: Link | None) -> Finality:
        if not self._validator:
            return Follower(self.genesis, last)
        assert self._key is not None
        return SoleVoter(self.genesis, last, self._key)

    def __repr__(self) -> str:
        role = "validator" if self._validator else "follower"
        return f"<Replica {role} height={self.height} unordered={len(self._admission.unordered)}>"
