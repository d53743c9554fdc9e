"""Restart: state and event tree, rebuilt from the store and held against the last checkpoint.

Knows the store and the roots. What must always hold: what it returns is what the last certificate stands for;
anything else is StoreCorrupt, because a node that goes on from a wrong state writes wrong states.
"""

from __future__ import annotations

import immutables

from ledger.cut import genesis_state
from ledger.errors import RemoteError, StoreCorrupt
from ledger.execution import Rules
from ledger.finality import Last
from ledger.merkle import Frontier
from ledger.state import Change, State
from ledger.store import Store

_REMEDY = "audit the store, or sync again into a new one"


def frontier_after(store: Store, last: Last | None) -> Frontier:
    """The event tree after the last checkpoint. Raises StoreCorrupt."""
    if last is None:
        return Frontier()
    try:
        frontier = Frontier.decode(store.frontier())
    except RemoteError as error:
        raise StoreCorrupt(f"the frontier in the store: {error}", next_step=_REMEDY) from error
    if (frontier.n, frontier.root()) != (last.checkpoint.n, last.checkpoint.eroot):
        raise StoreCorrupt(
            f"the event tree in the store is not that of height {last.checkpoint.height}", next_step=_REMEDY
        )
    return frontier


def state_after(store: Store, rules: Rules, last: Last | None) -> State:
    """The state after the last checkpoint, sealed; before the first, that of genesis. Raises StoreCorrupt."""
    if last is None:
        return genesis_state(rules, store.genesis)
    tables: dict[str, dict[bytes, bytes]] = {}
    changes: dict[Change, bytes | None] = {}
    for table, key, value in store.state_rows():
        tables.setdefault(table, {})[key] = value
        changes[table, key] = value
    whole = immutables.Map({table: immutables.Map(rows) for table, rows in tables.items()})
    state = State(whole, immutables.Map(changes)).seal()
    if state.root != last.checkpoint.sroot:
        raise StoreCorrupt(
            f"the state in the store has the root {state.root.hex()}, where height "
            f"{last.checkpoint.height} has {last.checkpoint.sroot.hex()}",
            next_step=_REMEDY,
        )
    return state
