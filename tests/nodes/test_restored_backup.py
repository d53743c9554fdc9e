"""A data directory put back from a copy, or lost: the node learns from others what it said since."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from fog.own_head import JUST_FOUNDED_MS
from tests.nodes.cluster import LENDS, Cluster, eventually

pytestmark = pytest.mark.slow

SOMEBODY, ANOTHER = "22" * 32, "33" * 32


def test_a_validator_put_back_from_a_copy_contradicts_nothing(tmp_path: Path) -> None:
    """It calls nobody itself. Going on from the copy at once, it made other checkpoints at heights that were
    final, and every node of the network stopped for good."""
    with Cluster(tmp_path) as cluster:
        anchor = cluster.found("anchor")
        [worker] = cluster.join(worker=LENDS)
        eventually(lambda: anchor.items("/v1/offers"), "the copy will know of somebody to ask")
        cluster.settle()
        anchor.stop()
        copy = tmp_path / "copy"
        shutil.copytree(anchor.home.root, copy)
        anchor.start()
        for _ in range(3):
            anchor.ask("wallet.send", to=SOMEBODY, amount=1)
        before = cluster.settle()

        anchor.kill()
        shutil.rmtree(anchor.home.root)
        shutil.copytree(copy, anchor.home.root)
        anchor.start()
        anchor.ask("wallet.send", to=ANOTHER, amount=5)
        assert cluster.settle() > before
        for node in (anchor, worker):
            assert node.exit_code is None, node.log[-2000:]
            assert node.ask("wallet.balance", account=SOMEBODY)["free"] == 3
            assert node.ask("wallet.balance", account=ANOTHER)["free"] == 5


def test_a_founder_whose_disk_was_lost_goes_on_with_its_lane(tmp_path: Path) -> None:
    """It knows of nobody, and others call it. Saying something at once, it forked the lane that it had."""
    with Cluster(tmp_path) as cluster:
        anchor = cluster.found("anchor")
        [worker] = cluster.join(worker=LENDS)
        for _ in range(3):
            anchor.ask("wallet.send", to=SOMEBODY, amount=1)
        before = cluster.settle()
        founded = anchor.home.read_genesis().created
        eventually(lambda: 1000 * time.time() > founded + JUST_FOUNDED_MS, "the network is no new one")

        anchor.kill()
        anchor.lose_disk()
        anchor.start()
        anchor.ask("wallet.send", to=ANOTHER, amount=5)
        assert cluster.settle() > before
        for node in (anchor, worker):
            assert node.exit_code is None, node.log[-2000:]
            assert node.counter("forked_lanes") == 0
            assert node.ask("wallet.balance", account=SOMEBODY)["free"] == 3
            assert node.ask("wallet.balance", account=ANOTHER)["free"] == 5
