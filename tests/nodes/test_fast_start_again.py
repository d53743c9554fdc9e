"""A real node is killed in the midst of its first start, and goes on with what it had."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from pathlib import Path

import pytest
import trio

from domain.rules import FogRules
from domain.rules.execute import VERSION
from fog import invite
from fog.replica_thread import ReplicaThread
from ledger.cid import Cid
from ledger.genesis import Allocation, Genesis, Validator
from ledger.replica import Replica
from ledger.shelf import Shelf
from ledger.signing import SigningKey
from ledger.snapshot import Part
from ledger.store import Store
from network.host import open_host
from network.sync_answering import Answering
from network.sync_messages import PROTOCOL
from tests.nodes.cluster import Cluster, set_up

pytestmark = pytest.mark.slow

KEY = SigningKey(bytes(32))
ACCOUNTS = 300
HALF = 10
"""Parts that are given before the node is killed, of some thirty."""


def rich(now: int) -> Replica:
    """A network with many accounts, and one checkpoint."""
    allocations = [Allocation(hashlib.sha256(b"%d" % number).digest(), 1_000) for number in range(ACCOUNTS)]
    genesis = Genesis(
        v=1,
        name="rich",
        created=now - 60_000,
        rules=VERSION,
        validators=(Validator(KEY.public, 1_000_000_000),),
        accounts=tuple(sorted(allocations, key=lambda one: one.account)),
        params={},
    )
    replica = Replica.open(Store.create("sqlite://", genesis), FogRules(), KEY, validator=True)
    while replica.height == 0:
        replica.append("nothing", 1, {}, now=now)
        replica.step(now)
    return replica


class Giver(ReplicaThread):
    """Gives HALF parts, and the next ones only once it may."""

    def __init__(self, replica: Replica, now: int) -> None:
        super().__init__(replica, lambda: now)
        self._shelf = Shelf(replica, rows_max=1_000)
        self.given: Counter[Part] = Counter()
        self.half, self.goes_on = trio.Event(), trio.Event()

    async def part(self, checkpoint: Cid, part: Part) -> bytes | None:
        if self.given.total() == HALF:
            self.half.set()
            await self.goes_on.wait()
        self.given[part] += 1
        return await super().part(checkpoint, part)


async def run(cluster: Cluster) -> None:
    now = time.time_ns() // 1_000_000
    replica = rich(now)
    giver = Giver(replica, now)
    with trio.fail_after(300):
        async with open_host(KEY.seed, ["/ip4/127.0.0.1/tcp/0"]) as host:
            host.handle(PROTOCOL, Answering(host, giver, snapshots=giver).answer)
            node = cluster.place("late")
            line = invite.make(replica.genesis, host.addresses())
            (cluster.folder / "genesis").write_bytes(replica.genesis.encode())
            set_up(node, "join", line, "--fast", "--genesis", str(cluster.folder / "genesis"))
            node.launch()
            await giver.half.wait()
            node.kill()
            before = set(giver.given)
            giver.goes_on.set()
            await trio.to_thread.run_sync(node.start)
            assert len(before) == HALF
            assert sum(giver.given.values()) > HALF + 5
            assert {giver.given[part] for part in before} == {1}
            assert f"{HALF} of" in node.log
            assert "begun at height 1" in node.log
            assert not node.home.half.exists()
            assert not node.home.start.exists()
            assert (await trio.to_thread.run_sync(node.status))["since"] == 1


def test_a_node_killed_half_way_asks_only_for_the_other_half(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        trio.run(run, cluster)
