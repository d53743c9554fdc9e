"""Tables of a node that began from a snapshot: what stands is right at once, and stays so with the tail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.payloads import EscrowOpen, JobSubmit, Offer, StakeBond, Transfer
from domain.rules import FogRules
from ledger.database import reading
from ledger.replica import Replica
from ledger.shelf import Shelf
from ledger.snapshot import Download
from ledger.store import Store
from projections import balances, escrows, log, prices, reputation, schedules, validators
from projections.reader import Cursor, Reader
from projections.runner import Runner
from tests.ledger.world import follow
from tests.projections.test_real_rules import FUEL, WORKERS, Network
from tests.projections.world import CREATED, ENGINE, account, cid


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """A checked job done, another one running, an escrow, a bond, a punished double vote."""
    network = Network(tmp_path)
    for name, price in zip(WORKERS, (50, 60, 70), strict=True):
        network.say(name, Offer(2, price, CREATED + 3_600_000, ENGINE))
    network.finalize()
    terms = JobSubmit(cid("spec"), 2, 10 * 10**9, 100, 60_000, CREATED + 3_000_000, ENGINE, 1)
    job = network.say("alice", terms)
    for _ in range(12):
        network.finalize()
        if network.ask(schedules.job, job)["state"] != "running":
            break
        network.work(job)
    network.say("alice", StakeBond(2_000))
    network.finalize()
    network.say("bob", network.double_vote("alice"))
    network.say("alice", EscrowOpen(account("bob"), 1_000, 400, network.now + 60_000))
    network.say("alice", JobSubmit(cid("other"), 1, FUEL * 2, 100, 60_000, CREATED + 3_000_000, ENGINE, 1))
    network.finalize()
    yield network
    network.store.close()


def begun(network: Network, folder: Path) -> tuple[Replica, Runner]:
    shelf = Shelf(network.replica)
    manifest = shelf.offer(0)
    assert manifest is not None
    download = Download(network.store.genesis, manifest)
    while not download.is_whole:
        for part in list(download.lacking()):
            data = shelf.part(manifest.id, part)
            assert data is not None
            download.take(part, data)
    store = Store.begin(f"sqlite:///{folder}/begun.db", network.store.genesis, download.snapshot())
    return Replica.open(store, FogRules(), None, validator=False), Runner(store)


def without_height(rows: list[dict[str, object]], *others: str) -> list[dict[str, object]]:
    """When each was last changed, before the snapshot, is not known."""
    return [{name: value for name, value in row.items() if name not in ("height", *others)} for row in rows]


def assert_the_same(network: Network, store: Store) -> None:
    with reading(network.store.engine) as full, reading(store.engine) as new:
        assert without_height(balances.page(new, None, 200).rows) == without_height(
            balances.page(full, None, 200).rows
        )
        assert validators.supply(new) == validators.supply(full)
        theirs, ours = (
            without_height([row for row in validators.page(conn, None, 200).rows if row["bonded"]], "slashed")
            for conn in (full, new)
        )
        assert ours == theirs
        theirs, ours = (
            without_height(
                [row for row in escrows.page(conn, None, "open", None, 200).rows if row["state"] == "open"],
                "opened",
            )
            for conn in (full, new)
        )
        assert ours == theirs != []
        theirs, ours = (
            without_height(schedules.jobs(conn, "running", None, None, 200).rows, "born_height", "born_idx")
            for conn in (full, new)
        )
        assert ours == theirs != []
        assert without_height(schedules.live_runs(new, None, None, 200).rows) == without_height(
            schedules.live_runs(full, None, None, 200).rows
        )
        for name in WORKERS:
            one, other = (reputation.one(conn, account(name)) for conn in (full, new))
            assert [one[count] for count in ("agreed", "wrong", "lost")] == [
                other[count] for count in ("agreed", "wrong", "lost")
            ]
        assert [row["lowest"] for row in prices.current(new, None, 200).rows] == [
            row["lowest"] for row in prices.current(full, None, 200).rows
        ]
        assert without_height(prices.offers(new, None, None, 200).rows) == without_height(
            prices.offers(full, None, None, 200).rows
        )


def test_what_stands_is_in_the_tables_at_once(network: Network, tmp_path: Path) -> None:
    replica, runner = begun(network, tmp_path)
    assert runner.height == network.replica.height
    assert runner.catch_up() == runner.height
    assert_the_same(network, replica.store)
    reader = Reader(replica.store)
    assert reader.since() == runner.height
    assert reader.last() == Cursor(runner.height, 0)
    assert Reader(network.store).since() == 0
    replica.store.close()


def test_the_tail_is_folded_on_top(network: Network, tmp_path: Path) -> None:
    replica, runner = begun(network, tmp_path)
    network.say("alice", Transfer(account("dave"), 77))
    network.say("bob", Offer(1, 40, CREATED + 3_600_000, ENGINE))
    network.finalize()
    follow(replica, network.replica, now=network.now)
    assert runner.catch_up() == network.replica.height
    assert_the_same(network, replica.store)
    with reading(network.store.engine) as full, reading(replica.store.engine) as new:
        newest = log.events(full, None, None, network.replica.height, None, 200).rows
        assert log.events(new, None, None, None, None, 200).rows == newest
    replica.store.close()


def test_tables_that_are_made_anew_later_stand_at_what_is_then(network: Network, tmp_path: Path) -> None:
    replica, runner = begun(network, tmp_path)
    network.say("alice", Transfer(account("dave"), 77))
    network.finalize()
    follow(replica, network.replica, now=network.now)
    runner.catch_up()
    assert runner.rebuild() == network.replica.height
    assert_the_same(network, replica.store)
    assert Reader(replica.store).since() == network.replica.height
    replica.store.close()
