"""The end of a run: the invariants that are too dear for every height.

    I5    consistency proofs between the trees of all heights
    I8    an export, audited, gives the live roots; every node of one height has the same bytes; a copy from
          earlier with the tail, and another order of arrival, give the same state
    I15   what the tables of the API call final is what is final, and nothing else

What must always hold: nothing here changes a node.
"""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from domain.rules import FogRules
from domain.rules.records import ACCOUNT
from fog.sim import invariants
from fog.sim.disk import Disk
from fog.sim.ground import Ground
from ledger import archive, audit
from ledger.database import reading
from ledger.reactions import Missing
from ledger.replica import Replica
from projections import balances, log
from projections.runner import Runner

if TYPE_CHECKING:
    from fog.sim.node import Node

AGAIN_EVERY: Final = 4
"""One run in so many is lived through once more by a node that was not there."""

AT_ONCE: Final = 30
"""Events handed over together."""


def look(ground: Ground) -> None:
    observer = ground.observer
    honest = [node for node in ground.nodes if not node.is_liar and not node.is_damaged]
    whole = [node for node in honest if node.replica.store.base is None] or honest
    for node in honest:
        base = node.replica.store.base
        observer.compare(node, 1 if base is None else base.height + 1)
    highest = max(whole, key=lambda node: node.replica.height)
    chain = [final.checkpoint for final in observer.chain]
    wrong = invariants.grown(observer.leaves, [one.n for one in chain], [one.eroot for one in chain])
    if wrong is not None:
        observer.broken("I5", wrong)
    if highest.replica.store.base is None:
        replay(ground, highest)
    draw: random.Random = ground.draw("finale")
    labels(ground, draw.choice(honest))
    if ground.seed % AGAIN_EVERY == 0 and highest.replica.store.base is None:
        again(ground, highest, draw)


def replay(ground: Ground, node: Node) -> None:
    """I8: the export of one node, judged by the auditor, whose rules count the money at every height."""
    out = io.BytesIO()
    archive.write(node.replica.store, out)
    report = audit.audit(out.getvalue(), CountingRules(ground), net=ground.genesis.net)
    if not report.ok:
        ground.observer.broken("I8", f"the export of node {node.index}: {report.problem}")
    if node.replica.height and report.state_root != node.replica.state.root:
        ground.observer.broken("I8", f"replay gives another state than node {node.index} has")


def again(ground: Ground, node: Node, draw: random.Random) -> None:
    """I8: another node takes in everything, in another order, stops half way and goes on from a copy of its
    disk: it has the same state."""
    store, height, disk = node.replica.store, node.replica.height, Disk(node.disk.template)
    ids = [id for final in ground.observer.chain[:height] for id in final.order]
    draw.shuffle(ids)
    wires = store.wires(ids)
    other = _opened(disk, ground)
    for start in range(0, len(ids), AT_ONCE):
        some = [wires[id] for id in ids[start : start + AT_ONCE]]
        other.ingest(some, peer=str(start), now=ground.time)
    has_stopped = False
    while other.height < height:
        if not has_stopped and other.height >= height // 2:
            disk.load(disk.image())
            other, has_stopped = _opened(disk, ground), True
        links, final = store.run(other.height + 1, max(1, height // 2))
        if not links:  # the next one with a certificate of its own lies further on
            links, final = store.run(other.height + 1, height)
        result = other.apply(links, final, ground.time)
        if isinstance(result, Missing):
            other.ingest(list(store.wires(result.ids).values()), peer="more", now=ground.time)
    if other.state.root != node.replica.state.root:
        ground.observer.broken(
            "I8", f"in another order of arrival the state differs from node {node.index}'s"
        )
    disk.close()


def _opened(disk: Disk, ground: Ground) -> Replica:
    return Replica.open(disk.open(ground.genesis.net), FogRules(), None, validator=False)


class CountingRules(FogRules):
    """The real rules; every close is followed by a count of the money (I1, I2)."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def close(self, state, context):  # type: ignore[no-untyped-def]
        after, receipt = super().close(state, context)
        wrong = invariants.money(after, self._ground.genesis)
        if wrong is not None:
            self._ground.observer.broken(wrong[0], f"replay of height {context.height}: {wrong[1]}")
        return after, receipt


def labels(ground: Ground, node: Node) -> None:
    """I15: an event is called final exactly when its checkpoint is; by the store, and by what people read."""
    store, observer = node.replica.store, ground.observer
    first = 1 if store.base is None else store.base.height + 1
    waiting = {event.id for event, _ in node.replica.waiting(10_000)}
    told = _told(ground, node)
    for id, height in observer.height_of.items():
        due = height if first <= height <= node.replica.height else None
        status, shown = store.event_status(id), told.get(bytes(id))
        if status != due:
            observer.broken("I15", f"node {node.index} says height {status} of an event of height {height}")
        if first == 1 and shown != (None if due is None else (height, observer.receipts[id].code)):
            observer.broken("I15", f"node {node.index} shows {shown} of an event of height {height}")
        if status is not None and id in waiting:
            observer.broken("I15", f"node {node.index} has an event both final and waiting")
    if len(told) > len(observer.height_of):
        observer.broken("I15", f"node {node.index} shows {len(told)} final events")


def _told(ground: Ground, node: Node) -> dict[bytes, tuple[int, str]]:
    """What the tables that the API answers from say of each event: (height, receipt), folded on a copy of the
    disk. Their balances are those of the final state."""
    disk = Disk(node.disk.template)
    disk.load(node.disk.image())
    store = disk.open(ground.genesis.net)
    Runner(store).catch_up()
    with reading(store.engine) as connection:
        events = {row.event: (row.height, row.code) for row in connection.execute(sa.select(log.EVENT)).all()}
        shown = {
            row.account: (row.free, row.escrow)
            for row in connection.execute(sa.select(balances.BALANCE)).all()
        }
    disk.close()
    for key, row in node.replica.state.items(ACCOUNT.name):
        account = ACCOUNT.decode(row)
        if shown.pop(key, (0, 0)) != (account.free, account.escrow):
            ground.observer.broken("I15", f"node {node.index} shows another balance of {key.hex()}")
    if any(held != (0, 0) for held in shown.values()):
        ground.observer.broken("I15", f"node {node.index} shows balances of accounts that are none")
    return events
