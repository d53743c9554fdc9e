"""Audit: replay an archive from genesis, trusting nobody, and say where it stops being true.

    1  every block has the hash it is named by, and stands where an archive has it          (`car`, `archive`)
    2  genesis is the network asked for, and the last root
    3  each checkpoint follows its parent (height, epoch, slot, T, validators), and the certificate that shows
       the parent is signed by more than two thirds of the stake of the parent's epoch; where it names new
       validators for the next epoch, their list follows                                     (`finality`)
    4  each event is canonical, within the limits, signed by its author, and its body is the one it names
    5  its parents are known, and seq, prev, lc and ts are what they must be                 (`dag`)
    6  the delta is exactly what the tips reach, in canonical order, within the limits       (`order`)
    7  executing it gives the roots that the checkpoint claims                               (`cut`)
    8  the last checkpoint is the first root, and final by the certificate at the end

Knows the whole of the ledger's rules, and the meaning of events through `Rules`. Does not know the store, the
network, or any node's word.

What must always hold: a report is `ok` only if all of the above held for every byte of the archive. What the
report counts was verified, also when it is not `ok`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ledger import archive, canonical, cut, finality, order
from ledger import event as events
from ledger import genesis as geneses
from ledger.archive import Entry, Kind
from ledger.car import Block
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cid import Cid
from ledger.dag import check_structure, place_of
from ledger.errors import RemoteError, UsageError
from ledger.event import Event
from ledger.execution import Rules
from ledger.genesis import Genesis
from ledger.heads import Place
from ledger.merkle import Frontier
from ledger.state import State
from ledger.validators import epoch_length, genesis_set, parse_set, validators_of

SIGNATURE_BLOCK_SIZE_MAX: Final = 128


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


def audit(source: bytes | Path | BinaryIO, rules: Rules, *, net: Cid | None) -> AuditReport:
    """Check an archive (its bytes, a path, or an open binary file). `net` None: of any network.

    Never raises for what is in the archive. Raises UsageError (`no_archive`) when the file cannot be read.
    """
    if isinstance(source, bytes):
        return _Audit(rules, net).run(io.BytesIO(source))
    if not isinstance(source, Path):
        return _Audit(rules, net).run(source)
    try:
        with source.open("rb") as stream:
            return _Audit(rules, net).run(stream)
    except OSError as error:
        raise UsageError(
            f"cannot read {source}: {error.strerror}",
            code="no_archive",
            next_step="give the path of an archive",
        ) from error


class _Audit:
    """One run. `_reading`, `_block` and `_id` say what is in hand, so that any refusal can be placed."""

    def __init__(self, rules: Rules, net: Cid | None) -> None:
        self._rules = rules
        self._wanted = net
        self._net: Cid | None = None
        self._reading = "the header of the archive"
        self._block: Block | None = None
        self._id: Cid | None = None
        self._entries: Iterator[Entry] = iter(())
        self._places: dict[Cid, Place] = {}
        self._state = State()
        self._frontier = Frontier()
        self._last: Checkpoint | None = None
        self._root = b""
        self._named: Cid | None = None
        self._events = 0

    def run(self, stream: BinaryIO) -> AuditReport:
        problem = None
        try:
            self._replay(stream)
        except RemoteError as error:
            problem = Problem(error.code, str(error), self._where())
        return AuditReport(
            ok=problem is None,
            net=self._net,
            events=self._events,
            height=self._height,
            event_root=self._frontier.root(),
            state_root=self._root,
            problem=problem,
        )

    @property
    def _height(self) -> int:
        return 0 if self._last is None else self._last.height

    def _replay(self, stream: BinaryIO) -> None:
        roots, self._entries = archive.read(stream)
        genesis = self._begin(roots)
        ended = False
        while (entry := self._next("checkpoint")) is not None:
            if entry.kind == "checkpoint":
                self._advance(genesis, entry.block)
            else:
                self._conclude(entry.block)
                ended = True
        self._reading, self._block = "the header of the archive", None
        expected = (genesis.net,) if self._last is None else (self._last.id, genesis.net)
        if roots != expected or ended is (self._last is None):
            raise RemoteError("its roots are not its last checkpoint and its genesis", code="bad_archive")

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
        self._root = self._state.seal().root
        return genesis

    def _advance(self, genesis: Genesis, block: Block) -> None:
        """Steps 3 to 7 for one height. What is verified is only noted at the end."""
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
        self._reading, self._block = f"height {checkpoint.height}, all of it", block
        self._check_cut(checkpoint, new)
        context = finality.next_context(genesis, parent, certificate, self._state)
        outcome = cut.execute_cut(self._rules, self._state, self._frontier, new, context, length)
        wrong = cut.differences(checkpoint, outcome)
        if wrong:
            raise RemoteError(f"executing it gives another {', '.join(wrong)}", code="wrong_roots")
        self._state, self._frontier, self._root = outcome.state, outcome.frontier, outcome.sroot
        self._last = checkpoint
        self._events += len(new)

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
        block = self._take("delta")
        if block.cid != checkpoint.delta:
            raise RemoteError(
                f"not the delta that the checkpoint names, {checkpoint.delta}", code="bad_delta"
            )
        return [self._event(id, checkpoint.net) for id in archive.parse_delta(block)]

    def _event(self, id: Cid, net: Cid) -> Event:
        """Steps 4 and 5. Its parents come before it, in canonical order."""
        header, signature, body = self._take("event"), self._take("signature"), self._take("body")
        self._id, self._block = id, header
        if header.cid != id or id in self._places:
            raise RemoteError("not the event that the delta has here, or once more", code="bad_delta")
        record = canonical.decode(signature.data, size_max=SIGNATURE_BLOCK_SIZE_MAX)
        if type(record) is not dict or record.keys() != {"h", "s"} or record["h"] != id:
            raise RemoteError("not followed by its signature", code="bad_signature")
        wire = canonical.encode({"h": header.data, "s": record["s"], "b": body.data})
        event = events.parse(wire, net=net)
        if (
            unknown := next((parent for parent in event.parents if parent not in self._places), None)
        ) is not None:
            raise RemoteError(f"its parent {unknown} is not before it", code="not_closed")
        check_structure(event, self._places)
        self._places[id] = place_of(event)
        return event

    def _check_cut(self, checkpoint: Checkpoint, new: list[Event]) -> None:
        """Step 6. Raises RemoteError (`bad_delta`, `cut_too_large`)."""
        unknown = next((tip for tip in checkpoint.tips if tip not in self._places), None)
        if unknown is not None:
            raise RemoteError(f"its tip {unknown} is not in the archive", code="bad_delta")
        nodes = {event.id: order.node_of(event) for event in new}
        parent = checkpoint.net if checkpoint.parent is None else checkpoint.parent
        if order.cut_at(checkpoint.tips, nodes, parent).order != tuple(nodes):
            raise RemoteError("not what the tips reach, in canonical order", code="bad_delta")

    def _take(self, kind: Kind) -> Block:
        entry = self._next(kind)
        if entry is None:
            raise RemoteError("the archive ends here", code="bad_archive")
        assert entry.kind == kind, f"{entry.kind} where a {kind} was read"
        return entry.block

    def _next(self, kind: Kind) -> Entry | None:
        """The next entry, which should be of this kind (or, for a checkpoint, be the end)."""
        self._reading, self._block, self._id = f"height {self._height + 1}, {kind}", None, None
        entry = next(self._entries, None)
        if entry is not None:
            self._reading = f"height {self._height + 1}, {entry.kind}"
            self._block = entry.block
        return entry

    def _where(self) -> str:
        """Height, event and block in hand, as text; made only when there is something to say."""
        parts = [self._reading]
        if self._id is not None:
            parts.append(f"event {self._id}")
        if self._block is not None:
            parts.append(self._block.where)
        return ", ".join(parts)
