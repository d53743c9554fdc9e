"""What a read model is: tables it owns, and a fold of final effects into them.

    Entry       one line of the final order, decoded once and handed to every model
    Batch       entries of whole checkpoints, and the effects in them by their kind
    ReadModel   a name, tables, `fold(conn, batch)`, and what genesis puts there before the first entry
    Standing    the state at one height, for a store that has no entries of what came before
    upsert      how a fold writes what stands;  append  how it writes what happened

Knows the final order and SQL; does not know why an effect happened, nor who will ask.

What must always hold: a fold looks at nothing but its batch and its own tables, and what it leaves behind
does not depend on where one batch ended and the next began. So a rebuilt table equals one folded live.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from operator import itemgetter
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa

from domain import effects
from domain.effects import AnyEffect
from ledger.cid import Cid
from ledger.database import lookup
from ledger.errors import RemoteError, StoreCorrupt
from ledger.genesis import Genesis
from ledger.store import Finalized
from ledger.summary import Summary
from ledger.tables import REMEDY
from ledger.types import INT63_MAX

METADATA: Final = sa.MetaData()

Row = dict[str, Any]


class AnyText(sa.TypeDecorator[str]):
    """Text by strangers. U+0000 is legal in an event and refused by PostgreSQL: it becomes U+FFFD on both."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else _storable(value)


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd")


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One line of the final order: an event's receipt, or (without event) the close of a checkpoint.

    position   1, 2, 3 … over all checkpoints, as the store counts
    height     of the checkpoint;  index  within it: 0, 1 …, the close is last
    time       ledger time T of the checkpoint, unix ms;  said  by whom, and of what kind
    """

    position: int
    height: int
    index: int
    time: int
    event: Cid | None
    said: Summary | None
    code: str
    effects: tuple[AnyEffect, ...]

    @property
    def is_close(self) -> bool:
        return self.event is None


def read(lines: Sequence[Finalized]) -> list[Entry]:
    """Decode lines. Raises StoreCorrupt for what this version of the program cannot read."""
    try:
        decoded = iter(effects.decode_all([data for line in lines for data in line.receipt.effects]))
        told = [tuple(islice(decoded, len(line.receipt.effects))) for line in lines]
    except RemoteError:
        told = list(map(_effects_of, lines))
    return list(map(_entry, lines, told))


def _entry(line: Finalized, told: tuple[AnyEffect, ...]) -> Entry:
    try:
        said = line.summary
    except RemoteError as error:
        raise StoreCorrupt(f"the event {line.event_id} is damaged: {error}", next_step=REMEDY) from error
    return Entry(
        line.position, line.height, line.index, line.time, line.event_id, said, line.receipt.code, told
    )


def _effects_of(line: Finalized) -> tuple[AnyEffect, ...]:
    """One by one, to find out where the one is that cannot be read."""
    try:
        return tuple(map(effects.decode, line.receipt.effects))
    except RemoteError as error:
        raise StoreCorrupt(
            f"receipt {line.index} of checkpoint {line.height} holds an effect that cannot be read: {error}",
            next_step="run the version of fog that wrote this store, or a newer one",
        ) from error


E = TypeVar("E", bound=effects.Effect)


class Batch:
    """Entries in final order, and what they tell, by its kind: so each model sees only what it knows."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries: Final = entries
        self._told: defaultdict[type[effects.Effect], list[Any]] = defaultdict(list)
        told = self._told
        for entry in entries:
            for n, effect in enumerate(entry.effects):
                told[type(effect)].append((entry, n, effect))

    def told(self, kind: type[E]) -> Sequence[tuple[Entry, int, E]]:
        """All effects of one kind in final order, each with its entry and its number among those of it."""
        return self._told.get(kind, ())


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
Fold = Callable[[sa.Connection, Batch], None]
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
        _write(conn, table, in_order(table, rows), _upsertion(table, tuple(keep)))


def append(conn: sa.Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows that cannot be there yet, as each entry is folded once; values in the order of columns."""
    if rows:
        _write(conn, table, rows, _insertion(table))


def in_order(table: sa.Table, rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    """Rows as `append` takes them."""
    return list(map(_getter(table), rows))


def _write(conn: sa.Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]], statement: str) -> None:
    """One statement for all rows, in the driver's own words: what SQLAlchemy does for each value would take
    as long as the database."""
    for column in _columns_of_any_text(table):
        if "\x00" in "".join(map(itemgetter(column), rows)):
            rows = [(*row[:column], _storable(row[column]), *row[column + 1 :]) for row in rows]
    _run(conn, statement, rows)


def driver_sql(conn: sa.Connection, statement: str, *values: Any) -> Sequence[Any]:
    """The rows that one statement gives, `MARK` in it for each value; in a third of the time of SQLAlchemy's
    way. Values go and come as drivers take and give them."""
    result = _run(conn, statement, values)
    return result.all() if result.returns_rows else ()


def _run(conn: sa.Connection, statement: str, parameters: Any) -> sa.CursorResult[Any]:
    mark = "?" if conn.dialect.paramstyle == "qmark" else "%s"
    return conn.exec_driver_sql(statement.replace(MARK, mark), parameters)


MARK: Final = "{?}"
"""Where a value goes; each driver has its own word for it."""


@cache
def _insertion(table: sa.Table) -> str:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    marks = ", ".join(MARK for _ in table.columns)
    return f"INSERT INTO {table.name} ({names}) VALUES ({marks})"


@cache
def _upsertion(table: sa.Table, keep: tuple[str, ...]) -> str:
    key = [column.name for column in table.primary_key]
    changed = [column.name for column in table.columns if column.name not in (*key, *keep)]
    conflict = ", ".join(f'"{name}"' for name in key)
    update = ", ".join(f'"{name}" = excluded."{name}"' for name in changed)
    return f"{_insertion(table)} ON CONFLICT ({conflict}) DO UPDATE SET {update}"


@cache
def _getter(table: sa.Table) -> itemgetter[Any]:
    return itemgetter(*(column.name for column in table.columns))


@cache
def _columns_of_any_text(table: sa.Table) -> tuple[int, ...]:
    return tuple(n for n, column in enumerate(table.columns) if isinstance(column.type, AnyText))


def rows_by_key(conn: sa.Connection, table: sa.Table, keys: Collection[bytes]) -> Mapping[bytes, Row]:
    """The rows of a table with a single-column key, by that key; asks in lots that every database takes."""
    (key,) = table.primary_key
    names = [column.name for column in table.columns]
    wanted = sorted(keys)
    found: dict[bytes, Row] = {}
    for start in range(0, len(wanted), LOOKUP_LOT):
        some = wanted[start : start + LOOKUP_LOT]
        text = lookup(conn.dialect, [table], names, len(some), key=key.name)
        rows = (dict(zip(names, row, strict=True)) for row in conn.exec_driver_sql(text, tuple(some)))
        found.update((row[key.name], row) for row in rows)
    return found


LOOKUP_LOT: Final = 500  # SQLite takes 999 parameters a statement in old builds


def saturated(number: int) -> int:
    """Clamp a running total to what a BIGINT holds: its parts are 63 bits each and chosen by strangers."""
    return min(number, INT63_MAX)
