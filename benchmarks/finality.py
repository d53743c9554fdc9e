"""How long a payment takes to be final where four validators decide, and how many a second they carry.

Four validators with equal stakes on loopback, each a process. Payments are asked of all of them in turn at a
steady rate, whether or not those before are final (an open loop: what is late makes nothing else late). Each
time is from when a payment was due until the node that was asked knows it final and has it in its tables.

Reference: one validator alone, at the same rate: the same node without anybody to agree with.

Exits with 1, and says what, when four validators take longer than the targets below.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack

from benchmarks.nodes import network, validators
from fog.methods import WalletSend
from fog.players import Player

TARGET_P50_MS = 500
TARGET_P99_MS = 2_000
WARM_UP = 50  # payments that are not counted
AT_ONCE_MAX = 24  # payments of one node that wait; each holds one of its 32 control connections

Network = Callable[[], AbstractContextManager[dict[str, Player]]]


def measure(players: Sequence[Player], per_s: float, count: int) -> tuple[list[float], float]:
    """(milliseconds of each payment, payments a second from the first to the last that is final)."""
    accounts = [player.ask("status")["account"] for player in players]

    def pay(number: int, due: float) -> tuple[float, float]:
        turn = number % len(players)
        to = accounts[(turn + 1) % len(accounts)] if len(accounts) > 1 else "00" * 32
        players[turn].ask("wallet.send", WalletSend(to=to, amount=1))
        now = time.perf_counter()
        return 1_000 * (now - due), now

    begun = time.perf_counter()
    with ExitStack() as stack:
        pools = [stack.enter_context(ThreadPoolExecutor(AT_ONCE_MAX)) for _ in players]
        waiting = []
        for number in range(WARM_UP + count):
            due = begun + number / per_s
            time.sleep(max(0.0, due - time.perf_counter()))
            waiting.append(pools[number % len(pools)].submit(pay, number, due))
        done = [one.result() for one in waiting][WARM_UP:]
    took = max(ended for _, ended in done) - (begun + WARM_UP / per_s)
    return [ms for ms, _ in done], count / took


def quantile(sorted_values: Sequence[float], q: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(q * len(sorted_values)))]


def figures(of: Network, per_s: float, count: int) -> dict[str, float]:
    with of() as players:
        times, rate = measure(list(players.values()), per_s, count)
    times.sort()
    return {
        "p50_ms": round(statistics.median(times)),
        "p99_ms": round(quantile(times, 0.99)),
        "longest_ms": round(times[-1]),
        "per_s": round(rate, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--per-s", type=float, default=50.0, help="payments asked for a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    count = int(options.per_s * options.seconds)
    four = figures(lambda: validators(["amber", "birch", "cedar", "dune"]), options.per_s, count)
    alone = figures(lambda: network(["alone"]), options.per_s, count)
    found = {
        "asked_per_s": options.per_s,
        "four_validators": four,
        "one_validator": alone,
        "target_p50_ms": TARGET_P50_MS,
        "target_p99_ms": TARGET_P99_MS,
    }
    for name, shown in (("four validators", four), ("one validator", alone)):
        print(f"{name:16} p50 {shown['p50_ms']} ms   p99 {shown['p99_ms']} ms   {shown['per_s']} a second")
    print(f"{'target of four':16} p50 {TARGET_P50_MS} ms   p99 {TARGET_P99_MS} ms")
    print(json.dumps(found))
    if missed := list(misses(four)):
        raise SystemExit("\n".join(missed))


def misses(four: Mapping[str, float]) -> Iterator[str]:
    """What was promised of four validators and does not hold here."""
    for name, target in (("p50_ms", TARGET_P50_MS), ("p99_ms", TARGET_P99_MS)):
        if four[name] > target:
            yield f"{name} of four validators is {four[name]}, over its target of {target}"


if __name__ == "__main__":
    main()
