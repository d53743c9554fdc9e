"""The way between nodes is cut, without a word or with the cable, and given back: all agree soon after.

The anchor goes on making checkpoints, some nodes hear nothing of it, and links that look alive carry nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.nodes.cluster import BUYS, CREDIT, Cluster, eventually
from tests.nodes.namespaces import Lan

pytestmark = pytest.mark.slow

HEALED_S_MAX = 5.0  # from the way being open to the height of the others
PAY_EVERY_S = 0.5
SHORT_S, LONG_S = 3.0, 8.0  # shorter than a link needs to be known dead, and longer


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An anchor and three followers, a machine each."""
    with Lan() as lan, Cluster(tmp_path_factory.mktemp("partitions"), lan) as cluster:
        cluster.found("anchor")
        cluster.join(first=BUYS, second=BUYS, third=BUYS)
        yield cluster


def silence(lan: Lan) -> Callable[[], None]:
    lan.part({"anchor", "first"}, {"second", "third"})
    return lan.heal


def cables(lan: Lan) -> Callable[[], None]:
    lan.unplug("second", "third")
    return lambda: lan.plug("second", "third")


@pytest.mark.parametrize("seconds", [SHORT_S, LONG_S])
@pytest.mark.parametrize("cut", [silence, cables])
def test_who_was_cut_off_has_the_others_height_within_seconds_of_healing(
    cluster: Cluster, cut: Callable[[Lan], Callable[[], None]], seconds: float
) -> None:
    assert cluster.lan is not None
    anchor, near = cluster["anchor"], cluster["first"]
    far = [cluster["second"], cluster["third"]]
    before = cluster.settle()
    heal = cut(cluster.lan)
    begun = time.monotonic()
    try:
        while (left := begun + seconds - time.monotonic()) > 0:
            anchor.ask("wallet.send", to=near.account, amount=CREDIT, memo="")
            time.sleep(min(left, PAY_EVERY_S))
        height = anchor.height
        assert height > before + 2, "the anchor goes on alone"
        assert all(node.height <= before + 1 for node in far), "the others heard nothing of it"
    finally:
        heal()
    healed = time.monotonic()
    for node in far:
        eventually(lambda node=node: node.height >= height, f"{node.name} is at {height}", within_s=20)
    took = time.monotonic() - healed
    sys.stdout.write(f"{cut.__name__} for {seconds:g} s: at the others' height {took:.2f} s after healing\n")
    assert took < HEALED_S_MAX
    cluster.settle()
