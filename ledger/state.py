"""The state: tables of key -> value bytes that never change in place, and the root that commits to them.

A `State` is a value. `put` and `delete` return a new one and share what did not change, so a checkpoint can
be tried and thrown away. `seal` brings the Merkle map up to date with what changed since the last seal.

What must always hold: the root depends on the tables' contents alone, never on the order in which they
came about; `items` is sorted by key.
"""

from __future__ import annotations

from collections.abc import Mapping

import immutables

from ledger.merkle_map import MerkleMap

Change = tuple[str, bytes]  # (table, key)


class State:
    __slots__ = ("_changes", "_map", "_tables")

    def __init__(
        self,
        tables: immutables.Map[str, immutables.Map[bytes, bytes]] | None = None,
        changes: immutables.Map[Change, bytes | None] | None = None,
        sealed: MerkleMap | None = None,
    ) -> None:
        self._tables = immutables.Map() if tables is None else tables
        self._changes = immutables.Map() if changes is None else changes
        self._map = MerkleMap() if sealed is None else sealed

    def get(self, table: str, key: bytes) -> bytes | None:
        rows = self._tables.get(table)
        return None if rows is None else rows.get(key)

    def put(self, table: str, key: bytes, value: bytes) -> State:
        rows = self._tables.get(table)
        if rows is None:
            rows = immutables.Map()
        elif rows.get(key) == value:
            return self
        return State(
            self._tables.set(table, rows.set(key, value)), self._changes.set((table, key), value), self._map
        )

    def delete(self, table: str, key: bytes) -> State:
        """No error when the key is not there."""
        rows = self._tables.get(table)
        if rows is None or key not in rows:
            return self
        return State(
            self._tables.set(table, rows.delete(key)), self._changes.set((table, key), None), self._map
        )

    def items(self, table: str) -> list[tuple[bytes, bytes]]:
        """Every row of a table, sorted by key: for small tables and for audits."""
        rows = self._tables.get(table)
        return [] if rows is None else sorted(rows.items())

    def tables(self) -> list[str]:
        """Names of the tables with at least one row, sorted."""
        return sorted(name for name, rows in self._tables.items() if len(rows))

    @property
    def changes(self) -> Mapping[Change, bytes | None]:
        """What differs from the last seal; None means deleted. In no particular order."""
        return self._changes

    def seal(self) -> State:
        """The same contents with the Merkle map brought up to date and `changes` empty."""
        return State(self._tables, None, self._map.update(self._changes))

    @property
    def root(self) -> bytes:
        """32 bytes. Only a sealed state has a root."""
        assert not self._changes, "root of a state that was not sealed"
        return self._map.root

    @property
    def merkle_map(self) -> MerkleMap:
        """For proofs of presence and absence. Only of a sealed state."""
        assert not self._changes, "proofs from a state that was not sealed"
        return self._map

    def __repr__(self) -> str:
        return f"<State rows={sum(map(len, self._tables.values()))} changes={len(self._changes)}>"
