"""Keyset pages: a place in an order, not a number of rows to skip.

A cursor is the key of the last row that was shown, so a page costs the same at any depth, and rows that
arrive meanwhile neither repeat nor hide others. Every order ends in a unique key.

Cursors are opaque to readers and made of keys that all nodes share, so one node's cursor works on another.

What must always hold: for any limit, following `next` to the end shows every row once.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from ledger import canonical
from ledger.errors import RemoteError, UsageError

LIMIT_MAX: Final = 200  # an answer stays near 100 KiB, and a query near a millisecond
LIMIT_DEFAULT: Final = 50
CURSOR_SIZE_MAX: Final = 160  # characters: the widest key is a job (36 bytes) and two integers
assert CURSOR_SIZE_MAX >= (4 * (8 + 38 + 2 * 9 + 34)) // 3

Key = tuple[int | bytes, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """The columns of a unique key, in the order of the page."""

    columns: tuple[sa.Column[Any], ...]
    descending: bool = False

    def after(self, key: Key) -> sa.ColumnElement[bool]:
        """The rows that come later than `key`."""
        columns = sa.tuple_(*self.columns)
        values = sa.tuple_(*(sa.literal(v, c.type) for v, c in zip(key, self.columns, strict=True)))
        return columns < values if self.descending else columns > values

    def clauses(self) -> list[sa.ColumnElement[Any]]:
        return [column.desc() if self.descending else column.asc() for column in self.columns]

    def key(self, row: dict[str, Any]) -> Key:
        return tuple(row[column.name] for column in self.columns)

    def accepts(self, key: Any) -> bool:
        """Whether a decoded cursor has the shape of this order's keys."""
        return (
            type(key) is list
            and len(key) == len(self.columns)
            and all(type(v) is c.type.python_type for v, c in zip(key, self.columns, strict=True))
        )


@dataclass(frozen=True, slots=True)
class Page:
    rows: list[dict[str, Any]]
    next: str | None


def encode(key: Key) -> str:
    return base64.urlsafe_b64encode(canonical.encode(list(map(_plain, key)))).decode().rstrip("=")


def decode(text: str, order: Order) -> Key:
    """Raises UsageError (`bad_cursor`)."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        key = canonical.decode(data, size_max=CURSOR_SIZE_MAX)
    except (RemoteError, binascii.Error, ValueError) as error:
        raise _bad(text) from error
    if not order.accepts(key):
        raise _bad(text)
    return tuple(key)


def fetch(conn: sa.Connection, query: sa.Select[Any], order: Order, after: str | None, limit: int) -> Page:
    """At most `limit` rows of `query` after the cursor `after`."""
    return fetch_merged(conn, [query], order, after, limit)


def fetch_merged(
    conn: sa.Connection, queries: Sequence[sa.Select[Any]], order: Order, after: str | None, limit: int
) -> Page:
    """The union of queries without rows in common: each walks its own index, at most `limit` + 1 rows."""
    assert 1 <= limit <= LIMIT_MAX
    key = None if after is None else decode(after, order)
    rows: list[dict[str, Any]] = []
    for query in queries:
        reached = query if key is None else query.where(order.after(key))
        lot = conn.execute(reached.order_by(*order.clauses()).limit(limit + 1))
        rows.extend(map(dict, lot.mappings()))
    if len(queries) > 1:
        rows.sort(key=order.key, reverse=order.descending)
    shown = rows[:limit]
    return Page(shown, encode(order.key(shown[-1])) if len(rows) > limit else None)


def _plain(value: int | bytes) -> int | bytes:
    return bytes(value) if isinstance(value, bytes) else int(value)


def _bad(text: str) -> UsageError:
    return UsageError(
        f"{text[:60]!r} is not a cursor of this list",
        code="bad_cursor",
        next_step="use `next` of the previous page as it is, or leave it out to begin",
    )
