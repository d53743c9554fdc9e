"""The store: one node's durable memory of the ledger, in one SQL database.

Events as they arrived, forks' rivals and proofs, and everything final: checkpoints with their certificates,
the canonical order with its receipts, the rows of the state. Blocking; used by one thread at a time.

Knows bytes and their places. Does not judge: what comes in was verified by `ledger.replica`, and what goes
out is what came in. A full judgement of a copy is `ledger.audit`.

What must always hold:
    what `add` or `commit` returned from is on the disk; what they raised from left no trace
    `finalized` gives the same positions on every node of the network
    an event is in `event` or in `rival`, never in both; of a final one the height is known
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

import msgspec
import sqlalchemy as sa

from ledger import ballot_box, beginning, canonical, merkle, opening, outcomes, pruning, tiles, votes
from ledger import event as events
from ledger.ballot_box import Ballot
from ledger.beginning import Base
from ledger.checkpoint import parse_checkpoint
from ledger.cid import Cid
from ledger.dag import place_of
from ledger.database import Synchronous, connect, corrupt, execute_many, lookup, reading, writing
from ledger.errors import RemoteError, StoreFull
from ledger.event import Event, Header
from ledger.execution import Receipt
from ledger.finality import Last
from ledger.forks import PROOF_SIZE_MAX, ForkProof
from ledger.genesis import Genesis
from ledger.heads import Lane, Place
from ledger.lanes import LaneRecorder, row_of
from ledger.outcomes import Decided
from ledger.proofs import Step
from ledger.recorder import SqlRecorder
from ledger.snapshot import Snapshot
from ledger.tables import (
    ANCESTOR,
    CHECKPOINT,
    EVENT,
    FORK_PROOF,
    HEAD,
    OUTCOME,
    RIVAL,
    STATE,
    VALIDATOR_SET,
)
from ledger.votes import Certificate

__all__ = ["Finalized", "Place", "Store"]

RECEIPT_SIZE_MAX: Final = 16 * 1024 * 1024
"""Our own bytes; the bound only keeps a damaged length from asking for all memory."""

IDS_AT_ONCE: Final = 300
"""Ids in one lookup, each asked for up to three times: SQLite allows 999 variables on old builds."""

ROWS_AT_ONCE: Final = 1_000


class Finalized(msgspec.Struct, frozen=True, gc=False):
    """One line of history: an event with its receipt, or (event None) the end of a checkpoint.

    position   1, 2, 3 …, the same on every node: the number of the leaf in the event tree
    index      0, 1 … within its checkpoint;  time  the checkpoint's ledger time T (unix ms)
    """

    position: int
    height: int
    index: int
    time: int
    event_id: Cid | None
    wire: bytes | None
    receipt: Receipt
    net: Cid

    @property
    def event(self) -> Event | None:
        """The event itself, parsed from our own verified bytes."""
        if self.wire is None:
            return None
        return events.parse(self.wire, net=self.net, verify_signature=False)

    @property
    def header(self) -> Header | None:
        """Without the rest of the event, which takes four times as long."""
        if self.wire is None:
            return None
        return events.judged_header(canonical.decode_judged(self.wire)["h"])


class Store:
    def __init__(self, engine: sa.Engine, genesis: Genesis) -> None:
        """Use `create` or `open`."""
        self.engine = engine
        self.genesis = genesis
        self.net = genesis.net
        self._events = LaneRecorder(engine, self.net)
        self._dirty = False
        self._voted = False
        self._recorders: dict[str, SqlRecorder] = {}
        with reading(engine) as connection:
            self.base: Final[Base | None] = beginning.base(connection)

    @classmethod
    def create(cls, url: str, genesis: Genesis, *, synchronous: Synchronous = "FULL") -> Store:
        """A new, empty store. Raises UsageError (`store_exists`, `bad_store_url`, …), StoreFull."""
        engine = connect(url, synchronous=synchronous)
        opening.create(engine, url, genesis)
        return cls(engine, genesis)

    @classmethod
    def begin(
        cls, url: str, genesis: Genesis, snapshot: Snapshot, *, synchronous: Synchronous = "FULL"
    ) -> Store:
        """A new store that knows the state after one final checkpoint and nothing of what led to it.

        All or nothing. Raises as `create` does.
        """
        engine = connect(url, synchronous=synchronous)
        opening.create(engine, url, genesis, then=lambda connection: beginning.write(connection, snapshot))
        return cls(engine, genesis)

    @classmethod
    def open(cls, url: str, net: Cid | None = None, *, synchronous: Synchronous = "FULL") -> Store:
        """An existing store, after quick checks. `net` None: whatever network it is of.

        Raises UsageError (`no_store`, `other_network`, `store_version`), StoreCorrupt.
        """
        engine = connect(url, synchronous=synchronous)
        return cls(engine, opening.check(engine, url, net))

    def close(self) -> None:
        """Note that all is in order, and let go of the database.

        Without room for the note the store only stays marked as in use, and the next start looks closer.
        """
        if self._dirty:
            with contextlib.suppress(StoreFull), writing(self.engine) as connection:
                opening.mark(connection, clean=True)
            self._dirty = False
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- events ---------------------------------------------------------------------------------------------

    def add(self, new: Sequence[Event], *, rivals: Sequence[Event] = ()) -> None:
        """Make events durable: one transaction, on the disk on return.

        `new` extend their lanes (each the next seq); `rivals` are at a place that is taken, or follow such a
        one. Nothing may be here already. Raises StoreFull; AssertionError when the caller got places wrong.
        """
        if not new and not rivals:
            return
        try:
            with self._writing() as connection:
                self._events.insert(connection, new)
                execute_many(connection, _ADD_RIVALS, [row_of(event) for event in rivals])
        except sa.exc.IntegrityError as error:
            raise AssertionError(
                f"an event is stored already, or its place is taken: {error.orig}"
            ) from error
        self._events.notify()

    def add_ancestors(self, old: Sequence[Event]) -> None:
        """Make events durable that were ordered at or below the snapshot, because later ones name them."""
        if old:
            with self._writing() as connection:
                execute_many(connection, _ADD_ANCESTORS, [row_of(event) for event in old])

    def ordered_below(self, ids: Iterable[Cid]) -> set[Cid]:
        """Those that were ordered at or below the snapshot that this store began from."""
        leaves = {merkle.leaf_hash(id): id for id in ids} if self.base is not None else {}
        if not leaves:
            return set()
        with reading(self.engine) as connection:
            return {leaves[leaf] for leaf in tiles.held(connection, leaves)}

    def ancestors_at(self, by: bytes, lane: int, seq: int) -> list[bytes]:
        """Wires, without bodies, of those kept at this place: one of the lane, or a rival of it as well."""
        query = sa.select(ANCESTOR.c.wire).where(
            ANCESTOR.c.by == by, ANCESTOR.c.lane == lane, ANCESTOR.c.seq == seq
        )
        with reading(self.engine) as connection:
            return list(connection.execute(query).scalars())

    def rival_lanes(self) -> set[Lane]:
        """The lanes that have rivals here."""
        with reading(self.engine) as connection:
            rows = connection.execute(sa.select(RIVAL.c.by, RIVAL.c.lane).distinct())
            return {(row.by, row.lane) for row in rows}

    def closed_below(self) -> set[Lane]:
        """The lanes that had had their last event by the snapshot that this store began from."""
        with reading(self.engine) as connection:
            return beginning.closed(connection)

    def steps_below(self) -> tuple[Step, ...]:
        """How validators came to be those of the epoch in which this store began."""
        with reading(self.engine) as connection:
            return beginning.steps(connection)

    def wires(self, ids: Iterable[Cid]) -> dict[Cid, bytes]:
        """The wire bytes of those that are here, rivals included; without bodies where those were pruned."""
        return {Cid(id): wire for id, wire in self._by_id(ids, "wire", tables=self._everywhere)}

    def places(self, ids: Iterable[Cid]) -> dict[Cid, Place]:
        """The places of those that are here, rivals included."""
        return {
            Cid(id): Place(by, lane, seq, lc, ts)
            for id, by, lane, seq, lc, ts in self._by_id(
                ids, "by", "lane", "seq", "lc", "ts", tables=self._everywhere
            )
        }

    def require_places(self, places: Mapping[Cid, Place]) -> None:
        """Compare places with the bytes of those events that are here.

        Places are kept beside the bytes, and no hash protects them. Raises StoreCorrupt: so that nobody is
        blamed, and nothing of our own is said, for a bit that our disk lost.
        """
        for id, wire in self.wires(places).items():
            try:
                event = events.parse(wire, net=self.genesis.net, verify_signature=False)
            except RemoteError as error:
                raise corrupt(self._name, f"the event {id}: {error}") from error
            if event.id != id or place_of(event) != places[id]:
                raise corrupt(self._name, f"the event {id} stands at {place_of(event)}, not at {places[id]}")

    def heads(self) -> dict[tuple[bytes, int], tuple[int, Cid]]:
        """(device key, lane) -> (seq, id) of its newest event; rivals do not count."""
        with reading(self.engine) as connection:
            return {(row.by, row.lane): (row.seq, Cid(row.id)) for row in connection.execute(sa.select(HEAD))}

    def lane_range(self, by: bytes, lane: int, first: int, last: int, *, bytes_max: int) -> list[bytes]:
        """Wires of seq `first` to `last` of a lane, in order: at least one, then up to `bytes_max`.

        None when the first is not here, which only a store that began from a snapshot lacks.
        """
        query = (
            sa.select(EVENT.c.seq, EVENT.c.wire)
            .where(EVENT.c.by == by, EVENT.c.lane == lane, EVENT.c.seq.between(first, last))
            .order_by(EVENT.c.seq)
        )
        wires: list[bytes] = []
        size = 0
        with reading(self.engine) as connection:
            for seq, wire in connection.execution_options(yield_per=64).execute(query):
                size += len(wire)
                if (wires and size > bytes_max) or seq != first + len(wires):
                    break
                wires.append(wire)
        return wires

    def unordered(self) -> list[bytes]:
        """Wires of all events that no checkpoint has, rivals included."""
        query = sa.union_all(
            *(sa.select(table.c.wire).where(table.c.height.is_(None)) for table in (EVENT, RIVAL))
        )
        with reading(self.engine) as connection:
            return list(connection.execute(query).scalars())

    def event_status(self, id: Cid) -> int | None:
        """The height at which the event became final; None when it is not, or is not here."""
        return next((height for _, height in self._by_id([id], "height")), None)

    def add_fork_proof(self, proof: ForkProof) -> None:
        """Keep the evidence. One proof for each pair of events is enough: a second one is dropped."""
        one, other = map(bytes, proof.ids)
        known = sa.select(sa.func.count()).where(FORK_PROOF.c.one == one, FORK_PROOF.c.other == other)
        with self._writing() as connection:
            if not connection.execute(known).scalar():
                connection.execute(FORK_PROOF.insert(), {"one": one, "other": other, "proof": proof.encode()})

    def fork_proofs(self) -> list[ForkProof]:
        """All proofs, sorted by the events they are about. Raises StoreCorrupt."""
        query = sa.select(FORK_PROOF.c.proof).order_by(FORK_PROOF.c.one, FORK_PROOF.c.other)
        with reading(self.engine) as connection, self._ours("a fork proof"):
            return [
                canonical.decode_as(ForkProof, proof, size_max=PROOF_SIZE_MAX)
                for proof in connection.execute(query).scalars()
            ]

    # -- what is final --------------------------------------------------------------------------------------

    def commit(self, run: Sequence[Decided], final: Certificate, *, voted: bool = False) -> None:
        """Everything that a run of checkpoints makes final, in one transaction, on the disk on return.

        `final` is the certificate of the last of them. What was voted up to its slot is forgotten, but not,
        when `voted`, that this node ever did.
        """
        with self._writing() as connection:
            for decided in run:
                checkpoint = decided.checkpoint
                is_last = decided is run[-1]
                outcomes.record_checkpoint(connection, decided, final if is_last else None)
                outcomes.record_outcomes(
                    connection, checkpoint, decided.order, (*decided.receipts, decided.close)
                )
                tiles.extend(connection, checkpoint.n - len(decided.order) - 1, checkpoint.n)
                outcomes.change_state(connection, decided.changes)
                outcomes.record_sets(connection, decided.changes)
            opening.put(connection, "frontier", run[-1].frontier)
            ballot_box.forget(connection, final.epoch, final.slot)
            self._note_vote(connection, voted)

    def prune(self, lane: int, before: int) -> int | None:
        """Let go of the bodies of some old final events, see `ledger.pruning`; None when none is left."""
        with self._writing() as connection:
            return pruning.prune(connection, self.net, lane, before)

    @property
    def is_whole(self) -> bool:
        """Whether the whole history is here, with every body."""
        with reading(self.engine) as connection:
            return self.base is None and pruning.is_whole(connection)

    def keep(self, ballots: Sequence[Ballot]) -> None:
        """Make what was said and heard in open slots durable, on the disk on return."""
        if ballots:
            with self._writing() as connection:
                ballot_box.keep(connection, ballots)
                self._note_vote(connection, any(ballot.ours for ballot in ballots))

    @property
    def has_voted(self) -> bool:
        """Whether this node ever cast a vote out of this store."""
        with reading(self.engine) as connection:
            return opening.get(connection, "voted") is not None

    def ballots(self) -> list[Ballot]:
        """All that was kept and not forgotten, in order of epoch and slot."""
        with reading(self.engine) as connection:
            return ballot_box.all_of(connection)

    def checkpoints(self, first_height: int, limit: int) -> list[tuple[bytes, bytes]]:
        """(checkpoint, certificate of its parent) from `first_height` upwards; empty bytes at height 1.

        None when the first is not here, as it is below the snapshot that a store began from.
        """
        if self.base is not None and first_height < self.base.height:
            return []
        query = (
            sa.select(CHECKPOINT.c.checkpoint, CHECKPOINT.c.shown)
            .where(CHECKPOINT.c.height >= first_height)
            .order_by(CHECKPOINT.c.height)
            .limit(limit)
        )
        with reading(self.engine) as connection:
            return [(row.checkpoint, row.shown) for row in connection.execute(query)]

    def run(self, first_height: int, limit: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Links as `checkpoints` gives them, ending at the highest of at most `limit` heights that has a
        finality certificate of its own, and that certificate; nothing when none has.

        Runs that were committed at once are short (`candidates.DEPTH_MAX`), so a limit above that finds one.
        """
        proof = (
            sa.select(CHECKPOINT.c.height, CHECKPOINT.c.final)
            .where(
                CHECKPOINT.c.height >= first_height,
                CHECKPOINT.c.height < first_height + limit,
                CHECKPOINT.c.final.is_not(None),
            )
            .order_by(CHECKPOINT.c.height.desc())
            .limit(1)
        )
        with reading(self.engine) as connection:
            row = connection.execute(proof).one_or_none()
        if row is None or (self.base is not None and first_height < self.base.height):
            return [], b""
        return self.checkpoints(first_height, row.height - first_height + 1), row.final

    def last(self) -> Last | None:
        """The newest final checkpoint and what makes it final. Raises StoreCorrupt."""
        query = sa.select(CHECKPOINT).order_by(CHECKPOINT.c.height.desc()).limit(1)
        with reading(self.engine) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        with self._ours(f"checkpoint {row.height}"):
            return Last(
                parse_checkpoint(row.checkpoint, net=self.net), votes.decode_certificate(row.final or b"")
            )

    def validators(self, epoch: int) -> bytes | None:
        """The set of an epoch, however long ago (`ledger.validators`): the newest that began by then."""
        query = (
            sa.select(VALIDATOR_SET.c.members)
            .where(VALIDATOR_SET.c.epoch <= epoch)
            .order_by(VALIDATOR_SET.c.epoch.desc())
            .limit(1)
        )
        with reading(self.engine) as connection:
            members: bytes | None = connection.execute(query).scalar()
        return members

    def frontier(self) -> bytes:
        """What `commit` was last given; empty before the first."""
        with reading(self.engine) as connection:
            return opening.get(connection, "frontier") or b""

    def state_rows(self) -> Iterator[tuple[str, bytes, bytes]]:
        """(table, key, value) of the whole state after the last checkpoint, sorted."""
        query = sa.select(STATE).order_by(STATE.c.table, STATE.c.key)
        with reading(self.engine) as connection:
            for row in connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query):
                yield row.table, row.key, row.value

    def order(self, height: int) -> list[Cid]:
        """The ids that this checkpoint made final, in canonical order."""
        query = (
            sa.select(OUTCOME.c.event)
            .join(CHECKPOINT, OUTCOME.c.place.between(CHECKPOINT.c.first, CHECKPOINT.c.last))
            .where(CHECKPOINT.c.height == height, OUTCOME.c.event.is_not(None))
            .order_by(OUTCOME.c.place)
        )
        with reading(self.engine) as connection:
            return [Cid(id) for id in connection.execute(query).scalars()]

    def finalized(self, after: int, limit: int) -> list[Finalized]:
        """History behind position `after` (0: from the start), at most `limit` lines. Raises StoreCorrupt."""
        with reading(self.engine) as connection:
            rows = connection.execute(_FINALIZED, {"after": after, "lines": limit}).all()
        receipts = self._receipts([row.receipt for row in rows], after)
        return [
            Finalized(
                place, height, place - first, time, None if id is None else Cid(id), wire, receipt, self.net
            )
            for (place, height, id, _, wire, time, first), receipt in zip(rows, receipts, strict=True)
        ]

    def counts(self) -> dict[str, int]:
        """How much is here: events, rivals, unordered, lanes, fork_proofs, height, positions."""
        queries = {
            "events": sa.func.max(EVENT.c.position),
            "rivals": _count(RIVAL),
            "lanes": _count(HEAD),
            "fork_proofs": _count(FORK_PROOF),
            "height": sa.func.max(CHECKPOINT.c.height),
            "positions": sa.func.max(OUTCOME.c.place),
            "unordered": sum(
                (_count(table, table.c.height.is_(None)) for table in (EVENT, RIVAL)), sa.literal(0)
            ),
        }
        with reading(self.engine) as connection:
            found = {
                name: connection.execute(sa.select(query)).scalar() or 0 for name, query in queries.items()
            }
        if self.base is not None:
            found["positions"] = max(found["positions"], self.base.n)
        return found

    def recorder(self, prefix: str) -> SqlRecorder:
        """Aggregates of the node's own (never consensus) in the same database; one object for each prefix."""
        if prefix not in self._recorders:
            self._recorders[prefix] = SqlRecorder(self.engine, prefix)
        return self._recorders[prefix]

    @property
    def events(self) -> LaneRecorder:
        """The signed events through eventsourcing's recorder interface."""
        return self._events

    def __repr__(self) -> str:
        return f"<Store {self.genesis.name!r} {self._name}>"

    @property
    def _name(self) -> str:
        return self.engine.url.render_as_string(hide_password=True)

    # -------------------------------------------------------------------------------------------------------

    def _note_vote(self, connection: sa.Connection, voted: bool) -> None:
        if voted and not self._voted:
            opening.put(connection, "voted", b"1")
            self._voted = True

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction; the first one also notes that the store is in use."""
        with writing(self.engine) as connection:
            if not self._dirty:
                opening.mark(connection, clean=False)
            yield connection
        self._dirty = True

    @contextlib.contextmanager
    def _ours(self, what: str) -> Iterator[None]:
        """Bytes that we wrote and cannot read are damage, not somebody's bad input."""
        try:
            yield
        except RemoteError as error:
            raise corrupt(self._name, f"{what}: {error}") from error

    @property
    def _everywhere(self) -> tuple[sa.Table, ...]:
        return _LIVE if self.base is None else (*_LIVE, ANCESTOR)

    def _by_id(
        self, ids: Iterable[Cid], *columns: str, tables: Sequence[sa.Table] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """(id, *columns) of those that are here, whether in `event` or in `rival` (or in these tables)."""
        among = tables or _LIVE
        wanted = [bytes(id) for id in dict.fromkeys(ids)]
        with reading(self.engine) as connection:
            for start in range(0, len(wanted), IDS_AT_ONCE):
                some = wanted[start : start + IDS_AT_ONCE]
                query = lookup(connection.dialect, among, ("id", *columns), len(some))
                yield from connection.exec_driver_sql(query, tuple(some) * len(among))

    def _receipts(self, receipts: Sequence[bytes], after: int) -> list[Receipt]:
        """Those behind position `after`, decoded. Raises StoreCorrupt, which says at which position."""
        with contextlib.suppress(RemoteError):
            return canonical.decode_all_own(Receipt, receipts, size_max=RECEIPT_SIZE_MAX)
        found: list[Receipt] = []
        for place, receipt in enumerate(receipts, after + 1):
            with self._ours(f"the receipt at position {place}"):
                found.append(canonical.decode_own(Receipt, receipt, size_max=RECEIPT_SIZE_MAX))
        return found


def _count(table: sa.Table, *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    return sa.select(sa.func.count()).select_from(table).where(*where).scalar_subquery()


def _lines() -> sa.Select[tuple[Any, ...]]:
    """At most `lines` of history behind position `after`, as `Store.finalized` takes them.

    Without a subquery for the span, which SQLite would write down first and sort again after the joins.
    """
    wire = sa.func.coalesce(EVENT.c.wire, RIVAL.c.wire).label("wire")
    return (
        sa.select(OUTCOME, wire, CHECKPOINT.c.time, CHECKPOINT.c.first)
        .join(CHECKPOINT, CHECKPOINT.c.height == OUTCOME.c.height)
        .outerjoin(EVENT, EVENT.c.id == OUTCOME.c.event)
        .outerjoin(RIVAL, RIVAL.c.id == OUTCOME.c.event)
        .where(OUTCOME.c.place > sa.bindparam("after"))
        .order_by(OUTCOME.c.place)
        .limit(sa.bindparam("lines"))
    )


_FINALIZED: Final = _lines()
_LIVE: Final = (EVENT, RIVAL)
_ADD_RIVALS: Final = RIVAL.insert()
_ADD_ANCESTORS: Final = ANCESTOR.insert()
