"""A store made from an archive: the fast way to be where a network is.

The archive is audited first, or was before. After that nothing in it is in doubt, so this replay leaves out
what an audit is for: no signature, no structure, no order is looked at again, and the state's root is
compared at the end and not at each height. What is left is to execute each event and to write it down.

The store is built aside, without a journal, without its indexes and without waiting for the disk; made whole;
synced; and only then put where it was asked for (`opening.built`).

Knows archives, execution and the tables. What must always hold: the store is the one that a node would have
that took the same events in canonical order; its event tree and its state are those of its last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import sqlalchemy as sa

from ledger import archive, cut, finality, merkle, opening, outcomes
from ledger import event as events
from ledger import genesis as geneses
from ledger.archive import Delta, Entry, Section, SignedEvent
from ledger.car import Block
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.cut import checkpoint_leaf, execute_events
from ledger.database import blob, writing
from ledger.errors import RemoteError, UsageError
from ledger.event import Event
from ledger.execution import Rules
from ledger.forks import ForkProof
from ledger.garbage import seldom_collected
from ledger.genesis import Genesis
from ledger.heads import Head, Lane
from ledger.state import State
from ledger.tables import CHECKPOINT, EVENT, FORK_PROOF, HEAD, OUTCOME, RIVAL, STATE, SUBTREE
from ledger.tiles import Growing
from ledger.validators import epoch_length, with_next_set
from ledger.votes import Phase, decode_certificate

ROWS_AT_ONCE: Final = 10_000
"""Events in one call of the driver: some 5 MB of rows."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What is in the store now; `seconds` of this process's CPU time went where."""

    net: Cid
    height: int
    events: int
    seconds: dict[str, float]


def import_archive(path: Path, url: str, rules: Rules, *, net: Cid | None = None) -> Imported:
    """Make the store at `url`, which must not exist, from an archive that passed `audit`.

    Raises UsageError (`store_exists`, `no_archive`, …), StoreFull; RemoteError for an archive that cannot
    have passed. After an error there is no store.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            code="no_archive",
            next_step="give the path of an archive",
        ) from error
    with stream, seldom_collected(), opening.built(url) as (engine, indexed), writing(engine) as connection:
        return _Import(connection, rules).run(stream, net, url, indexed=indexed)


class _Timer:
    """CPU seconds of this process, by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.process_time()

    def spent_on(self, what: str) -> None:
        """The time since the last call."""
        now = time.process_time()
        self.seconds[what] = self.seconds.get(what, 0.0) + now - self._last
        self._last = now


class _Import:
    def __init__(self, connection: sa.Connection, rules: Rules) -> None:
        self._connection = connection
        self._rules = rules
        self._timer = _Timer()
        self._rows: dict[sa.Table, list[tuple[Any, ...]]] = {table: [] for table in _COLUMNS}
        self._heads: dict[Lane, Head] = {}
        self._rivals: dict[Lane, Event] = {}  # the first of each forked lane
        self._tree = Growing()
        self._frontier = self._tree.frontier()
        self._last: Checkpoint | None = None
        self._checkpoint: tuple[Any, ...] = ()  # its row, but for the certificate that makes it final
        self._final = b""
        self._events = 0
        self._chained = 0

    def run(self, stream: BinaryIO, net: Cid | None, url: str, *, indexed: bool) -> Imported:
        sections = archive.Sections(stream)
        genesis = geneses.parse(_block(sections).data)
        if net is not None and genesis.net != net:
            raise RemoteError(f"of network {genesis.net}, not {net}", code="wrong_network")
        opening.require_none(self._connection, url)
        opening.create_tables(self._connection, genesis, indexed=indexed)
        state = self._replay(genesis, sections)
        if sections.roots != ((genesis.net,) if self._last is None else (self._last.id, genesis.net)):
            raise RemoteError("its roots are not its last checkpoint and its genesis", code="bad_archive")
        self._finish(state, indexed=indexed)
        height = 0 if self._last is None else self._last.height
        return Imported(genesis.net, height, self._events, self._timer.seconds)

    def _replay(self, genesis: Genesis, sections: Iterator[Section]) -> State:
        """The state after the last height, without a root."""
        length = epoch_length(genesis)
        state = cut.genesis_state(self._rules, genesis)
        of_genesis, state = state.changes, state.settle()
        for section in sections:
            assert isinstance(section, Entry)
            if section.kind == "finality":
                self._final = section.block.data
                break
            checkpoint = parse_checkpoint(section.block.data, net=genesis.net)
            shown, delta = _up_to_delta(sections)
            new = [_event(id, sections) for id in delta.ids]
            self._timer.spent_on("read")
            certificate = decode_certificate(shown) if shown else None
            context = finality.next_context(genesis, self._last, certificate, state)
            state, receipts = execute_events(self._rules, state, new, context)
            state, close = self._rules.close(state, context)
            state = with_next_set(state, checkpoint.height, length)
            outcomes.record_sets(self._connection, {**of_genesis, **state.changes})
            of_genesis, state = {}, state.settle()
            self._timer.spent_on("execute")
            is_final = certificate is not None and certificate.phase == Phase.FINALIZE
            self._note_final(shown if is_final else None)
            self._note(checkpoint, shown, new, [receipt.encode() for receipt in (*receipts, close)])
            self._timer.spent_on("outcomes")
            if len(self._rows[EVENT]) >= ROWS_AT_ONCE:
                self._write()
        self._write()
        return state

    def _note(
        self, checkpoint: Checkpoint, shown: bytes, new: Sequence[Event], receipts: Sequence[bytes]
    ) -> None:
        """Everything that one height makes final, as rows."""
        leaf = checkpoint_leaf(checkpoint.height, checkpoint.sroot, checkpoint.rroot)
        for data in (*(event.id for event in new), leaf):
            self._tree.append(merkle.leaf_hash(data))
        self._frontier = self._tree.frontier()
        found = (self._tree.n, self._frontier.root(), merkle.root(list(map(merkle.leaf_hash, receipts))))
        if found != (checkpoint.n, checkpoint.eroot, checkpoint.rroot):
            raise RemoteError(
                f"height {checkpoint.height} gives another event tree or other receipts", code="wrong_roots"
            )
        height, first = checkpoint.height, checkpoint.n - len(new)
        ids: list[bytearray | None] = [*(blob(event.id) for event in new), None]
        for event in new:
            self._note_event(event, height)
        self._rows[OUTCOME] += [
            (place, height, id, blob(receipt))
            for place, (id, receipt) in enumerate(zip(ids, receipts, strict=True), first)
        ]
        data = checkpoint.encode()
        self._checkpoint = (height, bytes(Cid.of(data)), checkpoint.T, first, checkpoint.n, data, shown)
        self._rows[SUBTREE] += self._tree.full
        self._tree.full.clear()
        self._last = checkpoint
        self._events += len(new)

    def _note_final(self, final: bytes | None) -> None:
        """The last height's row, with the certificate that makes it final, if the archive has it: always for
        its own last height, and for others when it is the one that the next height names."""
        if self._last is not None:
            self._rows[CHECKPOINT].append((*self._checkpoint, final))

    def _note_event(self, event: Event, height: int) -> None:
        """On the chain of its lane, or as a rival: as if it had arrived in this order."""
        header, lane = event.header, event.lane
        head = self._heads.get(lane)
        place = (header.lane, header.seq, header.lc, header.ts)
        row = (blob(event.id), blob(header.by), *place, height, blob(event.wire))
        if header.seq == 0 if head is None else head == (header.seq - 1, header.prev):
            self._heads[lane] = (header.seq, event.id)
            self._chained += 1
            self._rows[EVENT].append((self._chained, *row))
        else:
            self._rivals.setdefault(lane, event)
            self._rows[RIVAL].append(row)

    def _write(self) -> None:
        for table, rows in self._rows.items():
            if rows:
                self._connection.exec_driver_sql(_insertion(table, self._connection.dialect), rows)
                rows.clear()
        self._timer.spent_on("insert")

    def _finish(self, state: State, *, indexed: bool) -> None:
        """What is written once: indexes, heads, evidence, the state, and roots of subtrees."""
        connection, last = self._connection, self._last
        state = state.rooted()
        if last is not None and state.root != last.sroot:
            raise RemoteError(f"the state has another root than at height {last.height}", code="wrong_roots")
        self._timer.spent_on("state")
        if not indexed:
            opening.add_indexes(connection)
        self._timer.spent_on("indexes")
        self._rows[HEAD] = [(*lane, seq, bytes(id)) for lane, (seq, id) in sorted(self._heads.items())]
        self._rows[FORK_PROOF] = [self._evidence(rival) for rival in self._rivals.values()]
        if last is not None:
            self._rows[STATE] = [(name, *row) for name in state.tables() for row in state.items(name)]
        self._note_final(self._final)
        self._write()
        if last is not None:
            opening.put(connection, "frontier", self._frontier.encode())
        self._timer.spent_on("insert")

    def _evidence(self, rival: Event) -> tuple[bytes, bytes, bytes]:
        by, lane = rival.lane
        place = sa.and_(EVENT.c.by == by, EVENT.c.lane == lane, EVENT.c.seq == rival.header.seq)
        wire = self._connection.execute(sa.select(EVENT.c.wire).where(place)).scalar_one()
        taken = events.parse(wire, net=rival.header.net, verify_signature=False)
        proof = ForkProof.of(taken, rival)
        one, other = proof.ids
        return bytes(one), bytes(other), proof.encode()


def _block(sections: Iterator[Section]) -> Block:
    section = next(sections)
    assert isinstance(section, Entry)
    return section.block


def _up_to_delta(sections: Iterator[Section]) -> tuple[bytes, Delta]:
    """The certificate of the parent, empty at height 1, and the delta; validators are in the state too."""
    shown = b""
    while not isinstance(section := next(sections), Delta):
        assert isinstance(section, Entry)
        if section.kind == "certificate":
            shown = section.block.data
    return shown, section


def _event(id: Cid, sections: Iterator[Section]) -> Event:
    parts = next(sections)
    assert isinstance(parts, SignedEvent)
    header, signature, body = parts
    if header.cid != id:
        raise RemoteError(f"{header.cid} in the place of {id}", code="bad_delta")
    return events.of_judged_parts(id, header.data, signature.data[-64:], body.data)


def _insertion(table: sa.Table, dialect: sa.Dialect) -> str:
    names = [f'"{name}"' for name in _COLUMNS[table]]
    marks = ["?" if dialect.paramstyle == "qmark" else "%s"] * len(names)
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(marks)})"


_COLUMNS: Final = {
    table: [column.name for column in table.columns if (table, column.name) != (RIVAL, "position")]
    for table in (EVENT, RIVAL, OUTCOME, CHECKPOINT, SUBTREE, HEAD, FORK_PROOF, STATE)
}
"""In the order of the rows that are made here; a rival's position counts by itself."""
