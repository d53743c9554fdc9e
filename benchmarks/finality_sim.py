"""How many message delays a payment takes to be final among twenty validators, each 100 ms from all others.

Virtual time: what is counted is the protocol's, whatever the machine. The real ledger votes; links are
perfect and every message takes exactly 100 ms. Payments are said one after the other, each by another node,
and a time is from when one was said until the node that said it knows it final.

Reference: what the protocol needs at the least. One delay for the payment to reach the leader (none, when the
payer leads), one for the proposal, one for the votes that notarize it, one for those that finalize it: 4.

Exits with 1, and says so, when half of the payments take longer than the target.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import replace

from domain.payloads import Transfer
from fog.sim.links import Weather
from fog.sim.plan import draw_plan
from fog.sim.world import World

VALIDATORS = 20
DELAY_MS = 100
TARGET_P50_DELAYS = 4.0
LEAST_DELAYS = 4
PAUSE_MS = 1_500  # between payments: long enough for the one before to be final everywhere
WAIT_MS = 60_000


def measure(payments: int, seed: int) -> list[float]:
    """Delays of each payment."""
    plan = replace(
        draw_plan(seed, nodes=VALIDATORS), liars={}, faults=(), weather=Weather(DELAY_MS, 0), run_ms=0
    )
    world = World(plan)
    scheduler, nodes = world.ground.scheduler, world.ground.nodes
    for node in nodes:
        node.start()
    scheduler.run(5_000)
    taken: list[float] = []
    for number in range(payments):
        payer = nodes[number * 7 % len(nodes)]
        payee = nodes[(number * 7 + 1) % len(nodes)]
        said = scheduler.now
        event = payer.append(Transfer(payee.key.public, 1))
        assert event is not None, "a payment could not be said"
        id = event.id
        scheduler.run(
            said + WAIT_MS, lambda id=id, node=payer: node.replica.store.event_status(id) is not None
        )
        assert payer.replica.store.event_status(id) is not None, "a payment is not final after a minute"
        taken.append((scheduler.now - said) / DELAY_MS)
        scheduler.run(scheduler.now + PAUSE_MS)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payments", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    taken = measure(options.payments, options.seed)
    p50, p99 = statistics.median(taken), sorted(taken)[len(taken) * 99 // 100]
    print(f"{VALIDATORS} validators   p50 {p50:g} delays (target {TARGET_P50_DELAYS:g})   p99 {p99:g}")
    found = {
        "validators": VALIDATORS,
        "delay_ms": DELAY_MS,
        "payments": len(taken),
        "p50_delays": p50,
        "p99_delays": p99,
        "max_delays": max(taken),
        "least_delays": LEAST_DELAYS,
        "target_p50_delays": TARGET_P50_DELAYS,
    }
    print(json.dumps(found))
    if missed := list(misses(p50)):
        raise SystemExit("\n".join(missed))


def misses(p50_delays: float) -> Iterator[str]:
    """What was promised of twenty validators and does not hold here."""
    if p50_delays > TARGET_P50_DELAYS:
        yield f"p50 is {p50_delays:g} delays, over its target of {TARGET_P50_DELAYS:g}"


if __name__ == "__main__":
    main()
