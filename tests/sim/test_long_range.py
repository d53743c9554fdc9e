"""Keys after unbonding: most of the stake leaves, and then its old keys make another history, signed by
quorums of the epochs in which they counted. Nobody who followed is moved by it, and nobody who begins with a
checkpoint of those who stayed believes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from domain.payloads import StakeUnbond, Transfer, kind_of
from domain.rules import FogRules, epochs
from domain.rules.bonds import bond_in
from fog.sim.disk import Disk
from fog.sim.habits import ShamelessReplica
from fog.sim.links import Weather
from fog.sim.node import Node
from fog.sim.plan import draw_plan
from fog.sim.world import World
from ledger import light
from ledger.errors import RemoteError
from ledger.finality import Diverged
from ledger.replica import Replica
from ledger.shelf import Shelf
from ledger.snapshot import Download
from tests.sim.test_mutants import changed

STAYING = (0, 4)
BEFORE_MS = 8_000


class Exodus:
    """A run in which five of seven leave, and what their old copies can make afterwards."""

    def __init__(self) -> None:
        plan = replace(
            draw_plan(1),
            liars={},
            faults=(),
            weather=Weather(5, 10),
            burst_gap_ms=1_000,
            epoch=2,
        )
        self.world = World(plan)
        ground = self.world.ground
        for node in ground.nodes:
            node.start()
        self.world.workload.start()
        ground.scheduler.run(BEFORE_MS)
        self.leavers = [node for node in ground.nodes if node.index not in STAYING]
        self.images = {node.index: node.disk.image() for node in self.leavers}
        for node in self.leavers:
            node.append(StakeUnbond(bond_in(node.replica.state, node.key.public).bonded))
        self.stayer = ground.nodes[STAYING[0]]
        moment = BEFORE_MS
        while any(node.key.public in self.stayer.replica.validators for node in self.leavers):
            moment += 5_000
            assert moment < 600_000, "they never leave"
            ground.scheduler.run(moment)
        for _ in range(3):  # epochs, until nobody remembers those in which they counted
            moment += 5_000
            ground.scheduler.run(moment)

    def another_history(self) -> Replica:
        """Made by the leavers from copies of their disks of before, longer than what the others have."""
        net, now = self.world.ground.genesis.net, self.world.ground.time
        made = [self._again(node, net) for node in self.leavers]
        for _ in range(3_000):
            if min(replica.height for replica in made) > self.stayer.replica.height + 4:
                return made[0]
            now += 50
            if now % 500 == 0:
                event = made[0].append(*kind_of(PAYMENT), PAYMENT, now=now)
                for other in made[1:]:
                    other.ingest([event.wire], peer="x", now=now)
            said = [message for replica in made for message in replica.step(now).send]
            while said:
                said = [again for replica in made for again in _heard(replica, said, now)]
        raise AssertionError("their history does not grow")

    def _again(self, node: Node, net: Any) -> Replica:
        disk = Disk(node.disk.template)
        disk.load(self.images[node.index])
        return ShamelessReplica.open(disk.open(net), FogRules(), node.key, validator=True)


PAYMENT = Transfer(bytes(31) + b"\x01", 1)


def _heard(replica: Replica, said: Sequence[bytes], now: int) -> list[bytes]:
    found: list[bytes] = []
    for message in said:
        try:
            found += replica.hear(message, now=now).send
        except RemoteError:  # of a slot that is over, or our own
            continue
    return found


def offered(to: Replica, by: Replica, now: int) -> str:
    """What becomes of the other history where somebody offers it: a code, or what was taken."""
    before = to.height, to.state.root
    links, final = by.store.run(1, by.height)
    try:
        to.apply(links, final, now)
    except RemoteError as error:
        assert (to.height, to.state.root) == before
        return error.code
    return "taken"


@pytest.mark.long
def test_who_left_moves_nobody() -> None:
    exodus = Exodus()
    other = exodus.another_history()
    stayer, now = exodus.stayer.replica, exodus.world.ground.time
    assert other.height > stayer.height
    assert offered(stayer, other, now) in ("unknown_epoch", "bad_certificate")
    anchored = stayer.last.checkpoint if stayer.last is not None else None
    assert anchored is not None
    shelf = Shelf(other)
    manifest = shelf.offer(0)
    assert manifest is not None
    download = Download(stayer.genesis, manifest)
    while not download.is_whole:
        for part in list(download.lacking()):
            data = shelf.part(manifest.id, part)
            assert data is not None
            download.take(part, data)
    found = download.snapshot()  # genuine, as far as genesis can tell: those keys did sign it
    with pytest.raises(RemoteError, match="not in the history"):
        light.check_history(anchored, found.checkpoint, found.leaves)


@pytest.mark.long
def test_who_never_forgets_old_validators_is_stopped_by_them() -> None:
    """The mutant: with the sets of all epochs at hand, old keys could halt everybody who followed."""
    with changed(((epochs, "KEPT", 10_000),)):
        exodus = Exodus()
        other = exodus.another_history()
        with pytest.raises(Diverged):
            offered(exodus.stayer.replica, other, exodus.world.ground.time)
