"""The store: one node's durable memory of the ledger, in one SQL database.

Events as they arrived, forks' rivals and proofs (`ledger.event_rows`); and here what came of them, everything
final: checkpoints with their certificates, the canonical order with its receipts, the rows of the state.
Blocking; used by one thread at a time.

Knows bytes and their places. Does not judge: what comes in was verified by `ledger.replica`, and what goes
out is what came in. A full judgement of a copy is `ledger.audit`.

What must always hold:
    what `add` or `commit` returned from is on the disk; what they raised from left no trace
    `finalized` gives the same positions on every node of the network
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, Self

import msgspec
import sqlalchemy as sa

from ledger import ballot_box, beginning, canonical, opening, outcomes, pruning, tiles, votes
from ledger import event as events
from ledger.ballot_box import Ballot, Left
from ledger.checkpoint import parse_checkpoint
from ledger.cid import Cid
from ledger.database import Synchronous, connect, corrupt, in_memory, reading, writing
from ledger.errors import RemoteError, StoreFull
from ledger.event import Event
from ledger.event_rows import EventRows
from ledger.execution import Receipt
from ledger.finality import Last
from ledger.genesis import Genesis
from ledger.heads import Lane, Place
from ledger.outcomes import Decided
from ledger.proofs import Step
from ledger.recorder import SqlRecorder
from ledger.snapshot import Snapshot
from ledger.summary import Summary, summary_of
from ledger.tables import (
    CHECKPOINT,
    EVENT,
    FORK_PROOF,
    HEAD,
    OUTCOME,
    RIVAL,
    STATE,
    VALIDATOR_SET,
)
from ledger.types import INT63_MAX
from ledger.votes import Certificate

__all__ = ["Finalized", "Place", "Store"]

RECEIPT_SIZE_MAX: Final = 16 * 1024 * 1024
"""Our own bytes; the bound only keeps a damaged length from asking for all memory."""

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
    def summary(self) -> Summary | None:
        """What people read of the event, in a tenth of the time that the whole takes. Raises RemoteError when
        what is here is no event any more."""
        return None if self.wire is None else summary_of(self.wire)


class Store(EventRows):
    def __init__(self, engine: sa.Engine, genesis: Genesis) -> None:
        """Use `create` or `open`."""
        super().__init__(engine, genesis)
        self._voted = False
        self._recorders: dict[str, SqlRecorder] = {}

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

        All or nothing, though it takes a while: killed half way, there is no store. Raises as `create` does.
        """
        if in_memory(url):
            engine = connect(url, synchronous=synchronous)
            with writing(engine) as connection:
                cls._begin(connection, url, genesis, snapshot, indexed=True)
            return cls(engine, genesis)
        with opening.built(url) as (engine, indexed), writing(engine) as connection:
            cls._begin(connection, url, genesis, snapshot, indexed=indexed)
        return cls(connect(url, synchronous=synchronous), genesis)

    @staticmethod
    def _begin(
        connection: sa.Connection, url: str, genesis: Genesis, snapshot: Snapshot, *, indexed: bool
    ) -> None:
        opening.require_none(connection, url)
        opening.create_tables(connection, genesis, indexed=indexed)
        beginning.write(connection, snapshot)
        if not indexed:
            opening.add_indexes(connection)

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
        self._voted |= voted

    def prune(self, lane: int, before: int) -> int | None:
        """Let go of the bodies of some old final events, see `ledger.pruning`; None when none is left."""
        with self._writing() as connection:
            return pruning.prune(connection, self.net, lane, before)

    @property
    def is_whole(self) -> bool:
        """Whether the whole history is here, with every body."""
        with reading(self.engine) as connection:
            return self.base is None and pruning.is_whole(connection)

    def keep(self, ballots: Sequence[Ballot], *, left: Left | None = None, voted: bool = False) -> None:
        """Make what was said and heard in open slots durable, on the disk on return. `left`: which slots are
        left to others now, where that changed; `voted`: see `has_voted`."""
        with self._writing() as connection:
            ballot_box.keep(connection, ballots)
            if left is not None:
                ballot_box.leave(connection, left)
            self._note_vote(connection, voted)
        self._voted |= voted

    @property
    def has_voted(self) -> bool:
        """Whether this node ever cast a vote out of this store, or its operator answers for what is not here.
        Votes of ours that others told us are no sign of it."""
        with reading(self.engine) as connection:
            return opening.get(connection, "voted") is not None

    def ballots(self) -> list[Ballot]:
        """All that was kept and not forgotten, in order of epoch and slot."""
        with reading(self.engine) as connection:
            return ballot_box.all_of(connection)

    @property
    def left(self) -> Left:
        """Up to where slots are left to others. Raises StoreCorrupt."""
        with reading(self.engine) as connection:
            return ballot_box.left(connection)

    def closed_below(self) -> set[Lane]:
        """The lanes that had had their last event by the snapshot that this store began from."""
        with reading(self.engine) as connection:
            return beginning.closed(connection)

    def steps_below(self) -> tuple[Step, ...]:
        """How validators came to be those of the epoch in which this store began."""
        with reading(self.engine) as connection:
            return beginning.steps(connection)

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
        end = min(first_height + limit, INT63_MAX)  # from any height that strangers may name
        proof = (
            sa.select(CHECKPOINT.c.height, CHECKPOINT.c.final)
            .where(
                CHECKPOINT.c.height >= first_height,
                CHECKPOINT.c.height < end,
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
            query = _history(connection.dialect)
            rows = connection.exec_driver_sql(query, (after, limit)).all()
        self._require_bytes(rows)
        receipts = self._receipts([row[3] for row in rows], after)
        net = self.net
        return [
            Finalized(place, height, place - first, time, None if id is None else Cid(id), wire, receipt, net)
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

    def __repr__(self) -> str:
        return f"<Store {self.genesis.name!r} {self._name}>"

    # -------------------------------------------------------------------------------------------------------

    def _note_vote(self, connection: sa.Connection, voted: bool) -> None:
        if voted and not self._voted:
            opening.put(connection, "voted", b"1")

    def _require_bytes(self, rows: Sequence[Any]) -> None:
        """A damaged file may have something else in their place."""
        for column, allowed in ((2, _BYTES_OR_NULL), (3, _BYTES), (4, _BYTES_OR_NULL)):
            if not allowed.issuperset(map(type, map(itemgetter(column), rows))):
                raise corrupt(self._name, "there is something else where bytes were written")

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


def _history(dialect: sa.Dialect) -> str:
    """At most so many lines of history behind a position, as `Store.finalized` takes them, as driver's text.

    Without a subquery for the span, which SQLite would write down first and sort again after the joins.
    """
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    return f"""
        SELECT o.place, o.height, o.event, o.receipt, coalesce(e.wire, r.wire), c.time, c.first
        FROM outcome o
        JOIN checkpoint c ON c.height = o.height
        LEFT JOIN event e ON e.id = o.event
        LEFT JOIN rival r ON r.id = o.event
        WHERE o.place > {mark} ORDER BY o.place LIMIT {mark}
    """


_BYTES: Final = frozenset((bytes,))
_BYTES_OR_NULL: Final = frozenset((bytes, type(None)))
