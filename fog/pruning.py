"""What this node keeps: everything, or of old bulk events only the headers, or of all old events.

    archive   every body, for good: it can export, and others can execute the history again from it
    full      bodies of lane 2 (contributions, telemetry) for BULK_MS
    light     the same, and those of lane 0 for as long as evidence can reach a bond (`unbond_ms`)

Ages are by ledger time: an old clock does not make anything young or old. A little in each turn of the
replica, so that nothing else waits for it.
"""

from __future__ import annotations

import logging
from typing import Final, Literal

import trio

from fog.replica_thread import ReplicaThread
from ledger.event import LANE_BULK, LANE_LEDGER

log = logging.getLogger(__name__)

Mode = Literal["archive", "full", "light"]

BULK_MS: Final = 30 * 86_400_000
PAUSE_S: Final = 60.0
"""Between two looks for what has become old."""

TURN_S: Final = 0.1
"""Between two turns of the replica while there is much of it."""


def kept_for(mode: Mode, unbond_ms: int) -> dict[int, int]:
    """Lane -> how long its bodies are kept, in ms of ledger time. Lanes that are not in it keep them."""
    match mode:
        case "archive":
            return {}
        case "full":
            return {LANE_BULK: BULK_MS}
    return {LANE_BULK: BULK_MS, LANE_LEDGER: unbond_ms}


async def run(ledger: ReplicaThread, mode: Mode, unbond_ms: int) -> None:
    """Until cancelled; at once done for an archive."""
    ages = kept_for(mode, unbond_ms)
    while ages:
        for lane, age in ages.items():
            pruned = await prune(ledger, lane, age)
            if pruned:
                log.info("let go of %d old bodies of lane %d", pruned, lane)
        await trio.sleep(PAUSE_S)


async def prune(ledger: ReplicaThread, lane: int, age: int) -> int:
    """All bodies of this lane number that are older than `age` (ms) by now; how many."""
    total = 0
    while True:
        last = ledger.replica.last
        if last is None:
            return total
        pruned = await ledger.write(ledger.replica.prune, lane, last.checkpoint.T - age)
        if pruned is None:
            return total
        total += pruned
        await trio.sleep(TURN_S)
