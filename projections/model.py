"""What a read model is: tables it owns, and a fold of final effects into them.

    Entry       one line of the final order, decoded once and handed to every model
    ReadModel   a name, tables, `fold(conn, entries)`, and what genesis puts there before the first entry
    Standing    the state at one height, for a store that has no entries of what came before
    upsert      the one way in which a fold writes

Knows the final order and SQL; does not know why an effect happened, nor who will ask.

What must always hold: a fold looks at nothing but its entries and its own tables, and what it leaves behind
does not depend on where one batch ended and the next began. So a rebuilt table equals one folded live.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from domain import effects
from domain.effects import AnyEffect
from ledger.cid import Cid
from ledger.errors import RemoteError, StoreCorrupt
from ledger.event import Header
from ledger.genesis import Genesis
from ledger.store import Finalized
from ledger.types import INT63_MAX

METADATA: Final = sa.MetaData()

Row = dict[str, Any]


class AnyText(sa.TypeDecorator[str]):
    """Text by strangers. U+0000 is legal in an event and refused by PostgreSQL: it becomes U+FFFD on both."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else value.replace("\x00", "\ufffd")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the final order: an event's receipt, or (without event) the close of a checkpoint.

    position   1, 2, 3 … over all checkpoints, as the store counts
    height     of the checkpoint;  index  within it: 0, 1 …, the close is last
    time       ledger time T of the checkpoint, unix ms
    """

    position: int
    height: int
    index: int
    time: int
    event: Cid | None
    header: Header | None
    code: str
    effects: tuple[AnyEffect, ...]

    @property
    def is_close(self) -> bool:
        return self.event is None


def read(line: Finalized) -> Entry:
    """Decode one line. Raises StoreCorrupt for effects that this version of the program cannot read."""
    receipt = line.receipt
    try:
        decoded = tuple(map(effects.decode, receipt.effects))
    except RemoteError as error:
        raise StoreCorrupt(
            f"receipt {line.index} of checkpoint {line.height} holds an effect that cannot be read: {error}",
            next_step="run the version of fog that wrote this store, or a newer one",
        ) from error
    return Entry(
        line.position, line.height, line.index, line.time, line.event_id, line.header, receipt.code, decoded
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """The state after the checkpoint at `height`; `rows(table)` are (key, value).

    time       its ledger time T, unix ms;  position  of its close, where the next entry goes on
    """

    height: int
    time: int
    position: int
    rows: Callable[[str], Iterator[tuple[bytes, bytes]]]


Resume = Callable[[sa.Connection, Standing], None]
Fold = Callable[[sa.Connection, Sequence[Entry]], None]
Seed = Callable[[sa.Connection, Genesis], None]


@dataclass(frozen=True, slots=True)
class ReadModel:
    """`seed` writes what is true at height 0, where there is no receipt to say so. `resume` writes what the
    state at some height says, where no earlier receipts are here: what has ended by then is not in it."""

    name: str
    tables: tuple[sa.Table, ...]
    fold: Fold
    seed: Seed | None = None
    resume: Resume | None = None


def upsert(conn: sa.Connection, table: sa.Table, rows: Collection[Row], *, keep: Iterable[str] = ()) -> None:
    """Insert rows; where the primary key is there already, overwrite all columns but those in `keep`."""
    if rows:
        conn.execute(_upsertion(conn.dialect.name, table, tuple(keep)), list(rows))


@cache
def _upsertion(dialect: str, table: sa.Table, keep: tuple[str, ...]) -> sa.Insert:
    """Built once: that takes SQLAlchemy longer than the database needs for the rows of a checkpoint."""
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    fixed = {column.name for column in table.primary_key} | set(keep)
    changed = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in fixed}
    statement: sa.Insert = insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)
    return statement


def rows_by_key(conn: sa.Connection, table: sa.Table, keys: Collection[bytes]) -> Mapping[bytes, Row]:
    """The rows of a table with a single-column key, by that key; asks in lots that every database takes."""
    (key,) = table.primary_key
    wanted = sorted(keys)
    found: dict[bytes, Row] = {}
    for start in range(0, len(wanted), LOOKUP_LOT):
        some = {"some": wanted[start : start + LOOKUP_LOT]}
        found.update((row[key.name], dict(row)) for row in conn.execute(_lookup(table), some).mappings())
    return found


@cache
def _lookup(table: sa.Table) -> sa.Select[tuple[Any, ...]]:
    (key,) = table.primary_key
    return sa.select(table).where(key.in_(sa.bindparam("some", expanding=True)))


LOOKUP_LOT: Final = 500  # SQLite takes 999 parameters a statement in old builds


def saturated(number: int) -> int:
    """Clamp a running total to what a BIGINT holds: its parts are 63 bits each and chosen by strangers."""
    return min(number, INT63_MAX)
