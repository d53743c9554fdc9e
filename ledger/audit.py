"""Audit: replay an archive from genesis, trusting nobody, and say where it stops being true.

    1  every block has the hash it is named by, and stands where an archive has it          (`car`, `archive`)
    2  genesis is the network asked for, and the last root
    3  each checkpoint follows its parent (height, epoch, slot, T, validators), and the certificate that shows
       the parent is signed by more than two thirds of the stake of the parent's epoch; where it names new
       validators for the next epoch, their list follows                                     (`finality`)
    4  each event is canonical, within the limits, signed by its author, and its body is the one it names
    5  its parents are known, and seq, prev, lc and ts are what they must be                 (`dag`)
    6  the tips are the heads of this cut, and the delta is exactly what they reach, in canonical order,
       within the limits                                                                     (`order`)
    7  executing it gives the roots that the checkpoint claims                               (`cut`)
    8  the last checkpoint is the first root, and final by the certificate at the end

Knows the whole of the ledger's rules, and the meaning of events through `Rules`. Does not know the store, the
network, or any node's word.

Step 4 and the hashes of events, more than half of the work, ask nothing of the state: with `jobs` other
processes do them meanwhile (`ledger.ahead`), and what is executed here was judged there. That way only says
yes. At the first thing that is not as it should be the audit begins again, in one process, which looks at one
thing after the other and says what is wrong first. So a report never depends on who was quicker.

What must always hold: a report is `ok` only if all of the above held for every byte of the archive. What the
report counts was verified, also when it is not `ok`. The report, with the first problem in it, is the one of
an audit that verifies one event after the other, whatever `jobs` is.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ledger import archive, cut, finality, order
from ledger import genesis as geneses
from ledger.ahead import Ahead
from ledger.archive import Delta, Entry, Kind, Section, SignedEvent
from ledger.car import Block
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.dag import check_structure, place_of
from ledger.errors import RemoteError, UsageError
from ledger.event import Event
from ledger.events_of_archives import judged
from ledger.execution import Rules
from ledger.garbage import seldom_collected
from ledger.genesis import Genesis
from ledger.heads import Place
from ledger.merkle import Frontier
from ledger.state import State
from ledger.validators import epoch_length, genesis_set, parse_set, validators_of
from ledger.verifying_processes import Judges, worth


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong and where; `code` is a public word."""

    code: str
    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} (code {self.code})"


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was verified: `height` and `events` up to there, with the roots (32 bytes) after it.

    `ok`: all of the archive is true. Otherwise `problem` is the first thing that is not.
    """

    ok: bool
    net: Cid | None
    events: int
    height: int
    event_root: bytes
    state_root: bytes
    problem: Problem | None


def audit(source: bytes | Path | BinaryIO, rules: Rules, *, net: Cid | None, jobs: int = 1) -> AuditReport:
    """Check an archive (its bytes, a path, or an open binary file). `net` None: of any network.

    `jobs` is the number of processes, this one included. Never raises for what is in the archive. Raises
    UsageError (`no_archive`) when the file cannot be read.
    """
    if isinstance(source, bytes):
        return _audit(io.BytesIO(source), rules, net, jobs)
    if not isinstance(source, Path):
        return _audit(source, rules, net, jobs)
    try:
        with source.open("rb") as stream:
            return _audit(stream, rules, net, jobs)
    except OSError as error:
        raise UsageError(
            f"cannot read {source}: {error.strerror}",
            code="no_archive",
            next_step="give the path of an archive",
        ) from error


def _audit(stream: BinaryIO, rules: Rules, net: Cid | None, jobs: int) -> AuditReport:
    with seldom_collected():
        if jobs > 1 and stream.seekable():
            begin = stream.tell()
            size = stream.seek(0, io.SEEK_END) - begin
            stream.seek(begin)
            with Judges(worth(jobs, size)) as judges:
                report = _Audit(rules, net, judges).run(stream)
            if report.ok:
                return report
            stream.seek(begin)
        return _Audit(rules, net).run(stream)


class _Audit:
    """One run. `_reading`, `_block` and `_id` say what is in hand, so that any refusal can be placed.

    `_last`, `_state` and `_frontier` are where execution is; `_true` is up to where everything is verified.
    With `judges` events come judged, and what is wrong first may not be what is said.
    """

    def __init__(self, rules: Rules, net: Cid | None, judges: Judges | None = None) -> None:
        self._rules = rules
        self._wanted = net
        self._judges = judges
        self._net: Cid | None = None
        self._reading: str | None = None  # empty: what `_sections` reads; None: the header of the archive
        self._block: Block | None = None
        self._id: Cid | None = None
        self._places: dict[Cid, Place] = {}
        self._state = State()
        self._frontier = Frontier()
        self._last: Checkpoint | None = None
        self._named: Cid | None = None
        self._true = (0, 0, Frontier(), b"")  # events, height, event tree and state root

    def run(self, stream: BinaryIO) -> AuditReport:
        problem = None
        try:
            self._replay(stream)
        except RemoteError as error:
            problem = Problem(error.code, str(error), self._where())
        count, height, frontier, root = self._true
        return AuditReport(
            ok=problem is None,
            net=self._net,
            events=count,
            height=height,
            event_root=frontier.root(),
            state_root=root,
            problem=problem,
        )

    @property
    def _height(self) -> int:
        return 0 if self._last is None else self._last.height

    def _replay(self, stream: BinaryIO) -> None:
        self._sections = self._opened(stream)
        roots = self._sections.roots
        genesis = self._begin(roots)
        ended = False
        while (entry := self._next_entry()) is not None:
            if entry.kind == "checkpoint":
                self._advance(genesis, entry.block)
            else:
                self._conclude(entry.block)
                ended = True
        self._reading, self._block = None, None
        expected = (genesis.net,) if self._last is None else (self._last.id, genesis.net)
        if roots != expected or ended is (self._last is None):
            raise RemoteError("its roots are not its last checkpoint and its genesis", code="bad_archive")

    def _opened(self, stream: BinaryIO) -> archive.Sections | Ahead:
        if self._judges is None:
            return archive.Sections(stream)
        return Ahead(archive.Sections(stream, reads_events=False), self._judges)

    def _begin(self, roots: tuple[Cid, ...]) -> Genesis:
        """Step 2. The root is compared first: it tells a damaged genesis from another network."""
        genesis = geneses.parse(self._take("genesis").data)
        if not roots or genesis.net != roots[-1]:
            raise RemoteError("it is not what the last root of the archive names", code="bad_archive")
        if self._wanted is not None and genesis.net != self._wanted:
            raise RemoteError(f"of network {genesis.net}, not {self._wanted}", code="wrong_network")
        self._net = genesis.net
        self._named = genesis_set(genesis).id
        try:
            self._state = cut.genesis_state(self._rules, genesis)
        except UsageError as error:  # a network whose rules this program does not have
            raise RemoteError(str(error), code=error.code) from error
        self._true = (0, 0, Frontier(), self._state.seal().root)
        return genesis

    def _advance(self, genesis: Genesis, block: Block) -> None:
        """Steps 3 to 7 for one height."""
        parent, length = self._last, epoch_length(genesis)
        self._check_validators(parse_checkpoint(block.data, net=genesis.net))
        shown = b"" if parent is None else self._take("certificate").data
        self._block = block
        checkpoint, _ = finality.parse_link(block.data, shown, net=genesis.net)
        judges = None if parent is None else validators_of(self._state, parent.epoch)
        certificate = finality.check_shown(checkpoint, shown, parent, judges, length)
        wrong = finality.misfits(
            checkpoint, finality.follows(genesis, parent, certificate, self._state), parent
        )
        if wrong:
            raise RemoteError(f"it cannot follow its parent: wrong {', '.join(wrong)}", code="bad_checkpoint")
        new = self._delta(checkpoint)
        self._reading, self._block = "all of it", block
        self._check_cut(checkpoint, new)
        context = finality.next_context(genesis, parent, certificate, self._state)
        outcome = cut.execute_cut(self._rules, self._state, self._frontier, new, context, length)
        wrong = cut.differences(checkpoint, outcome)
        if wrong:
            raise RemoteError(f"executing it gives another {', '.join(wrong)}", code="wrong_roots")
        self._state, self._frontier, self._last = outcome.state, outcome.frontier, checkpoint
        self._true = (len(self._places), checkpoint.height, outcome.frontier, outcome.sroot)

    def _check_validators(self, checkpoint: Checkpoint) -> None:
        """For readers that do not execute: an archive has the next epoch's validators where they are new."""
        if checkpoint.vnext == self._named:
            return
        block = self._take("validators")
        if block.cid != checkpoint.vnext:
            raise RemoteError("not the validators that the checkpoint names", code="bad_validators")
        parse_set(block.data)
        self._named = checkpoint.vnext

    def _conclude(self, block: Block) -> None:
        """Step 8: the proof that all of it is final."""
        if self._last is None:
            raise RemoteError("a certificate of nothing", code="bad_archive")
        finality.check_final(self._last, block.data, validators_of(self._state, self._last.epoch))

    def _delta(self, checkpoint: Checkpoint) -> list[Event]:
        delta = self._next()
        assert isinstance(delta, Delta)
        self._block = delta.block
        if delta.block.cid != checkpoint.delta:
            raise RemoteError(
                f"not the delta that the checkpoint names, {checkpoint.delta}", code="bad_delta"
            )
        return [self._event(id, checkpoint.net) for id in delta.ids]

    def _event(self, id: Cid, net: Cid) -> Event:
        """Steps 4 and 5. Its parents come before it, in canonical order."""
        event = self._judged(id, net)
        places = self._places
        for parent in event.parents:
            if parent not in places:
                raise RemoteError(f"its parent {parent} is not before it", code="not_closed")
        check_structure(event, places)
        places[id] = place_of(event)
        return event

    def _judged(self, id: Cid, net: Cid) -> Event:
        """Step 4, done here or elsewhere."""
        section = self._next()
        self._id = id
        if isinstance(section, Event):
            self._require_next(section.id, id)
            return section
        assert isinstance(section, SignedEvent)
        header, signature, body = section
        self._block = header
        self._require_next(header.cid, id)
        return judged(id, header.data, signature.data, body.data, body.cid, net=net)

    def _require_next(self, found: Cid, id: Cid) -> None:
        if found != id or id in self._places:
            raise RemoteError("not the event that the delta has here, or once more", code="bad_delta")

    def _check_cut(self, checkpoint: Checkpoint, new: list[Event]) -> None:
        """Step 6. Raises RemoteError (`bad_delta`, `bad_checkpoint`, `cut_too_large`)."""
        unknown = next((tip for tip in checkpoint.tips if tip not in self._places), None)
        if unknown is not None:
            raise RemoteError(f"its tip {unknown} is not in the archive", code="bad_delta")
        nodes = {event.id: order.node_of(event) for event in new}
        parent = checkpoint.net if checkpoint.parent is None else checkpoint.parent
        if order.cut_at(checkpoint.tips, nodes, parent).order != tuple(nodes):
            raise RemoteError("not what the tips reach, in canonical order", code="bad_delta")

    def _take(self, kind: Kind) -> Block:
        entry = self._next_entry()
        if entry is None:
            raise RemoteError("the archive ends here", code="bad_archive")
        assert entry.kind == kind, f"{entry.kind} where a {kind} was read"
        return entry.block

    def _next_entry(self) -> Entry | None:
        entry = self._next()
        if entry is not None:
            assert isinstance(entry, Entry)
            self._block = entry.block
        return entry

    def _next(self) -> Section | Event | None:
        """None at the end of the archive."""
        self._reading, self._block, self._id = "", None, None
        return next(self._sections, None)

    def _where(self) -> str:
        """Height, event and block in hand, as text; made only when there is something to say."""
        if self._reading is None:
            return _place("the header of the archive", None, self._block)
        reading = self._reading or self._sections.reading
        return _place(f"height {self._height + 1}, {reading}", self._id, self._block)


def _place(reading: str, id: Cid | None, block: Block | None) -> str:
    parts = [reading]
    if id is not None:
        parts.append(f"event {id}")
    if block is not None:
        parts.append(block.where)
    return ", ".join(parts)
