"""What the rules cost: microseconds for each kind of event, and a close that places a thousand leases.

    python -m benchmarks.rules

Times are CPU time of this process, the least of several rounds; the machine may be busy with other things.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from domain import effects
from domain.payloads import JobCancel, JobSubmit, LeaseCommit, LeaseReveal, Offer, Payload, Transfer, kind_of
from domain.rules import FogRules, commitment
from ledger import event as events
from ledger.cid import Cid
from ledger.event import Event
from ledger.execution import Context
from ledger.genesis import Allocation, Genesis, Validator
from ledger.signing import SigningKey
from ledger.state import State

ENGINE = hashlib.sha256(b"engine").digest()
GFUEL = 1_000_000_000
RESULT = Cid.of(b"result")
SALT = bytes(32)
ROUNDS = 5


def key(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(name.encode()).digest())


CLOSES_MAX = 20
FOUND: dict[str, float] = {}
"""Every figure, by what was measured and its unit."""


class Bench:
    def __init__(self, workers: int) -> None:
        self.rules = FogRules()
        self.submitter = key("submitter")
        self.workers = [key(f"worker {n}") for n in range(workers)]
        crowd = [hashlib.sha256(b"%d" % n).digest() for n in range(10_000)]
        accounts = sorted([self.submitter.public, *crowd])
        self.genesis = Genesis(
            v=1,
            name="bench",
            created=0,
            rules=7,
            validators=(Validator(self.submitter.public, 1),),
            accounts=tuple(Allocation(account, 10**12) for account in accounts),
            params={},
        )
        self.net = self.genesis.net
        self.state = self.rules.genesis(self.genesis).seal()
        self.height = 1

    @property
    def context(self) -> Context:
        beacon = hashlib.sha256(b"%d" % self.height).digest()
        return Context(self.net, self.height, self.height * 1000, beacon)

    def event(self, who: SigningKey, payload: Payload, seq: int = 0) -> Event:
        kind, version = kind_of(payload)
        prev = Cid.of(b"") if seq else None
        return events.make(
            who, net=self.net, lane=0, seq=seq, prev=prev, parents=(), lc=1, ts=0, kind=kind,
            version=version, body=payload,
        )  # fmt: skip

    def run(self, all_of: list[Event]) -> State:
        state, context = self.state, self.context
        for event in all_of:
            state, receipt = self.rules.execute(state, event, context)
            assert receipt.ok, effects.decode(receipt.effects[0])
        return state

    def cost(self, what: str, all_of: list[Event]) -> None:
        """Time the events, then let them count."""
        self.state, seconds = timed(lambda: self.run(all_of))
        FOUND[_key(what, "us")] = round(seconds / len(all_of) * 1e6, 1)
        print(f"{what:<32} {FOUND[_key(what, 'us')]:10.1f} us an event   ({len(all_of)} events)")

    def close(self, what: str = "") -> tuple[Any, ...]:
        state, context = self.state, self.context
        (self.state, receipt), seconds = timed(lambda: self.rules.close(state, context))
        self.state, sealing = timed(self.state.seal)
        if what:
            size = sum(map(len, receipt.effects))
            FOUND[_key(what, "ms")] = round(seconds * 1e3, 1)
            print(
                f"{what:<32} {seconds * 1e3:10.1f} ms a close   "
                f"({len(receipt.effects)} effects, {size // 1024} KiB; then sealing {sealing * 1e3:.1f} ms)"
            )
        self.height += 1
        return tuple(map(effects.decode, receipt.effects))

    def leases(self, told: tuple[Any, ...]) -> list[effects.RunIs]:
        return [effect for effect in told if isinstance(effect, effects.RunIs) and effect.state == "leased"]


def _key(what: str, unit: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in what).split()) + f"_{unit}"


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        value = act()
        best = min(best, time.process_time() - start)
    return value, best


def main() -> None:
    bench = Bench(workers=20)
    by_key = {worker.public: worker for worker in bench.workers}
    bench.cost(
        "transfer",
        [
            bench.event(bench.submitter, Transfer(hashlib.sha256(b"%d" % n).digest(), 5), n)
            for n in range(1000)
        ],
    )
    far = 80_000_000
    bench.cost(
        "offer", [bench.event(w, Offer(60, 1 + n % 5, far, ENGINE)) for n, w in enumerate(bench.workers)]
    )
    submit = JobSubmit(Cid.of(b"spec"), 1000, GFUEL, 10, 3_600_000, far, ENGINE)
    bench.cost("submit, 1000 shards", [bench.event(bench.submitter, submit, 5000)])
    bench.cost(
        "submit, 1 shard, another engine",
        [
            bench.event(
                bench.submitter,
                JobSubmit(Cid.of(b"spec"), 1, GFUEL, 10, 3_600_000, far, hashlib.sha256(b"x").digest()),
                6000 + n,
            )
            for n in range(1000)
        ],
    )
    bench.close()
    work = bench.leases(bench.close("lease 1000 shards to 20"))
    assert len(work) == 1000

    def commits(runs: list[effects.RunIs]) -> list[Event]:
        sealed = commitment(RESULT, GFUEL, SALT)
        return [
            bench.event(by_key[run.worker], LeaseCommit(run.job, run.shard, run.attempt, sealed), 10 + n)
            for n, run in enumerate(runs)
        ]

    bench.cost("commit, of work", commits(work))
    bench.close()
    checks = bench.leases(bench.close("draw checkers of 20"))
    for _ in range(CLOSES_MAX):  # one close looks at a bounded part of what waits
        checks += bench.leases(bench.close())
    assert len(checks) == 1000, f"{len(checks)} of 1000 shards have a checker"
    bench.cost("commit, of checks", commits(checks))
    bench.close()
    bench.close("start 1000 clocks to reveal")
    both = [
        bench.event(by_key[run.worker], LeaseReveal(run.job, run.shard, run.attempt, RESULT, GFUEL, SALT), 5)
        for run in (*work, *checks)
    ]
    bench.cost("reveal, the first", both[:1000])
    bench.cost("reveal, settles and pays", both[1000:])
    bench.close("nothing to place")
    bench.close("nothing to do")
    crowd()
    print(json.dumps(FOUND))


def crowd() -> None:
    """As many offers as may stand, and more work than they can take."""
    bench = Bench(workers=4096)
    far = 80_000_000
    for worker in bench.workers:
        bench.state = bench.run([bench.event(worker, Offer(4, 5, far, ENGINE))])
    submit = JobSubmit(Cid.of(b"spec"), 4096, GFUEL, 10, 3_600_000, far, ENGINE)
    jobs = [bench.event(bench.submitter, submit, 1 + n) for n in range(10)]
    bench.state = bench.run(jobs)
    bench.close()
    first = bench.leases(bench.close("lease 1024 of 40960 to 4096"))[0].job
    for _ in range(3):
        bench.close()
    cancel = [bench.event(bench.submitter, JobCancel(first), 99)]
    bench.cost("cancel, 4096 shards leased", cancel)


if __name__ == "__main__":
    main()
