"""A disk: one node's SQLite database in memory, which can lose power, be copied, damaged, and lost.

    power cut     before or after a transaction's commit: the transaction is not there, or whole
    backup        a copy, and the way back to it
    damage        a bit that flips, or a page that was written by half; a start must find it
    loss          everything gone

Tables are made once for a network; every further disk begins as a copy. A database is opened again through
the same checks as a file is (`ledger.opening`).

What must always hold: what a store said is durable is in every later `image` of the disk.
"""

from __future__ import annotations

import random
import sqlite3
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

from ledger import opening
from ledger.cid import Cid
from ledger.database import connect
from ledger.genesis import Genesis
from ledger.snapshot import Snapshot
from ledger.store import Store

URL: Final = "sqlite://"


class PowerCut(BaseException):
    """The machine is off. Not an Exception: nothing may catch it on the way up."""


class Disk:
    def __init__(self, template: bytes) -> None:
        """With the bytes of `format_for`."""
        self.template = template
        self._engine: sa.Engine = None  # type: ignore[assignment]
        self._fuse: int | None = None  # commits until the power goes; it goes before the last one
        self.commits = 0
        self.load(template)

    @property
    def engine(self) -> sa.Engine:
        return self._engine

    def open(self, net: Cid) -> Store:
        """As after a start of the node. Raises StoreCorrupt."""
        genesis = opening.judge(self._engine, "a disk of the simulator", net)
        return Store(self._engine, genesis)

    def cut_power_before(self, commits: int) -> None:
        """The power goes before the commit of this number, 1 being the next one."""
        self._fuse = commits

    def mend(self) -> None:
        """The power stays on."""
        self._fuse = None

    def image(self) -> bytes:
        """All of it, as the bytes of a database file."""
        return self._raw().serialize()

    def load(self, image: bytes) -> None:
        """Put a copy in its place. What was open on the old one is over."""
        if self._engine is not None:
            self._engine.dispose()
        self._engine = connect(URL)
        event.listen(self._engine, "commit", self._committing)
        self._raw().deserialize(image)
        self._fuse = None

    def begin(self, genesis: Genesis, snapshot: Snapshot) -> None:
        """Put a store in its place that begins from a snapshot."""
        store = Store.begin(URL, genesis, snapshot)
        raw: Any = store.engine.raw_connection().driver_connection
        self.load(raw.serialize())
        store.close()

    def lose(self) -> None:
        self.load(self.template)

    def close(self) -> None:
        self._engine.dispose()

    def _raw(self) -> sqlite3.Connection:
        raw = self._engine.raw_connection().driver_connection
        assert isinstance(raw, sqlite3.Connection)
        return raw

    def _committing(self, connection: Any) -> None:
        self.commits += 1
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse <= 0:
                self._fuse = None
                raise PowerCut


def format_for(genesis: Genesis) -> bytes:
    """The bytes of an empty store of a network."""
    store = Store.create(URL, genesis)
    raw: Any = store.engine.raw_connection().driver_connection
    image: bytes = raw.serialize()
    store.close()
    return image


def flip_bit(image: bytes, draw: random.Random) -> bytes:
    """One bit of the file is another."""
    changed = bytearray(image)
    changed[draw.randrange(len(image))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def tear(image: bytes, older: bytes, draw: random.Random, *, page: int = 4096) -> bytes | None:
    """A page of which the second half is still the older one (or was never written); None when all are."""
    half = page // 2
    before = older.ljust(len(image), b"\x00")
    changed = [at for at in range(half, len(image), page) if image[at : at + half] != before[at : at + half]]
    if not changed:
        return None
    start = draw.choice(changed)
    return image[:start] + before[start : start + half] + image[start + half :]
