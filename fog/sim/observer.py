"""The observer: sees every node, every message and every disk, and holds them to the invariants.

It keeps the one chain that honest nodes make final, as the first of them had it, and compares everybody with
it. It computes nothing with the code of the replica that it could be wrong together with: places, effective
events and trees are kept here once more, from receipts and bytes.

What must always hold: a run ends at the first invariant that breaks, and the report says which and where.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from domain.payloads import EvidenceFork, EvidenceVotes, EvidenceWarrant
from fog.sim import invariants
from fog.sim.ground import EVENTS, Ground
from fog.sim.invariants import SENTENCES
from fog.sim.promptness import Promptness
from fog.sim.voters import NOWHERE, Spot, VoteLog
from ledger import canonical, cut, merkle, order
from ledger import event as events
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.cut import FORK_VOID, CheckpointLeaf
from ledger.errors import RemoteError
from ledger.event import Event, Header
from ledger.execution import Receipt
from ledger.finality import Diverged
from ledger.heads import Place
from ledger.pending import FUTURE_MS_MAX

if TYPE_CHECKING:
    from fog.accuser import Evidence
    from fog.sim.node import Node


class Violation(Exception):
    """An invariant broke. `name` is one of `invariants.SENTENCES`."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name} ({SENTENCES[name]}): {what}")
        self.name = name
        self.what = what


@dataclass(frozen=True)
class Final:
    """One height as the first honest node had it; `leaves` is how many the tree has after it."""

    id: Cid
    checkpoint: Checkpoint
    first: str
    order: tuple[Cid, ...]


class Observer:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.chain: list[Final] = []
        self.leaves: list[bytes] = []
        self.places: dict[Cid, Place] = {}
        self.height_of: dict[Cid, int] = {}
        self.receipts: dict[Cid, Receipt] = {}
        self.valid: dict[Cid, tuple[Event, int]] = {}  # what honest people said, and when (run ms)
        self.votes = VoteLog(ground.genesis)
        self.escrows = invariants.Escrows()
        self.promptness = Promptness()
        self.eclipsed: dict[int, int] = {}  # victim -> the liar who is its only neighbour
        self.crashes: Counter[int] = Counter()
        self.on_crash: Callable[[Node], None] = lambda node: None
        self._effective: dict[tuple[bytes, int, int], Cid] = {}
        self.open: dict[Cid, None] = {}  # those of `valid` that are not final
        self._statements: dict[tuple[bytes, int, int], Cid] = {}
        self._ends: dict[tuple[bytes, int], int] = {}  # lane -> the last place that its people spoke at
        self._lost: dict[int, dict[tuple[bytes, int], int]] = {}  # node -> its ends when it lost its disk
        self._copied: dict[int, Spot] = {}  # node -> where it had voted when its disk became an older copy
        self._kept: dict[int, int] = {}  # node -> height that its disk holds for sure
        self._foretold: dict[int, Cid] = {}  # heights that so far only somebody has who began from one
        self._states: set[bytes] = set()  # roots of states that were looked at

    # -- what nodes tell ---------------------------------------------------------------------------------

    def started(self, node: Node) -> None:
        """I5 across starts: what was final on this disk is final again."""
        if node.is_liar:
            return
        kept = self._kept.get(node.index, 0)
        if node.replica.height < kept:
            self.broken("I5", f"node {node.index} had height {kept} and starts with {node.replica.height}")
        self.compare(node, max(1, node.replica.height))

    def disk_replaced(self, node: Node, *, copied: bool) -> None:
        """By an older copy, or an empty one: what it held is no longer promised, and what it said on its lane
        until now may be contradicted. Its votes may not, unless it is `copied` from what is older than its
        word: no disk can know that, so such a validator counts among the faulty (README, "Known holes"), as
        far as it had voted."""
        key = node.key.public
        if copied:
            self._copied[node.index] = self.votes.last(key)
        self._kept[node.index] = 0
        ends = {lane: seq for lane, (seq, _) in node.replica.heads.items() if lane[0] == key}
        for lane in [lane for lane in self._ends if lane[0] == key]:  # beside what was durable and not said
            ends[lane] = max(self._ends[lane], ends.get(lane, 0))
        self._lost[node.index] = ends

    def has_lost(self, node: Node) -> bool:
        """Whether its disk was ever replaced."""
        return node.index in self._lost

    def begun(self, node: Node, height: int) -> None:
        """From a snapshot, and somebody trusted had this height (I5: so it has it too)."""
        self._ground.counts["begun_from_snapshot"] += 1
        if not node.is_liar:
            self._kept[node.index] = height

    def crashed(self, node: Node) -> None:
        self.crashes[node.index] += 1
        self.on_crash(node)

    def fault(self, node: Node, error: AssertionError) -> None:
        if node.is_liar:
            return
        if isinstance(error, Diverged):
            self.broken("I3", f"node {node.index}: {error}")
        self.broken("fault", f"node {node.index}: {type(error).__name__}: {error}", error)

    def stray(self, node: Node, error: Exception) -> None:
        """Something that no peer and no operator may bring about; at a liar, a fault of the simulator."""
        self.broken("fault", f"node {node.index}: {type(error).__name__}: {error}", error)

    def blamed(self, node: Node, source: int, code: str) -> None:
        self._ground.counts[f"blamed.{code}"] += 1
        blamed = self._ground.nodes[source]
        if node.is_damaged or (blamed.is_damaged and not blamed.is_liar):
            self._ground.counts["damage_blamed"] += 1  # by peers, or by whose disk misleads it
        elif not node.is_liar and not blamed.is_liar:
            self.broken("blame", f"node {node.index} blames node {source} for {code}")

    def accused(self, node: Node, evidence: Evidence) -> bool:
        """Whether `node` may accuse whoever it holds this proof of (I11)."""
        net = self._ground.genesis.net
        match evidence:
            case EvidenceVotes(one):
                offender = self._honest(one.by)
                is_excused = offender is not None and self._may_contradict(offender, one.vote.place)
            case EvidenceFork(proof):
                header = proof.header(net)
                offender = self._honest(header.by)
                is_excused = offender is not None and self._may_fork(offender, header)
            case EvidenceWarrant(warrant):
                offender = self._honest(warrant.header(net).by)
                is_excused = offender is not None and self.has_lost(offender)
        if offender is not None and not (node.is_liar or node.is_damaged or is_excused):
            self.broken("I11", f"node {node.index} has proof against node {offender.index}: {evidence}")
        return offender is None

    def _may_contradict(self, node: Node, at: Spot) -> bool:
        return at <= self._copied.get(node.index, NOWHERE)

    def _may_fork(self, node: Node, header: Header) -> bool:
        return header.seq <= self._lost.get(node.index, {}).get((header.by, header.lane), -1)

    def _honest(self, key: bytes) -> Node | None:
        nodes = [node for node in self._ground.nodes if node.key.public == key and not node.is_liar]
        return nodes[0] if nodes else None

    def _is_spotless(self, key: bytes, offence: str) -> bool:
        """Whether this is the key of an honest node, to whose disk nothing happened that excuses that."""
        node = self._honest(key)
        return node is not None and node.index not in (self._copied if offence == "votes" else self._lost)

    def appended(self, node: Node, event: Event) -> None:
        """A statement of an honest node's people (I11: at most one at a place)."""
        if node.is_liar:
            return
        place = (*event.lane, event.header.seq)
        if self._statements.setdefault(place, event.id) != event.id:
            if not self._may_fork(node, event.header):
                self.broken("I11", f"node {node.index} forked its own lane at {event}")
            self._ground.counts["lane_forked_after_loss"] += 1
            self.forget(lambda said: said.lane == event.lane)
            return
        self._ends[event.lane] = max(event.header.seq, self._ends.get(event.lane, 0))
        self.valid[event.id] = (event, self._ground.scheduler.now)
        if event.id not in self.height_of:
            self.open[event.id] = None

    def said(self, node: Node, topic: str, message: bytes) -> None:
        """I11: votes that contradict each other. What liars say is kept too, for I10."""
        if topic == EVENTS:
            return
        found = self.votes.take(message, node.key.public)
        if node.is_liar:
            return
        self._hold("I13", self.promptness.said(node, message, self.open))
        if found is None:
            return
        if not self._may_contradict(node, found.at):
            self.broken("I11", f"node {node.index} {found.what}")
        self._ground.counts["copy_contradicts"] += 1

    def neighbour(self, node: Node, draw: random.Random) -> int:
        """Who `node` turns to when anybody will do."""
        liar = self.eclipsed.get(node.index)
        if liar is not None:
            return liar
        other = draw.randrange(len(self._ground.nodes) - 1)
        return other + (other >= node.index)

    # -- what is final -----------------------------------------------------------------------------------

    def became_final(self, node: Node, first: int) -> None:
        """`node` has every height from `first` up to its own now."""
        if node.is_liar:
            return
        self.compare(node, first)
        self._kept[node.index] = node.replica.height
        state = node.replica.state
        if state.root not in self._states:
            self._states.add(state.root)
            self._look_at_state(node)
        self._hold("I12", invariants.bounded(node.replica.metrics))
        if node.replica.height <= len(self.chain):
            self._look_at_labels(node)

    def _look_at_labels(self, node: Node) -> None:
        """I15: of what is final nowhere, no node says that it is."""
        for id in self.open:
            height = node.replica.store.event_status(id)
            if height is not None:
                self.broken("I15", f"node {node.index} says height {height} of {id}, which is not final")

    def compare(self, node: Node, first: int) -> None:
        """I3, I4, I5: this node's chain from `first` on, beside the one that is known."""
        links = node.voice.chain(first)
        for height, data in enumerate(links, first):
            id = Cid.of(data)
            if height > len(self.chain):
                if self._is_foretold(node, height):
                    self._foretell(node, height, id)
                else:
                    self._extend(node, height, id, data)
            elif self.chain[height - 1].id != id:
                self._conflict(node, height, id)
        if not 0 < node.replica.height <= len(self.chain):
            return
        last = self.chain[node.replica.height - 1].checkpoint
        if node.replica.state.root != last.sroot:
            self.broken("I4", f"node {node.index} has another state than its height {last.height} names")

    def _is_foretold(self, node: Node, height: int) -> bool:
        """Whether it began, by what a liar gave, from a height that no honest node had, or goes on from it:
        what came before is to be had of nobody yet."""
        base = node.replica.store.base
        return base is not None and (base.height > len(self.chain) or height > len(self.chain) + 1)

    def _foretell(self, node: Node, height: int, id: Cid) -> None:
        if self._foretold.setdefault(height, id) != id:
            self.broken("I3", f"at height {height} node {node.index} has {id}, another had another")

    def _conflict(self, node: Node, height: int, id: Cid) -> None:
        guilty, total = self.votes.guilty()
        self._hold("I10", invariants.accountable(guilty, total))
        self.broken(
            "I3", f"at height {height} node {node.index} has {id}, {self.chain[height - 1].first} another"
        )

    def _extend(self, node: Node, height: int, id: Cid, data: bytes) -> None:
        """A height that nobody had before: its delta, its receipts and its trees, looked at once."""
        if self._foretold.pop(height, id) != id:
            self.broken("I3", f"height {height} of node {node.index} is not the one that somebody began from")
        checkpoint = canonical.decode_as(Checkpoint, data, size_max=len(data))
        store = node.replica.store
        lines = store.finalized(len(self.leaves), cut_lines := len(store.order(height)) + 1)
        if len(lines) != cut_lines:
            self.broken("I4", f"height {height} has {len(lines)} receipts where {cut_lines} are due")
        try:
            ordered = [line.event for line in lines if line.event is not None]
        except RemoteError as error:
            self.broken("I4", f"height {height} has something that is no event: {error}")
        self._hold("I9", invariants.closed(ordered, self.places))
        for event, line in zip(ordered, lines, strict=False):
            self._record(event, line.receipt, height)
        if order.delta_id(event.id for event in ordered) != checkpoint.delta:
            self.broken("I4", f"the delta of height {height} is not the one its checkpoint names")
        rroot = cut.receipts_root(line.receipt for line in lines)
        leaf = canonical.encode(CheckpointLeaf(height, checkpoint.sroot, rroot))
        self.leaves += [merkle.leaf_hash(data) for data in (*(event.id for event in ordered), leaf)]
        if (rroot, merkle.root(self.leaves)) != (checkpoint.rroot, checkpoint.eroot):
            self.broken("I4", f"the roots of height {height} are not those of its receipts and events")
        self._hold("I13", self.promptness.final(id, self.height_of))
        cut_size = {"delta.events": len(ordered), "delta.tips": len(checkpoint.tips)}
        self._hold("I12", invariants.bounded(cut_size))
        self.chain.append(Final(id, checkpoint, f"node {node.index}", tuple(event.id for event in ordered)))

    def _record(self, event: Event, receipt: Receipt, height: int) -> None:
        """I6, I7."""
        if event.id in self.height_of:
            self.broken("I7", f"{event} is ordered at heights {self.height_of[event.id]} and {height}")
        self.height_of[event.id] = height
        self.open.pop(event.id, None)
        self.receipts[event.id] = receipt
        self._ground.counts[f"event.{event.header.k}.{receipt.code}"] += 1
        self._hold("I14", self.escrows.take(event, receipt))
        self._hold("I11", invariants.slandered(receipt, self._is_spotless))
        header = event.header
        self.places[event.id] = Place(header.by, header.lane, header.seq, header.lc, header.ts)
        if receipt.code != FORK_VOID:
            place = (*event.lane, header.seq)
            if self._effective.setdefault(place, event.id) != event.id:
                self.broken("I6", f"{event} is effective beside {self._effective[place]}")

    def _look_at_state(self, node: Node) -> None:
        wrong = invariants.money(node.replica.state, self._ground.genesis)
        if wrong is not None:
            self.broken(wrong[0], f"at height {node.replica.height} of node {node.index}: {wrong[1]}")

    # -- the end -----------------------------------------------------------------------------------------

    def lacking(self, node: Node, moment: int) -> list[Event]:
        """I13: what honest people said before `moment` (run ms) that is not final on this node.

        Not what builds on something that a wrong clock dated too far ahead: that waits for its time.
        """
        height = node.replica.height
        late = [
            event
            for id, (event, said) in self.valid.items()
            if said < moment and not 0 < self.height_of.get(id, 0) <= height
        ]
        return [event for event in late if not self._is_early(event)]

    def _is_early(self, event: Event) -> bool:
        """Whether it, or what it builds on and is not final, is dated ahead of every right clock."""
        latest, ahead, seen = self._ground.time + FUTURE_MS_MAX, [event], {event.id}
        while ahead:
            event = ahead.pop()
            if event.header.ts > latest:
                return True
            above = [id for id in event.parents if id not in self.height_of and id not in seen]
            seen.update(above)
            ahead += self._events_of(above)
        return False

    def _events_of(self, ids: list[Cid]) -> list[Event]:
        """From whichever node has them."""
        found: dict[Cid, bytes] = {}
        for node in self._ground.nodes:
            found.update(node.replica.store.wires([id for id in ids if id not in found]))
        return [events.parse(found[id], net=self._ground.genesis.net, verify_signature=False) for id in found]

    def unsettled(self, moment: int) -> str | None:
        """I13: what is still missing of what was said before `moment` (run ms), on any honest node."""
        height = len(self.chain)
        for node in self._ground.nodes:
            if node.is_liar:
                continue
            if not node.up or node.replica.height < height:
                return f"node {node.index} is at {node.replica.height if node.up else None}, not at {height}"
            late = self.lacking(node, moment)
            if late:
                return f"{len(late)} events are not final on node {node.index}, the first {late[0]}"
        return None

    def forget(self, lost: Callable[[Event], bool]) -> None:
        """Events that nobody alive holds were never said, as far as anybody can tell."""
        for id in [id for id, (event, _) in self.valid.items() if lost(event)]:
            del self.valid[id]
            self.open.pop(id, None)

    def _hold(self, name: str, wrong: str | None) -> None:
        if wrong is not None:
            self.broken(name, wrong)

    def broken(self, name: str, what: str, cause: BaseException | None = None) -> NoReturn:
        raise Violation(name, what) from cause

    def __repr__(self) -> str:
        return f"<Observer height={len(self.chain)} valid={len(self.valid)}>"
