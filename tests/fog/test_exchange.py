"""What comes by any road is judged and told; what is told is not always worth a line in the log."""

from __future__ import annotations

import logging

import pytest
import trio

from fog.exchange import Exchange
from fog.replica_thread import ReplicaThread
from ledger import admission
from ledger.forks import ForkProof
from network.host import open_host
from tests.ledger.world import START, Author, key_of, make_genesis, pay, replica, wires

pytestmark = pytest.mark.trio

GENESIS = make_genesis(alice=100)


async def test_a_rival_that_finds_no_room_is_told_each_time_and_never_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What costs a stranger nothing must not fill a disk, not even by its log; and a line says who it was."""
    monkeypatch.setattr(admission, "RIVALS_PER_LANE_MAX", 2)
    caplog.set_level(logging.WARNING, logger="fog.exchange")
    alice = Author(GENESIS, "alice")
    events = [alice.says(pay("bob", amount), after=None) for amount in range(1, 6)]
    told: list[ForkProof] = []
    with trio.fail_after(30):
        async with open_host(key_of("us").seed, []) as host:
            ledger = ReplicaThread(replica(GENESIS), lambda: START + 5_000)
            exchange = await Exchange.open(host, ledger, flush_ms=5)
            exchange.on_faults(told.extend, lambda warrants: None)
            for _ in range(3):
                await exchange._events_by_sync(wires(events), "peer")
    assert len(told) == 2 + 3 * 2
    [line] = [record.getMessage() for record in caplog.records]
    assert line == f"2 proofs of forked lanes, the first at {alice.key.public.hex()}/0/0"
