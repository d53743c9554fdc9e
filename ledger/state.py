"""The state: tables of key -> value bytes that never change in place, and the root that commits to them.

A `State` is a value: what was sealed, and what changed since, which lies over it. `put` and `delete` return a
new one and share what did not change, so a checkpoint can be tried and thrown away. `seal` lays the changes
into the tables and brings the Merkle map up to date with them.

What must always hold: the root depends on the tables' contents alone, never on the order in which they
came about; `items` is sorted by key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import immutables

from ledger.merkle_map import MerkleMap

Change = tuple[str, bytes]  # (table, key)
Row = tuple[Change, bytes | None]

_SEALED: Final[Any] = object()
"""What `changes` says of a row that did not change."""

_EMPTY: Final = MerkleMap()


class State:
    __slots__ = ("_changes", "_map", "_tables")

    def __init__(
        self,
        tables: Mapping[str, immutables.Map[bytes, bytes]] | None = None,
        changes: immutables.Map[Change, bytes | None] | None = None,
        sealed: MerkleMap | None = _EMPTY,
    ) -> None:
        self._tables: Mapping[str, immutables.Map[bytes, bytes]] = {} if tables is None else tables
        self._changes: immutables.Map[Change, bytes | None] = _NO_CHANGES if changes is None else changes
        self._map = sealed

    def get(self, table: str, key: bytes) -> bytes | None:
        changed = self._changes.get((table, key), _SEALED)
        if changed is not _SEALED:
            return changed
        rows = self._tables.get(table)
        return None if rows is None else rows.get(key)

    def put(self, table: str, key: bytes, value: bytes) -> State:
        return self.change((((table, key), value),))

    def delete(self, table: str, key: bytes) -> State:
        """No error when the key is not there."""
        return self.change((((table, key), None),))

    def change(self, rows: Iterable[Row]) -> State:
        """Put many rows, or delete them (None). What stays as it was is no change."""
        changes = self._changes
        for place, value in rows:
            before = changes.get(place, _SEALED)
            if before is _SEALED:
                sealed = self._tables.get(place[0])
                before = None if sealed is None else sealed.get(place[1])
            if before != value:
                changes = changes.set(place, value)
        return self if changes is self._changes else State(self._tables, changes, self._map)

    def items(self, table: str) -> list[tuple[bytes, bytes]]:
        """Every row of a table, sorted by key: for small tables and for audits."""
        rows: dict[bytes, bytes | None] = dict(self._tables.get(table, _NO_ROWS).items())
        rows.update((key, value) for (name, key), value in self._changes.items() if name == table)
        return sorted((key, value) for key, value in rows.items() if value is not None)

    def tables(self) -> list[str]:
        """Names of the tables with at least one row, sorted."""
        filled = {table for (table, _), value in self._changes.items() if value is not None}
        thinned = {table for (table, _), value in self._changes.items() if value is None} - filled
        filled.update(name for name, rows in self._tables.items() if len(rows) and name not in thinned)
        return sorted(filled.union(table for table in thinned if self.items(table)))

    @property
    def changes(self) -> Mapping[Change, bytes | None]:
        """What differs from the last seal; None means deleted. In no particular order."""
        return self._changes

    def seal(self) -> State:
        """The same contents with the Merkle map brought up to date and `changes` empty."""
        assert self._map is not None, "sealing a state that was settled"
        return State(self._laid(), None, self._map.update(self._changes))

    def settle(self) -> State:
        """`seal` without the Merkle map, for a replay that compares roots only at its end (`rooted`)."""
        return State(self._laid(), None, None)

    def rooted(self) -> State:
        """The same contents, with a Merkle map made anew."""
        assert not self._changes, "a root for a state that was not settled"
        rows = {(name, key): value for name, rows in self._tables.items() for key, value in rows.items()}
        return State(self._tables, None, MerkleMap().update(rows))

    def _laid(self) -> Mapping[str, immutables.Map[bytes, bytes]]:
        """The tables with the changes laid into them."""
        tables = dict(self._tables)
        for table, places in groupby(sorted(self._changes), key=itemgetter(0)):
            with tables.get(table, _NO_ROWS).mutate() as now:
                for place in places:
                    value = self._changes[place]
                    if value is not None:
                        now[place[1]] = value
                    else:
                        now.pop(place[1], None)
                tables[table] = now.finish()
        return tables

    @property
    def root(self) -> bytes:
        """32 bytes. Only a sealed state has a root."""
        return self.merkle_map.root

    @property
    def merkle_map(self) -> MerkleMap:
        """For proofs of presence and absence. Only of a sealed state."""
        assert not self._changes, "root or proofs of a state that was not sealed"
        assert self._map is not None, "root or proofs of a state that was settled"
        return self._map

    def __repr__(self) -> str:
        sealed = sum(map(len, self._tables.values()))
        return f"<State sealed rows={sealed} changes={len(self._changes)}>"


_NO_ROWS: Final[immutables.Map[bytes, bytes]] = immutables.Map()
_NO_CHANGES: Final[immutables.Map[Change, bytes | None]] = immutables.Map()
