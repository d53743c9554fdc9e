"""A result is at both nodes that ran it: either of them is enough to have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nodes.cluster import BUYS, CREDIT, LENDS, Cluster, Node, eventually
from tests.nodes.jobs import Copying, wait_until_done

pytestmark = pytest.mark.slow


def statuses_of(node: Node, job: str) -> list[str]:
    """How the runs of its only shard ended; that is read from the result, so it must be had."""
    statuses: list[str] = node.ask("job.show", job=job)["shards"][0]["statuses"]
    return statuses


def test_a_result_is_fetched_from_whoever_is_left_of_those_who_ran_it(tmp_path: Path) -> None:
    """The submitter lets go of it; the worker is killed, and the checker gives it. Then nobody is left."""
    with Cluster(tmp_path) as cluster:
        anchor = cluster.found("anchor", BUYS)
        one, other, buyer = cluster.join(one=LENDS, other=LENDS, buyer=BUYS)
        anchor.ask("wallet.send", to=buyer.account, amount=1_000 * CREDIT)
        copying = Copying(tmp_path / "job", 1, turns=1_000)
        job = copying.submit(buyer)
        wait_until_done(buyer, job)
        eventually(lambda: copying.is_home, "the output is there")
        eventually(lambda: buyer.ask("blob.gc", unused_ms=0)["used"] == 0, "the submitter holds nothing")
        one.kill()
        assert statuses_of(buyer, job) == ["ok"]
        assert buyer.ask("blob.gc", unused_ms=0)["freed"] > 0
        other.kill()
        assert statuses_of(buyer, job) == []
