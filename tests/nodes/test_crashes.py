"""kill -9, in the middle of things: work goes on, nothing is paid twice, and what was said stays said."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ledger.cid import Cid
from ledger.store import Store
from tests.nodes.cluster import BUYS, CREDIT, LENDS, Cluster, Node, eventually
from tests.nodes.jobs import (
    Copying,
    assert_conserved,
    assert_each_shard_was_paid_once,
    has_begun,
    runs_of,
    wait_until_done,
)

pytestmark = pytest.mark.slow

TURNS = 70_000_000  # some tenths of a second a run, so that a kill falls into one
SHARDS = 6


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An anchor and two more that lend, one that buys."""
    with Cluster(tmp_path_factory.mktemp("crashes")) as cluster:
        anchor = cluster.found("anchor", LENDS)
        *_, buyer = cluster.join(first=LENDS, second=LENDS, buyer=BUYS)
        anchor.ask("wallet.send", to=buyer.account, amount=1_000 * CREDIT)
        yield cluster


def test_a_worker_killed_in_mid_job_costs_its_lease_and_nothing_else(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Its run expires, the shard is leased again to another account, and only runs that agreed are paid."""
    anchor, worker, buyer = cluster["anchor"], cluster["first"], cluster["buyer"]
    account = worker.account
    copying = Copying(tmp_path / "job", SHARDS, turns=TURNS)
    job = copying.submit(buyer)

    def holds_a_lease() -> bool:
        return any(run["state"] == "leased" for run in anchor.items(f"/v1/schedule?worker={account}"))

    eventually(holds_a_lease, "the worker holds a lease")
    children = worker.kill()
    assert wait_until_done(buyer, job)["settled"] == SHARDS, runs_of(buyer, job)
    assert children, "it ran something"
    assert not any(child.is_running() for child in children), "no orphan computes on"
    eventually(lambda: copying.is_home, "every output is there")

    runs = runs_of(anchor, job)
    lost = [run for run in runs if run["worker"] == account and run["state"] == "expired"]
    assert lost, f"no run of the killed worker expired: {runs}"
    for run in lost:
        later = [one for one in runs if one["shard"] == run["shard"] and one["attempt"] > run["attempt"]]
        assert any(one["state"] == "paid" and one["worker"] != account for one in later)
    assert_each_shard_was_paid_once(anchor, job)
    assert_conserved(anchor)
    worker.start()


@pytest.mark.parametrize("name", ["buyer", "anchor", "second"])
def test_a_node_killed_in_mid_job_goes_on_where_it_was(cluster: Cluster, tmp_path: Path, name: str) -> None:
    """Whoever it is: the job ends, every output is there, every shard is paid once.

    The buyer has the inputs and the name of the output folder, the anchor makes things final, a worker holds
    leases and what it answered them with.
    """
    anchor, buyer, killed = cluster["anchor"], cluster["buyer"], cluster[name]
    copying = Copying(tmp_path / "job", SHARDS, turns=TURNS)
    job = copying.submit(buyer)
    eventually(lambda: has_begun(anchor, job), "the job has begun and is not done")
    killed.kill()
    killed.start()
    assert wait_until_done(buyer, job)["settled"] == SHARDS, runs_of(buyer, job)
    eventually(lambda: copying.is_home, "every output is there")
    cluster.settle()
    assert_each_shard_was_paid_once(buyer, job)
    assert_conserved(buyer)


@pytest.mark.parametrize("delay", range(3))
def test_what_was_acknowledged_before_a_kill_is_in_the_log_after_it(
    cluster: Cluster, tmp_path: Path, delay: int
) -> None:
    """The reply means: on this disk. Validator and follower are killed right after it."""
    both = [cluster["anchor"], cluster["buyer"]]
    copying = Copying(tmp_path / "job", 2, turns=1)
    acknowledged: dict[str, list[str]] = {}
    for node in both:
        other = next(one for one in both if one is not node).account
        said = acknowledged[node.name] = [pay(node, other, memo=str(count)) for count in range(4 * delay)]
        said += [copying.submit(node, output=None), pay(node, other, memo="last words")]
        node.kill()

    for node in both:
        with Store.open(node.home.store_url) as store:
            ids = [Cid.parse(id) for id in acknowledged[node.name]]
            assert store.wires(ids).keys() == set(ids), f"{node.name} lost what it had acknowledged"
        node.launch()
    for node in both:
        node.wait_until_up()

    everything = {id for said in acknowledged.values() for id in said}
    for node in both:
        for id in everything:
            eventually(partial(is_final, node, id), f"{id} is final at {node.name}")
        lines = node.export(tmp_path / f"{node.name}.ndjson").decode()
        assert all(f'"{id}"' in lines for id in everything)
    cluster.settle()
    assert_conserved(cluster["buyer"])


def pay(node: Node, to: str, **more: Any) -> str:
    """One credit; the id of the event, at once."""
    event: str = node.ask("wallet.send", to=to, amount=CREDIT, wait=False, **more)["event"]
    return event


def is_final(node: Node, event: str) -> bool:
    """Final, and with effect."""
    seen = node.item(f"/v1/events/{event}")
    return bool(seen["status"] == "final" and seen["code"] == "ok")
