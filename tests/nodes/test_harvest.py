"""Nodes whose owners come first: what they run is stopped, held, and given back; and they say why.

What a machine is like is read from a file (`harvest.source`), as from any other probe; all else is real.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from domain.harvest.readings import Readings
from fog.ahead import QUEUE_S_MAX
from fog.gate import HOLD_S
from tests.nodes.cluster import LENDS, Cluster, Node, eventually
from tests.nodes.jobs import Copying, assert_each_shard_was_paid_once, runs_of, state_of

pytestmark = pytest.mark.slow

FUEL = 100_000_000_000  # more than the program uses
TURNS = 600_000_000  # a second, if nobody else wants the processor
MINUTES_MS = 60_000
RUN_S_MAX = 300  # a run of the lowest priority takes minutes where others want the processor

IDLE = Readings(
    has_battery=True,
    on_mains=True,
    charge_percent=90,
    cpu_mc=50_000,
    user_idle_ms=30 * MINUTES_MS,
    metered=False,
    cpu_others_ppm=10_000,
    memory_available_bytes=8 << 30,
)


class Laptop:
    """The settings of a node that is one, and the file that says how it is."""

    def __init__(self, path: Path, **changes: str) -> None:
        self._path = path
        self.says(IDLE)
        self.settings: Mapping[str, str] = LENDS | {
            "FOG_HARVEST_ENABLED": "true",
            "FOG_HARVEST_PROFILE": "laptop",
            "FOG_HARVEST_SOURCE": str(path),
            "FOG_HARVEST_POLL_MS": "100",
            "FOG_WORKER_PRICE": "500",  # so that it is asked first
            **changes,
        }

    def says(self, readings: Readings, **changes: Any) -> None:
        part = self._path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(msgspec.structs.replace(readings, **changes)))
        part.replace(self._path)


def is_running(node: Node) -> bool:
    """The program itself: what came before is over."""
    return any(line.endswith("running, 0 of 1 done") for line in node.status()["worker"]["doing"])


def waits_for_its_turn(node: Node) -> bool:
    return any(line.endswith("waiting for its turn") for line in node.status()["worker"]["doing"])


def wait_until_done(node: Node, job: str) -> None:
    eventually(lambda: state_of(node, job)["state"] == "done", "the job is done", within_s=RUN_S_MAX)


def children(node: Node) -> list[psutil.Process]:
    assert node.process is not None
    return psutil.Process(node.process.pid).children()


def action(node: Node) -> str:
    answer: str = node.ask("harvest.show")["action"]
    return answer


def asks(node: Node, price: str) -> bool:
    """Somebody does, as far as this node knows."""
    return any(offer["price"] == price for offer in node.items("/v1/offers"))


def log(node: Node) -> list[tuple[str, str]]:
    return [(entry["action"], entry["code"]) for entry in node.ask("harvest.log")["entries"]]


def test_work_that_is_paused_goes_on_and_is_paid(tmp_path: Path) -> None:
    """By command, in the middle of a run; who checks it finds the same output and fuel."""
    laptop = Laptop(tmp_path / "laptop.json")
    with Cluster(tmp_path) as cluster:
        buyer = cluster.found("buyer")
        [lender] = cluster.join(lender=laptop.settings)
        copying = Copying(tmp_path / "job", shards=1, turns=TURNS)
        job = copying.submit(buyer, lease_ms=300_000, fuel=FUEL)
        eventually(lambda: is_running(lender), "the run has begun", within_s=RUN_S_MAX)

        paused = lender.ask("harvest.pause", for_ms=5 * MINUTES_MS)
        assert (paused["action"], paused["code"]) == ("suspend", "paused")
        worker = lender.status()["worker"]
        assert worker["action"] == "suspend"
        assert worker["why"].startswith("suspended: paused by its owner")
        assert lender.command("status", as_json=False).out.count("paused by its owner") == 1
        states = sorted(child.status() for child in children(lender))
        assert states.count(psutil.STATUS_STOPPED) == 1, states
        assert set(states) <= {psutil.STATUS_STOPPED, psutil.STATUS_SLEEPING}, "the template waits for a task"
        spent = [child.cpu_times() for child in children(lender)]
        assert lender.item("/v1/harvest")["code"] == "paused"
        cluster.join(checker=LENDS)  # takes seconds, in which nothing moves
        assert [child.cpu_times() for child in children(lender)] == spent
        assert [run["state"] for run in runs_of(buyer, job)] == ["leased"]

        assert lender.command("harvest", "resume").json["action"] == "run"
        wait_until_done(buyer, job)
        eventually(lambda: copying.is_home, "the results are here")
        assert_each_shard_was_paid_once(buyer, job)
        assert log(lender) == [("run", "idle"), ("suspend", "paused"), ("run", "idle")]


def test_work_of_an_owner_who_stays_is_given_back_and_done_elsewhere(tmp_path: Path) -> None:
    """Stopped at once; given up when the owner is still there; and the ledger does not say what they did."""
    laptop = Laptop(tmp_path / "laptop.json", FOG_HARVEST_SUSPEND_S="3")
    with Cluster(tmp_path) as cluster:
        buyer = cluster.found("buyer")
        lender, other = cluster.join(lender=laptop.settings, other=LENDS)
        eventually(lambda: asks(buyer, "500"), "the lender's offer stands, so that it is asked first")
        copying = Copying(tmp_path / "job", shards=1, turns=TURNS)
        job = copying.submit(buyer, lease_ms=300_000, fuel=FUEL, checks=0)
        eventually(lambda: is_running(lender), "the run has begun", within_s=RUN_S_MAX)

        laptop.says(IDLE, user_idle_ms=0)
        eventually(lambda: action(lender) != "run", "the owner is seen")
        assert "somebody used this machine" in lender.status()["worker"]["why"]
        eventually(lambda: action(lender) == "evict", "the owner has stayed")
        eventually(lambda: not children(lender), "nothing of it is left")
        wait_until_done(buyer, job)
        runs = sorted(runs_of(buyer, job), key=lambda run: int(run["attempt"]))
        assert [(run["worker"], run["state"], run["reason"]) for run in runs] == [
            (lender.account, "released", "evicted"),
            (other.account, "paid", ""),
        ]
        eventually(
            lambda: {row["account"] for row in buyer.items("/v1/offers")} == {other.account},
            "its offer is taken back with what it ran",
            within_s=HOLD_S / 2,
        )
        assert log(lender) == [("run", "idle"), ("suspend", "user_active"), ("evict", "user_active")]


def test_a_pause_outlives_the_node(tmp_path: Path) -> None:
    """And so does the log. A node that is paused tells nobody that it could work."""
    with Cluster(tmp_path) as cluster:
        lender = cluster.found("lender", Laptop(tmp_path / "laptop.json").settings)
        eventually(lambda: lender.items("/v1/offers"), "it offers to work")
        assert lender.command("harvest", "pause").json["action"] == "evict"
        eventually(lambda: not lender.items("/v1/offers"), "the offer is taken back")
        assert lender.stop() == 0
        events = lender.start().status()["events"]
        assert lender.ask("harvest.show")["code"] == "paused"
        assert log(lender) == [("run", "idle"), ("evict", "paused")]
        assert lender.status()["events"] == events
        lender.command("harvest", "resume")
        eventually(lambda: lender.items("/v1/offers"), "it offers to work again")


def test_a_pause_of_seconds_is_told_to_nobody(tmp_path: Path) -> None:
    """Every word of ours is kept by the whole network for ever."""
    with Cluster(tmp_path) as cluster:
        lender = cluster.found("lender", Laptop(tmp_path / "laptop.json").settings)
        eventually(lambda: lender.items("/v1/offers"), "it offers to work")
        before = cluster.settle(), lender.status()["events"]
        for _ in range(3):
            assert lender.ask("harvest.pause", for_ms=MINUTES_MS)["action"] == "suspend"
            assert lender.ask("harvest.resume")["action"] == "run"
        assert (cluster.settle(), lender.status()["events"]) == before
        assert len(log(lender)) == 7


def test_a_node_that_lends_nothing_says_so(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        buyer = cluster.found("buyer")
        refused = buyer.command("harvest", "pause", "2h")
        assert (refused.exit, refused.error["code"]) == (2, "not_lending")


def test_a_stop_of_some_seconds_gives_no_lease_back(tmp_path: Path) -> None:
    """Neither what runs nor what is held ahead, though it waits longer than it would behind a long run."""
    laptop = Laptop(tmp_path / "laptop.json")
    with Cluster(tmp_path) as cluster:
        buyer = cluster.found("buyer")
        [lender] = cluster.join(lender=laptop.settings)
        job = Copying(tmp_path / "job", shards=80, turns=1_000).submit(buyer, lease_ms=300_000, checks=0)
        eventually(lambda: waits_for_its_turn(lender), "leases are held ahead")
        lender.ask("harvest.pause", for_ms=int((QUEUE_S_MAX + 3) * 1_000))
        wait_until_done(buyer, job)
        assert {run["state"] for run in runs_of(buyer, job)} == {"paid"}
        assert log(lender) == [("run", "idle"), ("suspend", "paused"), ("run", "idle")]
