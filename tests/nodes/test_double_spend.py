"""A double spend that is said to the two halves of a cut network, and what is left of it when that is whole.

Four validators with equal stakes, a machine each. A stranger with a bond spends its last credits twice, once
in each half; somebody honest in each half says something after it has seen the one or the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest

from ledger import event as events
from ledger.cid import Cid
from ledger.event import Event
from ledger.store import Store
from network.gossip import encode_events
from tests.nodes.cluster import CREDIT, Cluster, Node, eventually
from tests.nodes.jobs import assert_conserved
from tests.nodes.namespaces import Lan
from tests.nodes.stranger import Author, tell
from tests.nodes.test_validators import assert_same_history, wait_until_final

pytestmark = pytest.mark.slow

NAMES = ("amber", "birch", "cedar", "dune")
GIVEN, BOND = 2_000 * CREDIT, 1_500 * CREDIT
SPENT = GIVEN - BOND  # all that is left: both spends together would be more than there is
PAYEES = {"left": "11" * 32, "right": "22" * 32}
HEALED_S_MAX = 60.0


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Lan() as lan, Cluster(tmp_path_factory.mktemp("double_spend"), lan) as cluster:
        cluster.found_together(*NAMES)
        wait_until_final(cluster, list(cluster))
        yield cluster


def say(nodes: list[Node], one: Author, event: Event, until: Callable[[], object], what: str) -> None:
    """The stranger tells the first of `nodes`, from within its machine, and stays until `until` is true."""
    at = nodes[0]
    assert at.machine is not None
    at.machine.inside(lambda: tell(at, one.seed, [encode_events([event.wire])], until, what))


def have(nodes: list[Node], id: Cid | str, status: str | None = None) -> bool:
    """Whether all of them hold the event, with that status if there is one."""
    seen = [node.item(f"/v1/events/{id}")["status"] for node in nodes]
    return status is None or set(seen) == {status}


def parents(node: Node, event: str) -> tuple[Cid, ...]:
    """What an event names as seen, as its node stored it."""
    with Store.open(node.home.store_url) as store:
        [wire] = store.wires([Cid.parse(event)]).values()
    return events.parse(wire, net=node.home.read_genesis().net).header.par


def test_a_double_spend_in_two_halves_counts_once_and_costs_a_bond(cluster: Cluster) -> None:
    assert cluster.lan is not None
    nodes = amber, birch, cedar, dune = list(cluster)
    halves = {"left": [amber, birch], "right": [cedar, dune]}
    one = Author(hashlib.sha256(b"wants it twice").digest(), amber.home.read_genesis().net)
    funded = amber.ask("wallet.send", to=one.account, amount=GIVEN, memo="", wait=False)["event"]
    eventually(lambda: have(nodes, funded, "final"), "the stranger has credits")
    bond = one.write("stake.bond", {"amount": BOND})
    say(nodes, one, bond, lambda: have(nodes, bond.id, "final"), "its bond is final everywhere")
    assert amber.item(f"/v1/events/{bond.id}")["code"] == "ok"

    spends: dict[str, Event] = {}
    honest: dict[str, str] = {}
    with cluster.lan.parted({"amber", "birch"}, {"cedar", "dune"}):
        for side, half in halves.items():
            payee = bytes.fromhex(PAYEES[side])
            spend = spends[side] = one.write("transfer", {"to": payee, "amount": SPENT}, after=bond)
            say(
                half, one, spend, lambda half=half, spend=spend: have(half, spend.id), f"{side} has its spend"
            )
            first, other = half
            honest[side] = first.ask("wallet.send", to=other.account, amount=CREDIT, memo="", wait=False)[
                "event"
            ]
            assert spend.id in parents(first, honest[side]), f"{first.name} did not see what it follows"
        for side, half in halves.items():
            assert not have(half, spends[side].id, "final"), "a half made something final"

    everything = [*(spend.id for spend in spends.values()), *honest.values()]
    eventually(
        lambda: all(have(nodes, id, "final") for id in everything),
        "both spends and what follows them are final everywhere",
        within_s=HEALED_S_MAX,
    )
    codes = {
        side: {node.item(f"/v1/events/{spend.id}")["code"] for node in nodes}
        for side, spend in spends.items()
    }
    assert sorted(map(sorted, codes.values())) == [["fork_void"], ["ok"]], codes
    [loser] = [side for side, code in codes.items() if code == {"fork_void"}]
    for node in nodes:
        paid = {side: node.ask("wallet.balance", account=payee)["free"] for side, payee in PAYEES.items()}
        assert paid == {side: 0 if side == loser else SPENT for side in PAYEES}, f"{node.name} paid {paid}"
        assert node.item(f"/v1/events/{honest[loser]}")["code"] == "ok", "an honest event went with the loser"

    def punished() -> bool:
        return all(node.items(f"/v1/slashes?account={one.account}") for node in nodes)

    eventually(punished, "the fork is punished everywhere", within_s=HEALED_S_MAX)
    cluster.settle()
    for node in nodes:
        [slash] = node.items(f"/v1/slashes?account={one.account}")
        assert (slash["offence"], int(slash["amount"]) > 0) == ("fork", True)
        assert int(node.item(f"/v1/validators/{one.account}")["bonded"]) == BOND - int(slash["amount"])
        said = [event for event in node.items("/v1/events?kind=evidence.fork") if event["code"] == "ok"]
        assert [event["account"] for event in said] == [slash["reporter"]], "the evidence is in the log, once"
        assert_conserved(node)
    assert_same_history(nodes)
