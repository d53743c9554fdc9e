"""The validator's loop: when to make the next checkpoint.

As soon as there is news, but not sooner than `interval_ms` after the last one, so that a burst becomes one
checkpoint and not a hundred; and now and then without news, because deadlines pass and ledger time must move
(`Replica.propose` knows whether that is due).

Decides only *when*. What goes into a checkpoint, and whether this node may make one, is the ledger's.
"""

from __future__ import annotations

from typing import Final

import trio

from fog.exchange import Exchange
from fog.replica_thread import ReplicaThread

LOOK_S: Final = 0.25
"""How often a node without news looks whether a deadline has passed."""


async def validate(ledger: ReplicaThread, exchange: Exchange, interval_ms: int) -> None:
    """Propose, tell, repeat, until cancelled. Each checkpoint is durable before anybody hears of it."""
    last = ledger.replica.last
    if last is not None:  # it may have been durable, but not yet told, when we stopped
        await exchange.announce_final(last[0].encode(), last[1].encode())
    seen = -1
    while True:
        with trio.move_on_after(LOOK_S):
            seen = await ledger.arrived.after(seen)
        begun = trio.current_time()
        while (link := await ledger.write(ledger.replica.propose, ledger.clock())) is not None:
            ledger.advanced.advance()
            await exchange.announce_final(link[0].encode(), link[1].encode())
            await trio.sleep_until(begun + interval_ms / 1000)
            begun = trio.current_time()
