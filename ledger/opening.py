"""Creating a store and opening one again: is it ours, is it whole?

A store says in its `meta` table which schema and which network it is of, and whether it was closed in order.
Opening looks at what is cheap to look at, every time; at the whole file (SQLite's `quick_check`) only when
the last owner did not close it.

Knows the schema's bookkeeping. Does not know the rules: whether the content is *true* is `ledger.audit`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from ledger import event as events
from ledger import genesis as geneses
from ledger.cid import Cid
from ledger.database import connect, corrupt, in_memory, reading, sqlite_path, writing
from ledger.errors import RemoteError, UsageError
from ledger.genesis import Genesis
from ledger.tables import CHECKPOINT, EVENT, HEAD, LEDGER, META, SCHEMA_VERSION

_CLEAN: Final = b"1"
_DIRTY: Final = b"0"


def create(engine: sa.Engine, url: str, genesis: Genesis) -> None:
    """Make the tables and name the network, in one transaction. Raises UsageError (`store_exists`)."""
    with writing(engine) as connection:
        require_none(connection, url)
        create_tables(connection, genesis, indexed=True)


def require_none(connection: sa.Connection, url: str) -> None:
    """Raises UsageError (`store_exists`)."""
    if sa.inspect(connection).has_table(META.name):
        raise store_exists(url)


def store_exists(url: str) -> UsageError:
    return UsageError(
        f"there is a store at {url}", code="store_exists", next_step="open it, or choose another place"
    )


def require_none_at(url: str) -> None:
    """For before long work: raises UsageError (`store_exists`, `bad_store_url`) where `built` would."""
    place = sqlite_path(url)
    if place is not None:
        if place.exists():
            raise store_exists(url)
        return
    engine = connect(url)
    try:
        with reading(engine) as connection:
            require_none(connection, url)
    finally:
        engine.dispose()


@contextmanager
def built(url: str) -> Iterator[tuple[sa.Engine, bool]]:
    """An engine for a store that appears at `url` when the block ends, and whether it has its indexes from
    the start: on a server it is all one transaction.

    So there is a finished store at that place or none. What else is found beside it is of work that was
    interrupted, and thrown away by the next; and the log of a store that was there before, which SQLite would
    take for this one's. Raises UsageError (`store_exists`, …), StoreFull.
    """
    place = sqlite_path(url)
    if place is None:
        engine = connect(url)
        try:
            yield engine, True
        finally:
            engine.dispose()
        return
    require_none_at(url)
    aside = place.with_name(place.name + ".building")
    _remove(aside, "", "-journal")
    engine = connect(f"sqlite:///{aside}", building=True)
    try:
        yield engine, False
        engine.dispose()
        _sync(aside)
        _remove(place, "-wal", "-shm", "-journal")
        os.replace(aside, place)
        _sync(place.parent)
    finally:
        engine.dispose()
        _remove(aside, "")


def _remove(place: Path, *endings: str) -> None:
    """The files of these names, as far as they are there."""
    for ending in endings:
        place.with_name(place.name + ending).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def create_tables(connection: sa.Connection, genesis: Genesis, *, indexed: bool) -> None:
    """Make the tables, which must not be there, and name the network; the indexes only if asked for."""
    for table in LEDGER.sorted_tables:
        connection.execute(sa.schema.CreateTable(table))
    if indexed:
        add_indexes(connection)
    put(connection, "schema", str(SCHEMA_VERSION).encode())
    put(connection, "genesis", genesis.encode())
    put(connection, "state", _CLEAN)


def add_indexes(connection: sa.Connection) -> None:
    """The indexes of tables that were made without them: quicker at the end than with every row.

    In the order of their names (SQLAlchemy keeps a set), so that equal stores are equal files.
    """
    for table in LEDGER.sorted_tables:
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(sa.schema.CreateIndex(index))


def check(engine: sa.Engine, url: str, net: Cid | None) -> Genesis:
    """The quick checks of every start. Raises UsageError, StoreCorrupt."""
    path = sqlite_path(url)
    if (path is not None and not path.is_file()) or in_memory(url):
        raise _no_store(url)
    if path is None and not _has_tables(engine):
        raise _no_store(url)  # a database on a server is made by others, and begins empty
    if path is not None:
        _check_length(path, url)
    return judge(engine, url, net)


def judge(engine: sa.Engine, where: str, net: Cid | None) -> Genesis:
    """Those of the checks that look at what is inside; `where` is for messages. Raises as `check` does."""
    if not _has_tables(engine):
        raise corrupt(where, "its tables are gone")
    with reading(engine) as connection:
        genesis = _identity(connection, where, net)
        if get(connection, "state") != _CLEAN and engine.dialect.name == "sqlite":
            _quick_check(connection, where)
        base = int(get(connection, "base") or 0)
        _check_heads(connection, where, genesis.net, began_later=base > 0)
        _check_chain(connection, where, base)
    return genesis


def _has_tables(engine: sa.Engine) -> bool:
    with reading(engine) as connection:
        return sa.inspect(connection).has_table(META.name)


def mark(connection: sa.Connection, *, clean: bool) -> None:
    """Remember that the store is in use, or that it was left in order."""
    put(connection, "state", _CLEAN if clean else _DIRTY)


def get(connection: sa.Connection, name: str) -> bytes | None:
    value: bytes | None = connection.execute(sa.select(META.c.value).where(META.c.name == name)).scalar()
    return value


def put(connection: sa.Connection, name: str, value: bytes) -> None:
    updated = connection.execute(META.update().where(META.c.name == name), {"value": value})
    if updated.rowcount == 0:
        connection.execute(META.insert(), {"name": name, "value": value})


def _identity(connection: sa.Connection, url: str, net: Cid | None) -> Genesis:
    version = get(connection, "schema") or b""
    if not version.isdigit():
        raise corrupt(url, "it does not say which schema it has")
    if version != str(SCHEMA_VERSION).encode():
        raise UsageError(
            f"{url} has schema {int(version)}, this program knows {SCHEMA_VERSION}",
            code="store_version",
            next_step="use the version of fog that wrote it, or sync into a new store",
        )
    try:
        genesis = geneses.parse(get(connection, "genesis") or b"")
    except RemoteError as error:
        raise corrupt(url, f"its genesis object: {error}") from error
    if net is not None and genesis.net != net:
        raise UsageError(
            f"{url} is of network {genesis.net}, not {net}",
            code="other_network",
            next_step="one store for each network: choose another place",
        )
    return genesis


def _check_length(path: Path, url: str) -> None:
    """A file that lost its end. SQLite itself tells only whoever asks for a page that is not there.

    Its header counts the pages (https://sqlite.org/fileformat2.html, 1.3.7); while a write-ahead log has more
    to say, that count may be older than the file.
    """
    log = path.with_name(path.name + "-wal")
    if log.is_file() and log.stat().st_size:
        return
    with path.open("rb") as file:
        header = file.read(100)
    page, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    counted = header[24:28] == header[92:96]
    missing = pages * (65_536 if page == 1 else page) - path.stat().st_size
    if counted and missing > 0:
        raise corrupt(url, f"its last {missing} bytes are gone")


def _quick_check(connection: sa.Connection, url: str) -> None:
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if found != "ok":
        raise corrupt(url, str(found))


def _check_heads(connection: sa.Connection, url: str, net: Cid, *, began_later: bool) -> None:
    """Each lane's head is its last event, is what its bytes say, and continues the event before it.

    Of a store that began from a snapshot, what lies below that is not here.
    """
    before, after = EVENT.alias("before"), EVENT.alias("after")
    query = (
        sa.select(
            HEAD,
            EVENT.c.wire,
            EVENT.c.id.label("stored"),
            before.c.id.label("before"),
            after.c.id.label("after"),
        )
        .outerjoin(EVENT, _place(EVENT, 0))
        .outerjoin(before, _place(before, -1))
        .outerjoin(after, _place(after, 1))
    )
    for row in connection.execute(query):
        where = f"lane {row.by!r}/{row.lane} at {row.seq}"
        if began_later and row.stored is None and row.after is None:
            continue
        if row.stored != row.id or row.after is not None:
            raise corrupt(url, f"{where} does not end in its head")
        try:
            head = events.parse(row.wire, net=net, verify_signature=False)
        except RemoteError as error:
            raise corrupt(url, f"{where}: {error}") from error
        if (head.id, head.lane, head.header.seq) != (row.id, (row.by, row.lane), row.seq):
            raise corrupt(url, f"{where} holds another event, {head.id}")
        if head.header.prev != row.before and not (began_later and row.before is None):
            raise corrupt(url, f"{where} does not continue the event before it")


def _place(table: sa.FromClause, step: int) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.by == HEAD.c.by, table.c.lane == HEAD.c.lane, table.c.seq == HEAD.c.seq + step)


def _check_chain(connection: sa.Connection, url: str, base: int) -> None:
    """The final chain has no gap from where the store begins, and its end is what its bytes say."""
    count, height = connection.execute(sa.select(sa.func.count(), sa.func.max(CHECKPOINT.c.height))).one()
    first = base or 1
    if count != (height or first - 1) - first + 1:
        raise corrupt(url, f"{count} checkpoints from height {first} up to {height}")
    last = connection.execute(sa.select(CHECKPOINT).where(CHECKPOINT.c.height == height)).one_or_none()
    if last is not None and Cid.of(last.checkpoint) != last.id:
        raise corrupt(url, f"checkpoint {height} is not what its id says")


def _no_store(url: str) -> UsageError:
    return UsageError(
        f"there is no store at {url}", code="no_store", next_step="`fog init` or `fog join` makes one"
    )
