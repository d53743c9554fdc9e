"""Executing a cut: from an ordered list of events to receipts, a new state and the roots that commit to them.

For each event, in canonical order:

    1  is it effective?  Its lane is open and it continues the lane's last effective event. If not it is
       `fork_void`: a rival at a place that is taken, and it closes the lane for good; or an event of a lane
       that the rules closed, on proof of a fork of which no second branch may ever be ordered
    2  `expired` when its `exp` lies below this height
    3  `not_delegated` when it acts for an account that did not delegate to its device
    4  the rules execute it

An event that is refused in 2, 3 or 4 still moves its lane on. Then the rules close the checkpoint.

    event tree    the id of each event, then one leaf for the checkpoint: {height, sroot, rroot}
    receipts      RFC 6962 over their canonical bytes, in order, the receipt of `close` last

Knows order, lanes and trees. Does not know what an event means (`ledger.execution.Rules` do). Pure: two nodes
that execute the same events on the same state get the same bytes.

What must always hold: at most one effective event at a (by, lane, seq); every event of the cut has exactly
one receipt; all events have their bodies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ledger import canonical, merkle
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.event import Event
from ledger.execution import Context, Receipt, Rules
from ledger.genesis import Genesis
from ledger.merkle import Frontier
from ledger.order import delta_id
from ledger.state import Change, State
from ledger.types import Uint
from ledger.validators import with_genesis_sets, with_next_set

LANE: Final = "lane"
"""State table: key = device key || lane as one byte; value = `LaneHead`."""

CLOSED: Final = "closed"
"""State table, written by the rules: key as in `LANE`; a row means that the lane has had its last event."""

DELEGATION: Final = "delegation"
"""State table: key = account || device key; a row means that the device may act for the account."""

FORK_VOID: Final = "fork_void"
EXPIRED: Final = "expired"
NOT_DELEGATED: Final = "not_delegated"

LANE_HEAD_SIZE_MAX: Final = 128


class LaneHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last effective event of a lane; a closed lane has had its last."""

    seq: Uint
    id: Cid
    closed: bool


class CheckpointLeaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The leaf that ends each checkpoint in the event tree, so that the tree commits to states as well."""

    height: Uint
    sroot: bytes
    rroot: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What executing a cut gave. `state` is sealed; `changes` are its rows that differ from before."""

    state: State
    changes: Mapping[Change, bytes | None]
    frontier: Frontier
    receipts: tuple[Receipt, ...]
    close_receipt: Receipt
    delta: Cid
    eroot: bytes
    sroot: bytes
    rroot: bytes

    @property
    def n(self) -> int:
        return self.frontier.n


def genesis_state(rules: Rules, genesis: Genesis) -> State:
    """The state before height 1, not sealed: so its rows are among the changes of the first checkpoint."""
    state, given = State(), rules.genesis(genesis)
    for table in given.tables():
        for key, value in given.items(table):
            state = state.put(table, key, value)
    return with_genesis_sets(state, genesis)


def execute_cut(
    rules: Rules,
    state: State,
    frontier: Frontier,
    events: Sequence[Event],
    context: Context,
    epoch_length: int,
) -> Outcome:
    """Execute `events` (in canonical order, bodies present) and close the checkpoint.

    `epoch_length` is in heights. `frontier` is left as it is. The state must be sealed, or be the genesis
    state at height 1.
    """
    assert not state.changes or context.height == 1, "executing on a state that was not sealed"
    state, receipts = execute_events(rules, state, events, context)
    state, close_receipt = rules.close(state, context)
    state = with_next_set(state, context.height, epoch_length)
    changes = state.changes
    state = state.seal()
    rroot = receipts_root((*receipts, close_receipt))
    after = frontier.copy()
    for leaf in leaves((event.id for event in events), context.height, state.root, rroot):
        after.append(merkle.leaf_hash(leaf))
    return Outcome(
        state,
        changes,
        after,
        tuple(receipts),
        close_receipt,
        delta=delta_id(event.id for event in events),
        eroot=after.root(),
        sroot=state.root,
        rroot=rroot,
    )


def execute_events(
    rules: Rules, state: State, events: Iterable[Event], context: Context
) -> tuple[State, list[Receipt]]:
    """The events of a cut without its end: steps 1 to 4 of the module's opening."""
    lanes: dict[bytes, LaneHead] = {}
    receipts: list[Receipt] = []
    for event in events:
        assert event.body is not None, f"{event} is to be executed without its body"
        code = _refusal(state, lanes, event, context)
        if code is None:
            state, receipt = rules.execute(state, event, context)
            assert receipt.event == event.id, f"the rules gave {event} the receipt of another"
        else:
            receipt = Receipt(event.id, code)
        receipts.append(receipt)
    moved = sorted(lanes)
    heads = canonical.encode_all([lanes[key] for key in moved])
    return state.change([((LANE, key), head) for key, head in zip(moved, heads, strict=True)]), receipts


def lane_key(by: bytes, lane: int) -> bytes:
    """The key of a lane's rows in the state."""
    return by + bytes((lane,))


def lane_head(state: State, by: bytes, lane: int) -> LaneHead | None:
    """The last effective event of a lane in ordered state."""
    row = state.get(LANE, lane_key(by, lane))
    return None if row is None else canonical.decode_own(LaneHead, row, size_max=LANE_HEAD_SIZE_MAX)


def leaves(ids: Iterable[Cid], height: int, sroot: bytes, rroot: bytes) -> list[bytes]:
    """Data of the leaves that one checkpoint adds to the event tree."""
    return [*ids, checkpoint_leaf(height, sroot, rroot)]


def checkpoint_leaf(height: int, sroot: bytes, rroot: bytes) -> bytes:
    """Data of the leaf that ends a checkpoint."""
    return canonical.encode(CheckpointLeaf(height, sroot, rroot))


def receipts_root(receipts: Iterable[Receipt]) -> bytes:
    return merkle.root([merkle.leaf_hash(receipt.encode()) for receipt in receipts])


def differences(checkpoint: Checkpoint, outcome: Outcome) -> list[str]:
    """The names of what a checkpoint claims and our own execution denies; empty when they agree."""
    return [
        name
        for name in ("delta", "n", "eroot", "sroot", "rroot")
        if getattr(checkpoint, name) != getattr(outcome, name)
    ]


def _refusal(state: State, lanes: dict[bytes, LaneHead], event: Event, context: Context) -> str | None:
    """Why the ledger itself gives this event no effect; moves its lane on (`lanes` lies over the state)."""
    header = event.header
    key = lane_key(header.by, header.lane)
    if state.get(CLOSED, key) is not None:
        return FORK_VOID
    head = lanes.get(key) or lane_head(state, header.by, header.lane)
    if head is None:
        # The order is topological and the DAG closed, so what comes first in a lane is its seq 0.
        assert header.seq == 0, f"{event} is ordered before the start of its lane"
    elif head.closed or header.seq != head.seq + 1:
        lanes[key] = LaneHead(head.seq, head.id, closed=True)
        return FORK_VOID
    else:
        assert header.prev == head.id, f"{event} follows a rival in a lane that is still open"
    lanes[key] = LaneHead(header.seq, event.id, closed=False)
    if header.exp is not None and header.exp < context.height:
        return EXPIRED
    if header.acct is not None and state.get(DELEGATION, header.acct + header.by) is None:
        return NOT_DELEGATED
    return None
