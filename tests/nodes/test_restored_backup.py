"""A data directory put back from a copy: the node learns from others what it said since."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

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
