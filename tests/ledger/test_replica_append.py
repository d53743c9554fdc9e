"""What a replica says itself: it goes on from its own lane, and nothing leaves it that no peer would take."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import UsageError
from ledger.replica import Replica
from ledger.store import Store
from tests.ledger.paying import PayingRules
from tests.ledger.test_replica import GENESIS, NOW
from tests.ledger.world import (
    Author,
    feed,
    key_of,
    pay,
    replica,
)


def test_our_events_continue_our_lane_and_refer_to_what_we_saw():
    node = replica(GENESIS, "alice")
    tips = [Author(GENESIS, f"author {n}").says(pay("bob", 1)) for n in range(10)]
    feed(node, *tips)
    first = node.append("pay", 1, pay("bob", 1), now=NOW, exp=9)
    second = node.append("pay", 1, pay("bob", 2), now=NOW - 1_000)
    assert set(first.header.par) <= {event.id for event in tips}
    assert (len(first.header.par), first.header.lc, first.header.exp) == (8, 2, 9)
    # The two tips that were left over, and no others: the first eight are seen through `first`.
    assert set(second.header.par) == {event.id for event in tips} - set(first.header.par)
    assert (second.header.seq, second.header.prev, second.header.ts) == (1, first.id, NOW)
    assert second.header.lc == 3


def test_other_replicas_take_what_we_append():
    ours, theirs = replica(GENESIS, "alice"), replica(GENESIS)
    said = [ours.append("pay", 1, pay("bob", n), now=NOW + n, lane=lane) for n in range(5) for lane in (0, 2)]
    assert sorted(feed(theirs, *said).admitted, key=repr) == sorted(said, key=repr)
    assert theirs.hello() == ours.hello()


def test_threads_that_append_do_not_fork_us():
    node = replica(GENESIS, "alice")
    threads = [
        threading.Thread(target=lambda: [node.append("pay", 1, pay("bob", 1), now=NOW) for _ in range(10)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert node.heads[key_of("alice").public, 0][0] == 39
    assert node.store.counts()["rivals"] == 0


def test_what_cannot_be_said_is_our_users_to_change():
    with pytest.raises(UsageError) as refused:
        replica(GENESIS).append("pay", 1, pay("bob", 1), now=NOW)
    assert refused.value.code == "read_only"
    with pytest.raises(UsageError) as refused:
        replica(GENESIS, "alice").append("pay", 1, {"memo": "x" * 20_000}, now=NOW)
    assert refused.value.code == "body_too_large"


def test_what_is_said_together_stands_in_its_order_or_not_at_all(tmp_path: Path):
    """Durable together: after a statement that cannot be made, the lane is where it was, also on the disk."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    alice = replica(GENESIS, "alice", url=url)
    first = alice.append_all([("pay", 1, pay("bob", 1)), ("pay", 1, pay("bob", 2))], now=NOW)
    assert [event.header.seq for event in first] == [0, 1]
    with pytest.raises(UsageError):
        alice.append_all([("pay", 1, pay("bob", 3)), ("pay", 1, {"memo": "x" * 20_000})], now=NOW)
    assert alice.append("pay", 1, pay("bob", 4), now=NOW).header.seq == 2
    assert alice.store.counts()["events"] == 3


@pytest.mark.parametrize(
    "body", [{"memo": "e\u0301"}, {"amount": 2**63}], ids=["not NFC", "too large a number"]
)
def test_nothing_that_no_peer_would_take_is_signed_or_stored(body: dict[str, Any], tmp_path: Path):
    """It would stand here alone, have us banned by our peers, and the store would not open again."""
    url = f"sqlite:///{tmp_path}/store"
    node = Replica.open(Store.create(url, GENESIS), PayingRules(), key_of("alice"), validator=False)
    with pytest.raises(UsageError) as refused:
        node.append("pay", 1, body, now=NOW)
    assert refused.value.code == "bad_event"
    said = node.append("pay", 1, pay("bob", 1), now=NOW)
    node.store.close()
    again = Replica.open(Store.open(url, GENESIS.net), PayingRules(), key_of("alice"), validator=False)
    assert again.unordered() == [said.id]
