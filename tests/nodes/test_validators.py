"""Four validators with equal stakes, a machine each: any three decide, and no two of them can.

Real `fog node` processes in network namespaces. Figures are printed; `pytest -s` shows them.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator

import pytest

from tests.nodes.cluster import CREDIT, Cluster, Node, eventually
from tests.nodes.load import Load
from tests.nodes.namespaces import Lan

pytestmark = pytest.mark.slow

NAMES = ("amber", "birch", "cedar", "dune")
HEALED_S_MAX = 5.0  # from the way being open to the first new checkpoint, everywhere
CUT_S = 8.0  # links are known dead, and a standstill is called one
LOAD_PER_S = 5.0
KILLS = 200
SLOTS_ABSTAINED = 3
"""A validator without memory does not vote in the slots that are open when it comes back: it might contradict
itself. Each payment that the others make final ends one."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Lan() as lan, Cluster(tmp_path_factory.mktemp("validators"), lan) as cluster:
        cluster.found_together(*NAMES)
        wait_until_final(cluster, list(cluster))
        yield cluster


def wait_until_final(cluster: Cluster, nodes: list[Node], *, within_s: float = 30.0) -> int:
    """A new payment of the first of `nodes` is final at all of them; the least height there."""
    first, *others = nodes
    event = first.ask("wallet.send", to=others[0].account, amount=CREDIT, memo="", wait=False)["event"]

    def is_final_everywhere() -> bool:
        return all(node.item(f"/v1/events/{event}")["status"] == "final" for node in nodes)

    eventually(is_final_everywhere, f"{event} is final at {[node.name for node in nodes]}", within_s=within_s)
    return min(node.height for node in nodes)


def tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def assert_same_history(nodes: list[Node]) -> int:
    """At the last height that all of them have, roots and ids of every checkpoint are equal; that height."""
    height = min(node.height for node in nodes)
    seen = [
        {one["height"]: one for one in node.items("/v1/checkpoints") if one["height"] <= height}
        for node in nodes
    ]
    assert all(one == seen[0] for one in seen)
    return height


def test_nothing_becomes_final_in_halves_and_all_does_when_they_are_whole(cluster: Cluster) -> None:
    """Two and two: neither side has more than two thirds, whatever is said in it."""
    assert cluster.lan is not None
    nodes = list(cluster)
    cluster.settle()
    with Load(nodes, per_s=LOAD_PER_S, seed=1) as load:
        with cluster.lan.parted({"amber", "birch"}, {"cedar", "dune"}):
            time.sleep(1.0)  # what was voted before the cut may still arrive in a half
            before = {node.name: node.height for node in nodes}
            time.sleep(CUT_S)
            assert {node.name: node.height for node in nodes} == before, "a half made something final"
            made = len(load.acknowledged)
            for node in nodes:
                still = node.status()["finality"]["standstill"]
                assert still, f"{node.name} does not say that it stands still"
                assert 2 * still["weight"] <= still["total"], f"{node.name} heard who is not there: {still}"
        healed = time.monotonic()
        for node in nodes:
            eventually(lambda node=node: node.height > before[node.name], f"{node.name} goes on", within_s=30)
        took = time.monotonic() - healed
    tell(f"healed after {CUT_S:g} s in halves: a new checkpoint everywhere {took:.2f} s later")
    count = load.check(nodes)
    assert count >= made > 0
    assert_same_history(nodes)
    assert took < HEALED_S_MAX


def test_one_stopped_the_rest_go_on_and_two_stopped_is_a_halt_that_says_so(cluster: Cluster) -> None:
    amber, birch, cedar, dune = cluster
    wait_until_final(cluster, list(cluster))
    dune.stop()
    begun = time.monotonic()
    wait_until_final(cluster, [amber, birch, cedar])
    tell(f"one of four stopped: a payment is final {time.monotonic() - begun:.2f} s later")

    cedar.stop()
    time.sleep(1.0)
    before = amber.height
    event = amber.ask("wallet.send", to=birch.account, amount=CREDIT, memo="", wait=False)["event"]

    def says_so() -> str | None:
        text = amber.command("status", as_json=False).out
        return text if "halted: nothing becomes final" in text else None

    said = eventually(says_so, "`fog status` says that it is halted", within_s=60)
    for stopped in (cedar, dune):
        assert stopped.account[:16] in said.partition("silent:")[2], f"{stopped.name} is not named: {said}"
    assert amber.item(f"/v1/events/{event}")["status"] != "final"
    assert amber.height <= before + 1

    cedar.start()
    begun = time.monotonic()
    eventually(lambda: amber.item(f"/v1/events/{event}")["status"] == "final", "it is final", within_s=30)
    tell(
        f"the third of four came back: what waited is final {time.monotonic() - begun:.2f} s after it was up"
    )
    dune.start()
    wait_until_final(cluster, list(cluster))
    assert_same_history(list(cluster))
    assert "halted" not in amber.command("status", as_json=False).out


def test_a_validator_whose_disk_was_wiped_rejoins_with_its_key_and_decides_again(cluster: Cluster) -> None:
    """It keeps key, genesis and settings. Everything else comes from the others, where its lane ends too."""
    amber, birch, cedar, dune = cluster
    wait_until_final(cluster, [dune, amber, birch, cedar])
    dune.kill()
    dune.lose_disk()
    wait_until_final(cluster, [amber, birch, cedar])
    begun = time.monotonic()
    dune.start()
    wait_until_final(cluster, [dune, amber, birch, cedar])
    assert {node.counter("forked_lanes") for node in cluster} == {0}, "it contradicted itself on its lane"
    tell(f"a wiped validator was at the others' height {time.monotonic() - begun:.2f} s after it was started")
    assert_same_history(list(cluster))
    for _ in range(SLOTS_ABSTAINED):  # it may have voted there before, and does not know how
        wait_until_final(cluster, list(cluster))

    cedar.stop()  # now nothing is final without the one that was wiped
    begun = time.monotonic()
    wait_until_final(cluster, [amber, birch, dune], within_s=60)
    tell(f"and its vote counts: final without another of the four after {time.monotonic() - begun:.2f} s")
    cedar.start()
    wait_until_final(cluster, list(cluster))


@pytest.mark.long
def test_two_hundred_kills_under_load_lose_nothing_and_pay_nothing_twice(cluster: Cluster) -> None:
    """At random moments a random validator is killed (SIGKILL) and started again, while all of them pay."""
    chance = random.Random(20261125)
    nodes = list(cluster)
    wait_until_final(cluster, nodes)
    before = min(node.height for node in nodes)
    with Load(nodes, per_s=LOAD_PER_S, seed=2) as load:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.0, 1.0))
            node = chance.choice(nodes)
            node.kill()
            time.sleep(chance.choice([0.0, 0.0, chance.uniform(0.0, 0.5)]))
            node.launch()
            if chance.random() < 0.7:  # or else another one may go while this one is not back
                node.wait_until_up()
    for node in nodes:
        node.wait_until_up()
    assert len(load.acknowledged) > KILLS, "hardly anybody paid"
    count = load.check(nodes)
    height = assert_same_history(nodes)
    tell(
        f"{KILLS} kills: {len(load.acknowledged)} payments acknowledged, all final once; "
        f"{count} final in all, {height - before} checkpoints; refused {dict(load.refused)}"
    )
