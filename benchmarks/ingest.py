"""How much of the machine's signature speed is left when a replica takes in events?

    python -m benchmarks.ingest [--events 6000] [--batch 300] [--authors 50] [--folder FOLDER]

Feeds signed events to a replica with a real SQLite store (WAL, synchronous=FULL) in batches, as sync does,
and measures bare PyNaCl verification of the same signatures in one thread, batch by batch, in the same run.

    ratio          events/s of ingest over bare verifications/s, in wall time: the median over the batches
    total_ratio    the same of the sums over all batches: with every checkpoint of SQLite and every hiccup
    cpu_ratio      in CPU time, all threads together: what is left of `ratio` on a machine with one core,
                   or with others that want the second one
    …_us           an event, the median over the batches: wall time, then CPU time of all threads

Prints a table and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import nacl.bindings

from ledger import event as events
from ledger.admission import Admission, Batch
from ledger.cid import Cid
from ledger.event import Event
from ledger.execution import OK, Context, Receipt
from ledger.genesis import Genesis, Validator
from ledger.replica import Replica
from ledger.signing import Domain, SigningKey
from ledger.state import State
from ledger.store import Store
from ledger.verifying import count_signed

CREATED = 1_700_000_000_000
TARGET = 0.6
STAGES = ("bare", "ingest", "parse", "verify", "admit", "store")

T = TypeVar("T")


class NoRules:
    """Nothing is executed here."""

    def genesis(self, genesis: Genesis) -> State:
        return State()

    def execute(self, state: State, event: Event, context: Context) -> tuple[State, Receipt]:
        return state, Receipt(event.id, OK)

    def close(self, state: State, context: Context) -> tuple[State, Receipt]:
        return state, Receipt(None, OK)

    def due(self, state: State) -> int | None:
        return None


class Clock:
    """Wall seconds of each stage and CPU seconds of the whole process meanwhile, one entry a batch."""

    def __init__(self) -> None:
        self.cpu: dict[str, list[float]] = {}
        self.wall: dict[str, list[float]] = {}

    def measure(self, stage: str, work: Callable[[], T]) -> T:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.cpu.setdefault(stage, []).append(time.process_time() - cpu)
        self.wall.setdefault(stage, []).append(time.perf_counter() - wall)
        return result


def make_events(genesis: Genesis, count: int, authors: int) -> list[Event]:
    """Transfers by `authors` lanes in turn, each event with three tips of other lanes as parents."""
    keys = [SigningKey(hashlib.sha256(b"author %d" % n).digest()) for n in range(authors)]
    heads: list[Event | None] = [None] * authors
    made: list[Event] = []
    for n in range(count):
        prev = heads[n % authors]
        seen = [event for event in made[-3:] if event.header.by != keys[n % authors].public]
        event = events.make(
            keys[n % authors],
            net=genesis.net,
            lane=0,
            seq=0 if prev is None else prev.header.seq + 1,
            prev=None if prev is None else prev.id,
            parents=tuple(event.id for event in seen),
            lc=1 + max((e.header.lc for e in [*seen, *([prev] if prev else [])]), default=0),
            ts=CREATED + n,
            kind="transfer",
            body={"to": os.urandom(32), "amount": 1_000_000 + n, "memo": "for the hours lent"},
        )
        heads[n % authors] = event
        made.append(event)
    return made


def batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def verify_bare(given: Sequence[Event]) -> None:
    for event in given:
        message = event.signature + Domain.EVENT + event.header_bytes
        nacl.bindings.crypto_sign_open(message, event.header.by)


def parse_all(given: Sequence[Event], net: Cid) -> list[Event]:
    return [events.parse(event.wire, net=net, verify_signature=False) for event in given]


def verify_all(given: Sequence[Event]) -> None:
    assert count_signed(given) == len(given)


def admit_all(admission: Admission, given: Sequence[Event], batch: Batch) -> None:
    for event in given:
        admission.stand(event, batch)


def run(count: int, batch_size: int, authors: int, path: Path) -> dict[str, Any]:
    genesis = Genesis(1, "bench", CREATED, 1, (Validator(SigningKey(bytes(32)).public, 1),), (), {})
    made = make_events(genesis, count, authors)
    clock = Clock()
    replica = Replica.open(Store.create(f"sqlite:///{path}", genesis), NoRules(), None, validator=False)
    # The two that are compared take turns, batch by batch, so that both meet the same machine.
    for batch in batches(made, batch_size):
        wires = [event.wire for event in batch]
        clock.measure("bare", partial(verify_bare, batch))
        taken = clock.measure("ingest", partial(replica.ingest, wires, peer="p", now=CREATED + 10**9))
        assert len(taken.admitted) == len(batch), taken
    replica.store.close()
    measure_stages(clock, genesis, made, batch_size, path.with_suffix(".stages"))
    return summary(clock, count, batch_size)


def measure_stages(clock: Clock, genesis: Genesis, made: list[Event], batch_size: int, path: Path) -> None:
    """The same work again, one stage after the other."""
    store = Store.create(f"sqlite:///{path}", genesis)
    admission = Admission(store)
    for given in batches(made, batch_size):
        batch = Batch()
        clock.measure("parse", partial(parse_all, given, genesis.net))
        clock.measure("verify", partial(verify_all, given))
        clock.measure("admit", partial(admit_all, admission, given, batch))
        clock.measure("store", partial(store.add, batch.chain))
        admission.stored()
    store.close()


def summary(clock: Clock, count: int, batch_size: int) -> dict[str, Any]:
    wall, cpu = clock.wall, clock.cpu
    return {
        "events": count,
        "batch": batch_size,
        "cpus": len(os.sched_getaffinity(0)),
        "ingest_per_s": round(batch_size / median(wall["ingest"])),
        "bare_verify_per_s": round(batch_size / median(wall["bare"])),
        "ratio": round(median(map(truediv, wall["bare"], wall["ingest"])), 3),
        "target_ratio": TARGET,
        "total_ratio": round(sum(wall["bare"]) / sum(wall["ingest"]), 3),
        "cpu_ratio": round(median(map(truediv, cpu["bare"], cpu["ingest"])), 3),
        **{f"{stage}_us": round(median(wall[stage]) / batch_size * 1e6, 1) for stage in STAGES},
        **{f"{stage}_cpu_us": round(median(cpu[stage]) / batch_size * 1e6, 1) for stage in STAGES},
    }


def table(found: dict[str, Any]) -> str:
    lines = [f"{'us an event':<12} {'wall':>8} {'CPU':>8}"]
    lines += [f"{stage:<12} {found[f'{stage}_us']:>8} {found[f'{stage}_cpu_us']:>8}" for stage in STAGES]
    lines.append(
        f"{found['ingest_per_s']} events/s, {found['bare_verify_per_s']} bare verifications/s, "
        f"ratio {found['ratio']} (target {found['target_ratio']}; CPU {found['cpu_ratio']})"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=6_000)
    parser.add_argument("--batch", type=int, default=300)
    parser.add_argument("--authors", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="where to put the store (default: a temporary folder)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = run(given.events, given.batch, given.authors, Path(folder) / "store.sqlite")
    print(table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
