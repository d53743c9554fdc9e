"""The replica: one node's copy of the ledger, and the only way to change it.

    ingest    bytes from peers -> events that stand, stored
    append    a statement of our own -> a signed event, stored
    hear      a vote, certificate or proposal -> what we say to it, stored
    step      time -> what we say of our own, stored
    apply     a run of checkpoints that a quorum made final -> executed here, compared, stored

Blocking; safe to call from several threads, one at a time is served. Puts the parts together
(`ledger.admission`, `authorship`, `voting`) and is the only one that writes to the store. What only reads is
in `standing`; how memory follows the store, in `memory`.

What must always hold:
    nothing is returned to be sent that is not on the disk
    memory is what reopening the store would give: after a write that failed it is rebuilt from the store
    a checkpoint is kept only if executing it here gave the same roots; if not, `Diverged`, and no more steps
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ledger import finality
from ledger.admission import INGEST_MAX, Batch
from ledger.authorship import next_event
from ledger.candidates import Candidate
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.cut import CLOSED, lane_key
from ledger.errors import RemoteError, UsageError
from ledger.event import LANE_LEDGER, Event
from ledger.execution import Rules
from ledger.finality import Diverged
from ledger.memory import Memory
from ledger.outcomes import Decided
from ledger.reactions import Applied, Ingested, Missing, Reaction
from ledger.runs import Unchecked, check_chain, segments
from ledger.signing import SigningKey
from ledger.simplex import Voter
from ledger.state import State
from ledger.store import Store
from ledger.validators import validators_of
from ledger.votes import Certificate


class Replica(Memory):
    @classmethod
    def open(
        cls,
        store: Store,
        rules: Rules,
        key: SigningKey | None,
        *,
        validator: bool,
        interval_ms: int = 0,
        voter: Callable[..., Voter] = Voter,
        state: State | None = None,
    ) -> Replica:
        """Rebuild everything from the store. `key` None: a replica that only reads.

        `state`, if it is at hand and has the root of the last checkpoint, spares reading it.

        `validator`: vote in every epoch whose set holds our key. `interval_ms`: at least so long between
        proposals. `voter` makes the voters; the simulator puts liars there. Raises StoreCorrupt when the
        state is not the one that the last checkpoint names; UsageError (`no_key`) when it is to validate and
        cannot.
        """
        if validator and key is None:
            raise UsageError("a validator needs its key", code="no_key", next_step="open with a key")
        return cls(store, rules, key, validator=validator, interval_ms=interval_ms, voter=voter, state=state)

    def pace(self, interval_ms: int) -> None:
        """At least so long between proposals of ours from now on."""
        self._interval_ms = interval_ms
        self._voting.pace(interval_ms)

    # -- events ---------------------------------------------------------------------------------------------

    def prune(self, lane: int, before: int) -> int | None:
        """Let go of bodies of final events of this lane number from before that ledger time (unix ms), a few
        checkpoints at a time. How many; None when none is left. Raises StoreFull."""
        with self._serving(), self._writing():
            return self.store.prune(lane, before)

    def ingest(self, wires: Sequence[bytes], *, peer: str, now: int, asked: bool = False) -> Ingested:
        """Take events from a peer, in any order; durable on return. `now` in unix ms.

        One that was `asked` for may come without its body: who has none says what it has. What breaks a rule
        is in `rejected`. Raises StoreFull, and UsageError (`batch_too_large`).
        """
        if len(wires) > INGEST_MAX:
            raise UsageError(
                f"{len(wires)} events at once", code="batch_too_large", next_step=f"at most {INGEST_MAX}"
            )
        with self._serving(), self._writing():
            batch = self._admission.take(wires, peer=peer, now=now, asked=asked)
            self._store_batch(batch)
            forks, warrants = self._found.take()
            return Ingested(
                admitted=batch.admitted,
                pending=sum(event.id in self._admission.pending for event in batch.waiting),
                missing=self._to_fetch(batch),
                rejected=batch.rejected,
                forks=forks + batch.forks + batch.unkept,
                unkept=len(batch.unkept),
                unjudged=batch.unjudged,
                warrants=warrants + batch.warrants,
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
        [event] = self.append_all([(kind, version, body)], now=now, lane=lane, exp=exp, acct=acct)
        return event

    def append_all(
        self,
        statements: Iterable[tuple[str, int, Any]],
        *,
        now: int,
        lane: int = LANE_LEDGER,
        exp: int | None = None,
        acct: bytes | None = None,
    ) -> list[Event]:
        """`append` for each (kind, version, body), in this order: all of them or none."""
        with self._serving(), self._writing():
            if self._key is None:
                raise UsageError("this replica has no key", code="read_only", next_step="open it with a key")
            if self.state.get(CLOSED, lane_key(self._key.public, lane)) is not None:
                raise UsageError(
                    f"lane {lane} of {self._key.public.hex()} is closed: somebody proved that it forked",
                    code="lane_closed",
                    next_step="go on with a new device key",
                )
            batch, ours = Batch(), []
            for kind, version, body in statements:
                event = next_event(
                    self._admission, self._key, kind, version, body, now=now, lane=lane, exp=exp, acct=acct
                )
                self._admission.stand(event, batch)
                ours.append(event)
            assert batch.chain == ours, "our own event does not continue our own lane"
            self._store_batch(batch)
            return ours

    def _store_batch(self, batch: Batch) -> None:
        # Evidence first: a proof without its rival is still a proof, a rival without a proof is forgotten.
        self.store.add_fork_proofs(batch.forks)
        self.store.add_ancestors(batch.ancestors)
        self.store.add(batch.chain, rivals=batch.rivals)
        self._admission.stored()
        if batch.admitted:
            self._admission.counts["admitted"] += len(batch.admitted)
            self._tentative = None
            self._digest = None

    def _to_fetch(self, batch: Batch) -> list[Cid]:
        """What this call left waiting waits for, without what waits here itself."""
        pending = self._admission.pending
        return pending.lacking(event.id for event in batch.waiting if event.id in pending)

    # -- finality -------------------------------------------------------------------------------------------

    def hear(self, message: bytes, *, now: int, is_live: bool = True) -> Reaction:
        """A vote, certificate or proposal of another node (`ledger.votes`); durable on return. `now` in unix
        ms; `is_live` unless it was asked for, and so may be old.

        Raises RemoteError for one that breaks a rule; Diverged (ours: stop); StoreFull.
        """
        [verdict], reaction = self.hear_all([message], now=now, is_live=is_live)
        if isinstance(verdict, RemoteError):
            raise verdict
        return reaction

    def hear_all(
        self, messages: Sequence[bytes], *, now: int, sources: Sequence[str] = (), is_live: bool = True
    ) -> tuple[list[bool | RemoteError | None], Reaction]:
        """`hear` for many at once, made durable together. For each what is wrong, or whether it was news;
        None if it was not looked at whole. `sources` says of each whose it is, else all are one peer's. After
        a wrong one nothing more of that peer is looked at: that somebody did not sign a vote is found by our
        own slow check, so whoever sends one has had its turn.
        """
        verdicts: list[bool | RemoteError | None] = []
        wrong: set[str] = set()
        with self._serving(), self._voting_writes():
            for message, source in zip(messages, sources or [""] * len(messages), strict=True):
                try:
                    is_news = None if source in wrong else self._voting.hear(message, now, is_live=is_live)
                    verdicts.append(is_news)
                except RemoteError as error:
                    verdicts.append(error)
                    wrong.add(source)
            if True in verdicts and not is_live:
                self._voting.ask_on()
            self._drive(now)
            return verdicts, self._reaction(now, is_new=True in verdicts)

    def step(self, now: int) -> Reaction:
        """Do what there is to do: propose, vote, stop waiting for a leader, say it again. Durable on return.

        To be called when events arrived, and at the latest at `Reaction.next`. Raises Diverged, StoreFull.
        """
        with self._serving(), self._voting_writes():
            self._drive(now)
            return self._reaction(now, is_new=False)

    def rejoin(self, answers: Mapping[bytes, Sequence[bytes]], *, now: int) -> bool:
        """After a start, before the first vote: what other nodes (by key) hold of open slots (`ballots`).

        False: those who answered are too few yet, or they are epochs ahead. Harmless for who is no validator.
        What was learnt is durable on return. Raises StoreFull.
        """
        with self._serving(), self._voting_writes():
            return self._voting.rejoin(answers, now)

    def forget_votes(self) -> None:
        """Vote in slots again that `abstains` leaves to others. Only an operator can know that this is safe:
        see `Voting.forget`. Durable on return. Raises UsageError (`not_abstaining`, `votes_not_asked`),
        StoreFull."""
        with self._serving():
            if not self.abstains:
                raise UsageError(
                    "this validator leaves no slot to others",
                    code="not_abstaining",
                    next_step="fog status",
                )
            if self._voting.is_silent and not self._voting.was_answered:
                raise UsageError(
                    "too few validators have said yet what they hold of this one's votes",
                    code="votes_not_asked",
                    next_step="wait until more than two thirds of the stake are here, this node included",
                )
            with self._voting_writes():
                self._voting.forget()

    def ballots(self, epoch: int, slot: int) -> list[bytes]:
        """What is known here of open slots from (epoch, slot) on, for `hear` and `rejoin` of another node."""
        with self._serving():
            return self._voting.ballots(epoch, slot)

    def apply(self, links: Sequence[tuple[bytes, bytes]], final: bytes, now: int) -> Applied | Missing:
        """Execute a run of (checkpoint, certificate of its parent) here, if `final` makes the last of them
        final, and keep it if it gives the same roots. Durable on return.

        In height order; again is harmless. `Missing` says what to fetch before calling again. Raises
        RemoteError for what no quorum stands behind; Diverged (ours: stop) when a quorum stands behind what
        this node finds wrong; StoreFull.
        """
        with self._serving():
            before = self.height
            parsed = [finality.parse_link(*link, net=self.net) for link in links]
            check_chain([checkpoint for checkpoint, _ in parsed], self._epoch_length)
            for run, proof in segments(parsed, final, self._epoch_length):
                if run[-1][0].height <= self.height:
                    self._apply_old(run[-1][0], proof)
                    continue
                if run[0][0].height > self.height + 1:
                    return Missing((), after=self.height)
                missing = self._apply_run(run, proof, now)
                if missing is not None:
                    return missing
            return Applied(self.height, new=self.height > before)

    def _apply_old(self, last: Checkpoint, proof: bytes) -> None:
        """Raises Diverged when a quorum made another checkpoint of this height final."""
        kept = self.store.checkpoints(last.height, 1)
        if kept and last.encode() != kept[0][0]:
            judges = validators_of(self.state, last.epoch)
            certificate = finality.check_final(last, proof, judges)
            raise self._diverge(
                Diverged(f"a quorum finalised two checkpoints at height {last.height}", last, certificate)
            )

    def _apply_run(self, run: Sequence[Unchecked], proof: bytes, now: int) -> Missing | None:
        fresh = [link for link in run if link[0].height > self.height]
        last = fresh[-1][0]
        certificate = finality.check_final(last, proof, validators_of(self.state, last.epoch))
        # From here on a quorum has signed it. What is wrong now is not a peer's mistake.
        candidate: Candidate | None = None
        for checkpoint, shown in fresh:
            missing = self._lacking(checkpoint.tips, now)
            if missing:
                return Missing(tuple(missing), after=self.height)
            try:
                candidate = self._voting.judging.execute_link(checkpoint, shown)
            except RemoteError as error:
                raise self._diverge(
                    Diverged(f"a quorum finalised: {error}", checkpoint, certificate)
                ) from error
            assert candidate is not None, "what was there is missing"
        assert candidate is not None
        with self._voting_writes():
            self._voting.finish(candidate, certificate, self._commit)
        return None

    def _drive(self, now: int) -> None:
        try:
            self._voting.drive(now, self._commit)
        except Diverged as diverged:
            raise self._diverge(diverged) from diverged.__cause__

    def _reaction(self, now: int, *, is_new: bool) -> Reaction:
        """What came of it; what is to be sent is on the disk when the caller's block ends."""
        voting = self._voting
        ordered, proposed = voting.judging.take_missing()
        missing = self._lacking(ordered, now) if ordered else []
        if proposed:
            missing += self._admission.make_room(proposed, (voting.voter.epoch, voting.voter.slot))
        forks, warrants = self._found.take()
        reaction = Reaction(
            send=voting.to_send,
            is_new=is_new,
            final=self._moved,
            missing=tuple(dict.fromkeys(missing)),
            ask_votes=voting.asks,
            is_behind=voting.is_behind,
            faults=voting.faults,
            forks=forks,
            warrants=warrants,
            next=voting.next(now),
        )
        voting.to_send, voting.faults = [], []
        voting.asks, voting.is_behind, self._moved = None, False, False
        return reaction

    def _lacking(self, tips: Sequence[Cid], now: int) -> list[Cid]:
        """Events to fetch before the cut at these tips is whole."""
        missing = self._admission.missing(tips)
        if missing:
            with self._writing():
                batch = self._admission.demand(missing, now=now)
                self._store_batch(batch)
            self._found.keep(batch.forks + batch.unkept, batch.warrants)
            missing = self._admission.missing(missing)
        return self._admission.pending.lacking(missing)

    def _commit(self, run: Sequence[Candidate], final: Certificate) -> None:
        """Make a run of checkpoints with its certificates durable, then move memory on."""
        self.store.commit([_decided(one) for one in run], final, voted=self._voting.has_voted)
        for candidate in run:
            self._admission.ordered(candidate.cut.order)
        self._tentative = None
        self._moved = True

    def tentative(self) -> State:
        """Final state with what stands executed on top: what the next cut would give, before its close.

        For people to look at. Nothing is ever spent on it.
        """
        with self._serving():
            if self._tentative is None:
                last = self.last
                self._tentative = self._voting.candidates.tentative(None if last is None else last.final)
            return self._tentative

    def __repr__(self) -> str:
        role = "validator" if self._voting.is_validator else "follower"
        return f"<Replica {role} height={self.height} unordered={len(self._admission.unordered)}>"


def _decided(candidate: Candidate) -> Decided:
    outcome = candidate.outcome
    return Decided(
        candidate.checkpoint,
        candidate.shown,
        candidate.cut.order,
        outcome.receipts,
        outcome.close_receipt,
        outcome.changes,
        outcome.frontier.encode(),
    )
