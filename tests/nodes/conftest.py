"""A market that the tests of this folder share: three nodes, one finished job, and nobody is killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.nodes.cluster import BUYS, CREDIT, LENDS, Cluster, Node
from tests.nodes.jobs import Copying, wait_until_done


@dataclass(frozen=True)
class Market:
    """`anchor` validates and lends, `lender` lends, `buyer` has bought `job`."""

    cluster: Cluster
    anchor: Node
    lender: Node
    buyer: Node
    job: str


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    with Cluster(folder) as cluster:
        anchor = cluster.found("anchor", LENDS)
        lender, buyer = cluster.join(lender=LENDS, buyer=BUYS)
        anchor.ask("wallet.send", to=buyer.account, amount=1_000 * CREDIT, memo="to begin with")
        job = Copying(folder / "job", 3, turns=1_000).submit(buyer)
        assert wait_until_done(buyer, job)["state"] == "done"
        yield Market(cluster, anchor, lender, buyer, job)
