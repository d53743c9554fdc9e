"""A worker that is stopped in an orderly way gives back what it has not done; others hear of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nodes.cluster import LENDS, Cluster, eventually
from tests.nodes.jobs import Copying

pytestmark = pytest.mark.slow

FUEL = 100_000_000_000  # more than the program uses in the time of the test


def test_what_a_stopped_worker_was_running_is_leased_to_another_at_once(tmp_path: Path) -> None:
    """The release must be out before the process is gone, or the lease would run for its five minutes."""
    with Cluster(tmp_path) as cluster:
        buyer = cluster.found("buyer")
        workers = cluster.join(one=LENDS, other=LENDS)
        copying = Copying(tmp_path / "job", shards=1, turns=2_000_000_000)
        job = copying.submit(buyer, lease_ms=300_000, fuel=FUEL, checks=0)
        leaving = eventually(
            lambda: next((node for node in workers if node.status()["worker"]["busy"]), None), "it is leased"
        )
        [staying] = [node for node in workers if node is not leaving]
        assert leaving.stop() == 0
        eventually(lambda: staying.status()["worker"]["busy"], "it is leased again", within_s=20)
        runs = buyer.ask("job.show", job=job)["runs"]
        assert [(run["state"], run["reason"]) for run in runs] == [("released", "leaving"), ("leased", "")]
        buyer.ask("job.cancel", job=job)
