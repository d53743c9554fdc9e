"""The batch runner: the one road from the final order into the read models.

    step      fold the next batch of whole checkpoints into every model, in one transaction
    catch_up  steps until nothing is left
    rebuild   forget every table, then the same steps from genesis; or, in a store that began from a snapshot,
              from the state as it is now, because what led to it is not there

Knows batches, transactions and how far the models are. Does not know what any model folds, and never waits:
it is blocking, and `fog` calls it in one worker thread after every commit of the store.

What must always hold:
    each entry counts exactly once: the tables and the tracking position move in one transaction, and the
    tracking moves first, so a batch that was folded already is refused before it touches a table
    a reader never sees half a checkpoint
    tables that are made anew have no indexes until all there is was folded: quicker than with every row
    the tables equal those of a rebuild, whatever the batches were
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from eventsourcing.persistence import Tracking

from ledger.checkpoint import DELTA_EVENTS_MAX
from ledger.database import reading, writing
from ledger.garbage import seldom_collected
from ledger.store import Store
from ledger.tables import CHECKPOINT, STATE
from projections import balances, escrows, log, prices, reputation, schedules, validators
from projections.model import METADATA, Batch, Entry, ReadModel, Standing, read

MODELS: Final = (
    log.MODEL,
    balances.MODEL,
    escrows.MODEL,
    prices.MODEL,
    schedules.MODEL,
    reputation.MODEL,
    validators.MODEL,
)

VERSION: Final = 7
"""Of the tables and folds together. A store with another version is rebuilt when it is opened."""

BATCH_MAX: Final = 2 * (DELTA_EVENTS_MAX + 1)
"""Entries read at once: always at least one whole checkpoint, at most some MiB."""

GENERATION = sa.Table(
    "rm_generation",
    METADATA,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
)
"""One row. A rebuild begins a generation, tracked from 0 under its own name; old tracking stays behind."""


@dataclass(frozen=True, slots=True)
class Folded:
    """What one step did: whole checkpoints, `first` to `last`, and their entries in final order.

    rest  whether there may be more behind them
    """

    first: int
    last: int
    entries: Sequence[Entry]
    rest: bool


class Runner:
    """Folds a store's final order into `models`. One runner a store, one thread at a time."""

    def __init__(
        self, store: Store, models: Sequence[ReadModel] = MODELS, *, batch_max: int = BATCH_MAX
    ) -> None:
        """Makes the tables. When other code wrote them, empties them for a rebuild by `catch_up`.

        `batch_max` is in entries, at least the largest checkpoint there is.
        """
        self._store = store
        self._models = models
        self._batch_max = batch_max
        self._recorder = store.recorder("projection")
        with writing(store.engine) as conn:
            METADATA.create_all(conn, [GENERATION])
            row = conn.execute(sa.select(GENERATION)).one_or_none()
            self._generation = 0 if row is None else row.generation
            if row is None or row.version != VERSION:
                self._begin_generation(conn)
            self._indexed = bool(sa.inspect(conn).get_indexes(log.EVENT.name))
        self._place()

    @property
    def height(self) -> int:
        """The last checkpoint that the tables hold; 0 is genesis."""
        return self._height

    def step(self) -> Folded | None:
        """Fold the next batch; None when there is none. After an exception nothing has changed."""
        entries, rest = self._next_batch()
        if not entries:
            return None
        batch = Batch(entries)
        with writing(self._store.engine) as conn:
            self._recorder.insert_tracking(Tracking(self._application, entries[-1].position), connection=conn)
            for model in self._models:
                model.fold(conn, batch)
        self._position = entries[-1].position
        self._height = entries[-1].height
        return Folded(entries[0].height, entries[-1].height, entries, rest)

    def catch_up(self) -> int:
        """Fold all there is; the height reached."""
        with seldom_collected():
            while (folded := self.step()) is not None and folded.rest:
                pass
        if not self._indexed:
            self._add_indexes()
        return self._height

    def rebuild(self) -> int:
        """Drop everything and fold it again from genesis; the height reached.

        Between the two a reader sees the past, under the height it really is at.
        """
        with writing(self._store.engine) as conn:
            self._begin_generation(conn)
        self._indexed = False
        self._place()
        return self.catch_up()

    def _next_batch(self) -> tuple[list[Entry], bool]:
        """Entries up to the last close within reach, and whether there may be more."""
        lines = self._store.finalized(self._position, self._batch_max)
        whole = next((n for n in range(len(lines), 0, -1) if lines[n - 1].event_id is None), 0)
        assert whole or not lines, (
            f"no end of a checkpoint within {self._batch_max} entries after {self._position}"
        )
        return read(lines[:whole]), len(lines) == self._batch_max

    def _begin_generation(self, conn: sa.Connection) -> None:
        """Empty tables and what genesis puts there. The tables are made anew, as their columns may differ."""
        METADATA.drop_all(conn, self._tables)
        for table in self._tables:
            conn.execute(sa.schema.CreateTable(table))
        self._generation += 1
        if self._store.base is None:
            for model in self._models:
                if model.seed is not None:
                    model.seed(conn, self._store.genesis)
        else:
            standing = _standing(conn)
            for model in self._models:
                if model.resume is not None:
                    model.resume(conn, standing)
            self._recorder.insert_tracking(Tracking(self._application, standing.position), connection=conn)
        conn.execute(sa.delete(GENERATION))
        conn.execute(GENERATION.insert(), {"one": 1, "version": VERSION, "generation": self._generation})

    def _add_indexes(self) -> None:
        """In the order of their names (SQLAlchemy keeps a set), so that equal tables are equal files."""
        with writing(self._store.engine) as conn:
            for table in self._tables:
                for index in sorted(table.indexes, key=lambda index: str(index.name)):
                    conn.execute(sa.schema.CreateIndex(index))
        self._indexed = True

    @property
    def _tables(self) -> list[sa.Table]:
        return [table for model in self._models for table in model.tables]

    @property
    def _application(self) -> str:
        """The name under which the recorder tracks this generation."""
        return f"projections/{self._generation}"

    def _place(self) -> None:
        """Read back how far the tables are, and that tables and tracking agree."""
        tracked = self._recorder.max_tracking_id(self._application) or 0
        with reading(self._store.engine) as conn:
            self._height, _, self._position = log.last(conn)
        assert self._position == tracked, f"tables are at position {self._position}, tracking at {tracked}"

    def __repr__(self) -> str:
        return f"<Runner height={self._height} generation={self._generation}>"


def _standing(conn: sa.Connection) -> Standing:
    """The state as it is now, in the transaction of the caller."""
    query = sa.select(CHECKPOINT).order_by(CHECKPOINT.c.height.desc()).limit(1)
    last = conn.execute(query).one()

    def rows(table: str) -> Iterator[tuple[bytes, bytes]]:
        found = sa.select(STATE.c.key, STATE.c.value).where(STATE.c.table == table).order_by(STATE.c.key)
        return ((row.key, row.value) for row in conn.execute(found))

    return Standing(last.height, last.time, last.last, rows)
