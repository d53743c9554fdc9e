"""One SQL database: how it is reached, how it is written to, and what its failures mean.

Everything durable goes through two doors: `reading(engine)`, a consistent snapshot, and `writing(engine)`,
one transaction that is on the disk when the `with` block ends. SQLite is the default, PostgreSQL another URL.

Knows drivers, locks and error codes. Does not know what is stored.

What must always hold:
    one writer at a time (a lock in the process, the database's own lock between processes)
    a `writing` block that raises has changed nothing
    a driver's error leaves here as StoreFull, StoreCorrupt or UsageError, or else is a fault of ours
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.pool import StaticPool

from ledger.errors import FogError, StoreCorrupt, StoreFull, UsageError
from ledger.tables import REMEDY

Synchronous = Literal["FULL", "NORMAL", "OFF"]

LOCK_WAIT_MS: Final = 10_000
"""How long a writer waits for another process: a batch of thousands of events takes well under a second."""

ADVISORY_LOCK: Final = 0x466F67  # "Fog"; PostgreSQL keeps these apart for each database

_locks: weakref.WeakKeyDictionary[sa.Engine, threading.RLock] = weakref.WeakKeyDictionary()
_compiled: weakref.WeakKeyDictionary[sa.UpdateBase, dict[str, tuple[str, itemgetter[Any] | None]]] = (
    weakref.WeakKeyDictionary()
)


def connect(url: str, *, synchronous: Synchronous = "FULL", building: bool = False) -> sa.Engine:
    """An engine for `sqlite:///path`, `sqlite://` (in memory, for one thread) or `postgresql+psycopg://…`.

    `synchronous` is SQLite's: FULL survives loss of power, NORMAL only the death of the process. `building`
    is for a SQLite file that is thrown away if anything goes wrong: no journal, nothing waits for the disk.
    Opens no connection yet. Raises UsageError (`bad_store_url`).
    """
    try:
        parsed = make_url(url)
        dialect = parsed.get_backend_name()
    except sa.exc.ArgumentError as error:
        raise UsageError(f"not a database URL: {url!r}", code="bad_store_url", next_step=_URL_HELP) from error
    if dialect not in ("sqlite", "postgresql"):
        raise UsageError(f"no store on {dialect}", code="bad_store_url", next_step=_URL_HELP)
    options: dict[str, Any] = {}
    if in_memory(url):
        options.update(poolclass=StaticPool, connect_args={"check_same_thread": False})
    engine = sa.create_engine(parsed, **options)
    if dialect == "sqlite":
        _prepare_sqlite(engine, _BUILDING if building else ("journal_mode=WAL", f"synchronous={synchronous}"))
    _locks[engine] = threading.RLock()
    return engine


def in_memory(url: str) -> bool:
    return make_url(url).get_backend_name() == "sqlite" and make_url(url).database in (None, "", ":memory:")


def sqlite_path(url: str) -> Path | None:
    """The file behind the URL, or None when there is none."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or in_memory(url):
        return None
    assert parsed.database is not None
    return Path(parsed.database)


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A snapshot: every statement inside sees the same state."""
    with translated(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction of the only writer. Durable when the block has ended, undone when it raises."""
    with _locks[engine], translated(engine), engine.connect() as connection:
        connection.execution_options(fog_writes=True)
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
            yield connection


def execute_many(connection: sa.Connection, statement: sa.UpdateBase, rows: list[dict[str, Any]]) -> int:
    """Run one statement for each row, without SQLAlchemy's work on each value; returns the rows it touched.

    Rows have the same keys (two or more), always the same for one statement object. Values must be what
    drivers take as they are: int, str, bytes (no subclass) and None.
    """
    if not rows:
        return 0
    compiled = _compiled.setdefault(statement, {})
    dialect = connection.dialect
    if dialect.name not in compiled:
        compiled[dialect.name] = _text(statement.compile(dialect=dialect, column_keys=list(rows[0])))
    text, in_order = compiled[dialect.name]
    parameters: Any = rows if in_order is None else list(map(in_order, rows))
    return connection.exec_driver_sql(text, parameters).rowcount


blob: Final = bytearray
"""Of bytes on their way into a table that grows with every event: Python's sqlite3 looks for an adapter for
each `bytes`, which takes it four times as long as to take a bytearray as it is."""


def _text(compiled: Any) -> tuple[str, itemgetter[Any] | None]:
    """The SQL, and how a row becomes a tuple, where the driver counts parameters instead of naming them."""
    names = compiled.positiontup
    return str(compiled), None if names is None else itemgetter(*names)


def lookup(
    dialect: sa.Dialect, tables: Sequence[sa.Table], columns: Sequence[str], count: int, *, key: str = "id"
) -> str:
    """SELECT of `columns` from each of the tables where `key` is one of `count` parameters, as driver's text.

    SQLAlchemy's own IN costs five times as much on the way of every event. Values come back as the driver
    gives them.
    """
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    names = ", ".join(f'"{column}"' for column in columns)
    marks = ", ".join([mark] * count)
    return " UNION ALL ".join(
        f'SELECT {names} FROM {table.name} WHERE "{key}" IN ({marks})' for table in tables
    )


@contextmanager
def translated(engine: sa.Engine) -> Iterator[None]:
    """Driver errors inside the block leave as errors of ours; the original is the cause."""
    try:
        yield
    except sa.exc.IntegrityError:
        raise
    except UnicodeDecodeError as error:  # the driver, on a damaged schema
        raise corrupt(engine.url.render_as_string(hide_password=True), str(error)) from error
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        meant = _meaning(engine, error.orig if isinstance(error, sa.exc.DBAPIError) else error)
        if meant is None:
            raise
        raise meant from error


def _meaning(engine: sa.Engine, error: Any) -> FogError | None:
    where = engine.url.render_as_string(hide_password=True)
    code = getattr(error, "sqlite_errorcode", None)  # extended; the low byte is the primary code
    state = getattr(error, "sqlstate", None)
    primary = None if code is None else code & 0xFF
    if code in _SQLITE_FULL or state == "53100":
        return StoreFull(f"no room on the disk for {where}", next_step="free some space, then try again")
    undecodable = code is None and isinstance(
        error, sqlite3.OperationalError
    )  # text where bytes were written
    if undecodable or primary in _SQLITE_CORRUPT or state in ("XX001", "XX002"):
        return corrupt(where, str(error))
    if isinstance(error, sqlite3.OperationalError) and _is_misread(str(error)):
        return corrupt(where, str(error))
    if primary == sqlite3.SQLITE_CANTOPEN or (state is None and _no_connection(error)):
        return UsageError(f"cannot open {where}: {error}", code="store_unreachable", next_step=_URL_HELP)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UsageError(
            f"another process has been writing to {where} for {LOCK_WAIT_MS / 1000:g} s",
            code="store_busy",
            next_step="one node for each store: stop the other one",
        )
    return None


def _is_misread(message: str) -> bool:
    """SQLite's words for a schema or text that is not what it was; they come under its general error code."""
    return message.startswith(
        ("no such table", "no such column", "Could not decode", "unsupported file format")
    )


def corrupt(where: str, what: str) -> StoreCorrupt:
    """The error for a store that cannot be trusted, with the way out."""
    return StoreCorrupt(f"{where} is damaged: {what}", next_step=REMEDY)


def _no_connection(error: Any) -> bool:
    return type(error).__module__.startswith("psycopg") and type(error).__name__ == "OperationalError"


def _prepare_sqlite(engine: sa.Engine, pragmas: Sequence[str]) -> None:
    """Our own BEGIN (the driver's implicit one comes too late for reads) and each connection's pragmas."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={LOCK_WAIT_MS}")
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        # By the driver itself: SQLAlchemy's way to a cursor takes longer than most of what is then asked.
        writes = connection.get_execution_options().get("fog_writes", False)
        driver: Any = connection.connection.driver_connection
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")


_BUILDING: Final = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-65536")
_SQLITE_FULL: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
_SQLITE_CORRUPT: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)
_URL_HELP: Final = "give sqlite:///<file> or postgresql+psycopg://<user>@<host>/<database>"
