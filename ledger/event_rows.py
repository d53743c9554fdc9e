"""The events of a store: as they arrived, each in its lane, with rivals of forks and what proves these.

The half of `ledger.store` that others may fill: here is who said what, there is what came of it.

Knows bytes and their places. Does not judge: what comes in was verified by `ledger.replica`, and what goes
out is what came in.

What must always hold:
    what `add` returned from is on the disk; what it raised from left no trace
    an event is in `event` or in `rival`, never in both; of a final one the height is known
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from ledger import beginning, canonical, merkle, opening, tiles
from ledger import event as events
from ledger.beginning import Base
from ledger.cid import Cid
from ledger.dag import place_of
from ledger.database import corrupt, execute_many, lookup, reading, writing
from ledger.errors import RemoteError
from ledger.event import Event
from ledger.forks import PROOF_SIZE_MAX, ForkProof
from ledger.genesis import Genesis
from ledger.heads import Lane, Place
from ledger.lanes import LaneRecorder, row_of
from ledger.tables import ANCESTOR, EVENT, FORK_PROOF, HEAD, RIVAL

IDS_AT_ONCE: Final = 300
"""Ids in one lookup, each asked for up to three times: SQLite allows 999 variables on old builds."""

WIRES_AT_ONCE: Final = 64
"""Events read together where there may be very many: 4 MB, if all bodies are as large as they may be."""

RIVALS_READ_MAX: Final = 4_096 * 64
"""Rows of rivals looked through at a start: as many as there may be at the places that are kept
(`ledger.rivals`), if each has all rivals that a lane may have."""


class EventRows:
    def __init__(self, engine: sa.Engine, genesis: Genesis) -> None:
        """What `Store` begins with."""
        self.engine = engine
        self.genesis = genesis
        self.net = genesis.net
        self._events = LaneRecorder(engine, self.net)
        self._dirty = False
        with reading(engine) as connection:
            self.base: Final[Base | None] = beginning.base(connection)
            with self._ours("a run of leaves"):
                self._given = tiles.Given(connection)

    def add(self, new: Sequence[Event], *, rivals: Sequence[Event] = ()) -> None:
        """Make events durable: one transaction, on the disk on return.

        `new` extend their lanes (each the next seq); `rivals` are at a place that is taken, or follow such a
        one. Nothing may be here already. Raises StoreFull; AssertionError when the caller got places wrong.
        """
        if not new and not rivals:
            return
        try:
            with self._writing() as connection:
                self._events.insert(connection, new)
                execute_many(connection, _ADD_RIVALS, [row_of(event) for event in rivals])
        except sa.exc.IntegrityError as error:
            raise AssertionError(
                f"an event is stored already, or its place is taken: {error.orig}"
            ) from error
        self._events.notify()

    def add_ancestors(self, old: Sequence[Event]) -> None:
        """Make events durable that were ordered at or below the snapshot, because later ones name them."""
        if old:
            with self._writing() as connection:
                execute_many(connection, _ADD_ANCESTORS, [row_of(event) for event in old])

    def ordered_below(self, ids: Iterable[Cid]) -> set[Cid]:
        """Those that were ordered at or below the snapshot that this store began from."""
        leaves = {merkle.leaf_hash(id): id for id in ids} if self.base is not None else {}
        if not leaves:
            return set()
        with reading(self.engine) as connection, self._ours("a run of leaves"):
            return {leaves[leaf] for leaf in self._given.held(connection, leaves)}

    def chain_at(self, places: Iterable[tuple[bytes, int, int]]) -> Iterator[Event]:
        """What is in a lane at each of these (by, lane, seq), where something is. Below the snapshot it comes
        without its body, and perhaps with a rival of it. Raises StoreCorrupt."""
        wanted = list(dict.fromkeys(places))
        tables = (EVENT,) if self.base is None else (EVENT, ANCESTOR)
        with reading(self.engine) as connection, self._ours("an event"):
            for start in range(0, len(wanted), IDS_AT_ONCE):
                some = wanted[start : start + IDS_AT_ONCE]
                values = tuple(value for place in some for value in place)
                for table in tables:
                    query = _at_places(connection.dialect, table, len(some))
                    for id, wire in connection.exec_driver_sql(query, values):
                        event = events.parse(wire, net=self.net, verify_signature=False)
                        if event.id != id:  # it would become half of a proof that proves nothing
                            raise corrupt(self._name, f"an event reads as {event.id}, which it is not")
                        yield event

    def rival_lanes(self) -> set[Lane]:
        """The lanes that have rivals here."""
        with reading(self.engine) as connection:
            rows = connection.execute(sa.select(RIVAL.c.by, RIVAL.c.lane).distinct())
            return {(row.by, row.lane) for row in rows}

    def late_rivals(self, count: int) -> Iterator[Event]:
        """Those that were the first rival at their place: the newest `count`, oldest first. Raises
        StoreCorrupt."""
        newest = sa.select(sa.func.max(RIVAL.c.position)).scalar_subquery()
        first = sa.func.min(RIVAL.c.position)
        among = (
            sa.select(first)
            .where(RIVAL.c.position > newest - RIVALS_READ_MAX)
            .group_by(RIVAL.c.by, RIVAL.c.lane, RIVAL.c.seq)
            .order_by(first.desc())
            .limit(count)
        )
        query = sa.select(RIVAL.c.wire).where(RIVAL.c.position.in_(among)).order_by(RIVAL.c.position)
        with reading(self.engine) as connection, self._ours("a rival"):
            for wire in connection.execution_options(yield_per=WIRES_AT_ONCE).execute(query).scalars():
                yield events.parse(wire, net=self.net, verify_signature=False)

    def wires(self, ids: Iterable[Cid]) -> dict[Cid, bytes]:
        """The wire bytes of those that are here, rivals included; without bodies where those were pruned."""
        return {Cid(id): wire for id, wire in self._by_id(ids, "wire", tables=self._everywhere)}

    def places(self, ids: Iterable[Cid]) -> dict[Cid, Place]:
        """The places of those that are here, rivals included."""
        return {
            Cid(id): Place(by, lane, seq, lc, ts)
            for id, by, lane, seq, lc, ts in self._by_id(
                ids, "by", "lane", "seq", "lc", "ts", tables=self._everywhere
            )
        }

    def require_places(self, places: Mapping[Cid, Place]) -> None:
        """Compare places with the bytes of those events that are here.

        Places are kept beside the bytes, and no hash protects them. Raises StoreCorrupt: so that nobody is
        blamed, and nothing of our own is said, for a bit that our disk lost.
        """
        for id, wire in self.wires(places).items():
            try:
                event = events.parse(wire, net=self.genesis.net, verify_signature=False)
            except RemoteError as error:
                raise corrupt(self._name, f"the event {id}: {error}") from error
            if event.id != id or place_of(event) != places[id]:
                raise corrupt(self._name, f"the event {id} stands at {place_of(event)}, not at {places[id]}")

    def heads(self) -> dict[tuple[bytes, int], tuple[int, Cid]]:
        """(device key, lane) -> (seq, id) of its newest event; rivals do not count."""
        with reading(self.engine) as connection:
            return {(row.by, row.lane): (row.seq, Cid(row.id)) for row in connection.execute(sa.select(HEAD))}

    def lane_range(self, by: bytes, lane: int, first: int, last: int, *, bytes_max: int) -> list[bytes]:
        """Wires of seq `first` to `last` of a lane, in order: at least one, then up to `bytes_max`.

        Nothing when the first is not here, which only a store that began from a snapshot lacks.
        """
        query = (
            sa.select(EVENT.c.seq, EVENT.c.wire)
            .where(EVENT.c.by == by, EVENT.c.lane == lane, EVENT.c.seq.between(first, last))
            .order_by(EVENT.c.seq)
        )
        wires: list[bytes] = []
        size = 0
        with reading(self.engine) as connection:
            for seq, wire in connection.execution_options(yield_per=WIRES_AT_ONCE).execute(query):
                size += len(wire)
                if (wires and size > bytes_max) or seq != first + len(wires):
                    break
                wires.append(wire)
        return wires

    def unordered(self) -> Iterator[Event]:
        """All events that no checkpoint has, rivals included: in order of lc, and of arrival where lc is the
        same. A few at a time are in memory. Raises StoreCorrupt."""
        listed = sa.union_all(
            *(
                sa.select(
                    table.c.id, table.c.lc, sa.literal_column(str(n)).label("table"), table.c.position
                ).where(table.c.height.is_(None))
                for n, table in enumerate(_LIVE)
            )
        ).order_by("lc", "table", "position")
        with reading(self.engine) as connection:
            ids = [Cid(id) for id in connection.execute(listed).scalars()]
        for start in range(0, len(ids), WIRES_AT_ONCE):
            some = ids[start : start + WIRES_AT_ONCE]
            wires = self.wires(some)
            with self._ours("an event without an order"):
                for id in some:
                    event = events.parse(wires.pop(id, b""), net=self.net, verify_signature=False)
                    if event.id != id:  # nobody would find it by the name that it has in memory
                        raise corrupt(self._name, f"an event reads as {event.id}, which it is not")
                    yield event

    def event_status(self, id: Cid) -> int | None:
        """The height at which the event became final; None when it is not, or is not here."""
        return next((height for _, height in self._by_id([id], "height")), None)

    def add_fork_proofs(self, proofs: Iterable[ForkProof]) -> None:
        """Keep the evidence, in one transaction. One proof for each pair of events is enough: a second one is
        dropped."""
        rows = [(*map(bytes, proof.ids), proof.encode()) for proof in proofs]
        if rows:
            with self._writing() as connection:
                connection.exec_driver_sql(_proof_insertion(connection.dialect), rows)

    def fork_proofs(self) -> list[ForkProof]:
        """All proofs, sorted by the events they are about. Raises StoreCorrupt."""
        return self._fork_proofs(sa.select(FORK_PROOF.c.proof))

    def fork_proofs_after(self, ids: tuple[Cid, Cid] | None, limit: int) -> list[ForkProof]:
        """The next ones in that order; None: from the first. Raises StoreCorrupt."""
        query = sa.select(FORK_PROOF.c.proof).limit(limit)
        if ids is not None:
            query = query.where(sa.tuple_(FORK_PROOF.c.one, FORK_PROOF.c.other) > tuple(map(bytes, ids)))
        return self._fork_proofs(query)

    def _fork_proofs(self, query: sa.Select[Any]) -> list[ForkProof]:
        query = query.order_by(FORK_PROOF.c.one, FORK_PROOF.c.other)
        with reading(self.engine) as connection, self._ours("a fork proof"):
            return [
                canonical.decode_as(ForkProof, proof, size_max=PROOF_SIZE_MAX)
                for proof in connection.execute(query).scalars()
            ]

    @property
    def events(self) -> LaneRecorder:
        """The signed events through eventsourcing's recorder interface."""
        return self._events

    # -------------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self.engine.url.render_as_string(hide_password=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction; the first one also notes that the store is in use."""
        with writing(self.engine) as connection:
            if not self._dirty:
                opening.mark(connection, clean=False)
            yield connection
        self._dirty = True

    @contextlib.contextmanager
    def _ours(self, what: str) -> Iterator[None]:
        """What we wrote and cannot read is damage, not somebody's bad input. It need not even be bytes."""
        try:
            yield
        except (RemoteError, TypeError, OverflowError) as error:
            raise corrupt(self._name, f"{what}: {error}") from error

    @property
    def _everywhere(self) -> tuple[sa.Table, ...]:
        return _LIVE if self.base is None else (*_LIVE, ANCESTOR)

    def _by_id(
        self, ids: Iterable[Cid], *columns: str, tables: Sequence[sa.Table] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """(id, *columns) of those that are here, whether in `event` or in `rival` (or in these tables)."""
        among = tables or _LIVE
        wanted = [bytes(id) for id in dict.fromkeys(ids)]
        with reading(self.engine) as connection:
            for start in range(0, len(wanted), IDS_AT_ONCE):
                some = wanted[start : start + IDS_AT_ONCE]
                query = lookup(connection.dialect, among, ("id", *columns), len(some))
                yield from connection.exec_driver_sql(query, tuple(some) * len(among))


_LIVE: Final = (EVENT, RIVAL)
_ADD_RIVALS: Final = RIVAL.insert()
_ADD_ANCESTORS: Final = ANCESTOR.insert()


def _at_places(dialect: sa.Dialect, table: sa.Table, count: int) -> str:
    """As driver's text, as `ledger.database.lookup` is.

    Asked whether a place is one of so many, SQLite reads the whole table once. Where there is an index it had
    better go by the places, one after the other: CROSS JOIN makes it do so.
    """
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    places = "VALUES " + ", ".join([f"({mark}, {mark}, {mark})"] * count)
    if table is ANCESTOR:
        return f'SELECT id, wire FROM {table.name} WHERE ("by", lane, seq) IN ({places})'
    return f"""
        WITH place ("by", lane, seq) AS ({places})
        SELECT t.id, t.wire FROM place p CROSS JOIN {table.name} t
        WHERE t."by" = p."by" AND t.lane = p.lane AND t.seq = p.seq
    """


def _proof_insertion(dialect: sa.Dialect) -> str:
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    return f"""
        INSERT INTO {FORK_PROOF.name} (one, other, proof) VALUES ({mark}, {mark}, {mark})
        ON CONFLICT (one, other) DO NOTHING
    """
