"""How fast is a log replayed: audited by strangers, imported by a new node, folded into tables again?

    python -m benchmarks.replay [--events 50000] [--accounts 500] [--rounds 3] [--folder FOLDER] [--profile]

Makes a log of signed events (transfers between accounts and to new ones, offers, some refused, a tenth on the
bulk lane), final in checkpoints of a thousand, folded into the read models as it grows; and exports it. Then,
each beside bare PyNaCl verification of the same signatures in one thread, half of it before and half after:

    audit      every check there is, from the file alone, with one process and with two
    import     after an audit: no signatures, each event executed and written into a new SQLite store
    rebuild    the read models, from the store alone; they must equal those folded live, row by row
    live       one checkpoint of five events, as a node folds it after each: what is given in return for
               batches must not be paid here

    audit_ratio       events/s of an audit over bare verifications/s, in CPU time
    two_speedup       with two processes, by the CPU time of the busier one: what a machine gives that has two
                      cores for it; `two_speedup_wall` is what this one gave, beside whatever else it ran
    import_per_s      events/s in CPU time; `import_us` says where they went
    rebuild_per_s     the same for all read models together; `rebuild_us` says what each part takes, see
                      `benchmarks/folding.py`, and `replays_per_s` what a replay that ends earlier would reach
    …_us              CPU time an event

CPU time is that of the process, because the wall clock of a machine that others use says little; and of all
rounds the least, because what others do only adds. Their use of caches slows Python more than it slows the
reference, so the ratio still falls with the load that is printed.

Prints a table and, last, one line of JSON. Exit code 1 if a rebuilt table differs from the one folded live.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import json
import os
import pstats
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import nacl.bindings
import sqlalchemy as sa

from benchmarks.folding import Folding, replays
from domain.payloads import Offer, Transfer, kind_of
from domain.rules import FogRules
from domain.rules.execute import VERSION as RULES
from ledger import archive, canonical, signing
from ledger import event as events
from ledger.audit import audit
from ledger.database import Synchronous, reading
from ledger.event import HEADER_SIZE_MAX, LANE_BULK, LANE_LEDGER, Event
from ledger.events_of_archives import signature_in
from ledger.genesis import Allocation, Genesis, Validator
from ledger.importing import import_archive
from ledger.replica import Replica
from ledger.signing import Domain, SigningKey, verify_alone
from ledger.store import Store
from projections.runner import MODELS, Runner

CREATED = 1_700_000_000_000
CHECKPOINT = 1_000
TARGETS = {"audit_ratio": 0.85, "two_speedup": 1.7, "import_per_s": 60_000, "rebuild_per_s": 60_000}
LIVE_EVENTS, LIVE_CHECKPOINTS = 5, 200

T = TypeVar("T")


def key(word: str, n: int) -> SigningKey:
    return SigningKey(hashlib.sha256(b"%s %d" % (word.encode(), n)).digest())


class Log:
    """What the authors say, one checkpoint's worth after the other."""

    def __init__(self, genesis: Genesis, accounts: int) -> None:
        self._net = genesis.net
        self._keys = [key("account", n) for n in range(accounts)]
        self._heads: dict[tuple[bytes, int], Event] = {}
        self._latest: list[Event] = []

    def say(self, n: int) -> bytes:
        """The wire of event number `n`. It has seen the three before it that are of other lanes."""
        author = self._keys[n * 7919 % len(self._keys)]
        lane, (kind, version), body = self._statement(n)
        prev = self._heads.get((author.public, lane))
        seen = [event for event in self._latest if event.lane != (author.public, lane)]
        event = events.make(
            author,
            net=self._net,
            lane=lane,
            seq=0 if prev is None else prev.header.seq + 1,
            prev=None if prev is None else prev.id,
            parents=tuple(event.id for event in seen),
            lc=1 + max((e.header.lc for e in (*seen, *([prev] if prev else []))), default=0),
            ts=CREATED + n,
            kind=kind,
            version=version,
            body=body,
        )
        self._heads[event.lane] = event
        self._latest = [*self._latest[-2:], event]
        return event.wire

    def _statement(self, n: int) -> tuple[int, tuple[str, int], Any]:
        if n % 10 == 9:
            sample = {
                "at": n,
                "load": n % 100,
                "free": [1, 2, 3],
                "digest": hashlib.sha256(b"%d" % n).digest(),
            }
            return LANE_BULK, ("telemetry", 1), sample
        if n % 50 == 3:
            offer = Offer(n % 4 + 1, 1_000 + n % 1_000, CREATED + 3_600_000, bytes(32))
            return LANE_LEDGER, kind_of(offer), offer
        to = key("stranger", n) if n % 20 == 5 else self._keys[n * 104_729 % len(self._keys)]
        transfer = Transfer(to.public, 10**15 if n % 100 == 7 else 1_000 + n, "for the hours lent")
        return LANE_LEDGER, kind_of(transfer), transfer


def begin(folder: Path, accounts: int, *, synchronous: Synchronous) -> tuple[Store, Replica, Log]:
    """A new network, with a store in `folder`, its one validator, and those who will speak."""
    anchor = key("anchor", 0)
    held = sorted(key("account", n).public for n in range(accounts))
    genesis = Genesis(
        1,
        "bench",
        CREATED,
        RULES,
        (Validator(anchor.public, 1),),
        tuple(Allocation(account, 10**12) for account in held),
        {},
    )
    store = Store.create(f"sqlite:///{folder}/live.sqlite", genesis, synchronous=synchronous)
    return store, Replica.open(store, FogRules(), anchor, validator=True), Log(genesis, accounts)


def grow(replica: Replica, log: Log, numbers: range) -> None:
    """One checkpoint more."""
    wires = [log.say(n) for n in numbers]
    taken = replica.ingest(wires, peer="p", now=CREATED + 10**9)
    assert len(taken.admitted) == len(wires), taken
    assert replica.step(CREATED + numbers[0]).final, "nothing became final"


def make(folder: Path, count: int, accounts: int) -> tuple[Path, dict[str, list[Any]]]:
    """The archive, and the read models' tables as they were folded while the log grew."""
    store, replica, log = begin(folder, accounts, synchronous="OFF")
    runner = Runner(store)
    for first in range(0, count, CHECKPOINT):
        grow(replica, log, range(first, min(first + CHECKPOINT, count)))
        runner.catch_up()
    path = folder / "log.car"
    with path.open("wb") as out:
        archive.write(store, out)
    live = contents(store)
    store.close()
    return path, live


def contents(store: Store) -> dict[str, list[Any]]:
    """Every row of every table of every model."""
    tables = [table for model in MODELS for table in model.tables]
    with reading(store.engine) as conn:
        return {
            table.name: [tuple(row) for row in conn.execute(sa.select(table).order_by(*table.primary_key))]
            for table in tables
        }


@dataclass
class Signed:
    """What a signature needs: who, over what, and the signature before it as PyNaCl wants it."""

    by: bytes
    message: bytes
    signed: bytes


def signatures(path: Path) -> Iterator[Signed]:
    with path.open("rb") as stream:
        for section in archive.Sections(stream):
            if isinstance(section, archive.SignedEvent):
                data = section.event.data
                signature = signature_in(section.signature.data, section.event.cid)
                by = canonical.decode(data, size_max=HEADER_SIZE_MAX)["by"]
                message = Domain.EVENT + data
                yield Signed(by, message, signature + message)


@dataclass
class Spent:
    """Seconds: of the wall clock, of this process, of those it started."""

    wall: float
    cpu: float
    others: float


def spent(work: Callable[[], T]) -> tuple[T, Spent]:
    wall, cpu, others = time.perf_counter(), time.process_time(), _others()
    result = work()
    return result, Spent(time.perf_counter() - wall, time.process_time() - cpu, _others() - others)


def _others() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Rounds:
    """Each thing measured again in every round, beside the reference: half of it before and half after."""

    def __init__(self, given: list[Signed]) -> None:
        self._halves = given[: len(given) // 2], given[len(given) // 2 :]
        self.bare: list[Spent] = []
        self.took: dict[str, list[Spent]] = {}

    def measure(self, what: str, work: Callable[[], T]) -> T:
        _, before = spent(lambda: self._verify(self._halves[0]))
        result, took = spent(work)
        _, after = spent(lambda: self._verify(self._halves[1]))
        self.bare.append(Spent(before.wall + after.wall, before.cpu + after.cpu, 0.0))
        self.took.setdefault(what, []).append(took)
        return result

    @staticmethod
    def _verify(given: list[Signed]) -> None:
        for one in given:
            nacl.bindings.crypto_sign_open(one.signed, one.by)


def run(count: int, accounts: int, rounds: int, folder: Path) -> dict[str, Any]:
    path, live = make(folder, count, accounts)
    given = list(signatures(path))
    clock, rules = Rounds(given), FogRules()
    folds: list[dict[str, float]] = []
    for n in range(rounds):
        alone = clock.measure("one", lambda: audit(path, rules, net=None))
        shared = clock.measure("two", lambda: audit(path, rules, net=None, jobs=2))
        assert alone.ok, alone
        assert shared == alone, (shared, alone)
        url = f"sqlite:///{folder}/imported{n}.sqlite"
        imported = clock.measure("import", partial(import_archive, path, url, rules, net=alone.net))
        clock.measure("quick", lambda: all(verify_alone(s.by, s.message, s.signed[:64]) for s in given))
        with Store.open(url) as store:
            last = store.last()
            assert last is not None
            assert (last.checkpoint.sroot, last.checkpoint.eroot) == (alone.state_root, alone.event_root)
            Replica.open(store, rules, None, validator=False)  # raises if the rows have another root
            folding = Folding(store)
            clock.measure("fold", folding.run)
            folds.append(folding.seconds(clock.took["fold"][-1].cpu))
            equal = contents(store) == live
    least = {what: min(fold[what] for fold in folds) for what in folds[0]}
    one_live = min(live_step(folder / f"live{n}") for n in range(rounds))
    return summary(count, path.stat().st_size, clock, imported.seconds, least, one_live, equal=equal)


def live_step(folder: Path) -> float:
    """Seconds of CPU that a node's read models take for one small checkpoint, fsync included."""
    folder.mkdir()
    store, replica, log = begin(folder, 50, synchronous="FULL")
    runner = Runner(store)
    runner.catch_up()
    total = 0.0
    for first in range(0, LIVE_EVENTS * LIVE_CHECKPOINTS, LIVE_EVENTS):
        grow(replica, log, range(first, first + LIVE_EVENTS))
        total += spent(runner.catch_up)[1].cpu
    store.close()
    return total / LIVE_CHECKPOINTS


def summary(
    count: int,
    size: int,
    clock: Rounds,
    imported: dict[str, float],
    folds: dict[str, float],
    live: float,
    *,
    equal: bool,
) -> dict[str, Any]:
    def us(seconds: float) -> float:
        return round(seconds / count * 1e6, 1)

    def cpu(what: str) -> float:
        return min(took.cpu for took in clock.took[what])

    bare = min(took.cpu for took in clock.bare)
    two = min(clock.took["two"], key=busier)
    wall = {what: min(took.wall for took in clock.took[what]) for what in ("one", "two")}
    return {
        "events": count,
        "bytes": size,
        "cpus": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "library": "libsodium" if signing._zebra is None else "ed25519-zebra",
        "bare_us": us(bare),
        "bare_per_s": round(count / bare),
        "audit_us": us(cpu("one")),
        "audit_signatures_us": us(cpu("quick")),
        "audit_ratio": round(bare / cpu("one"), 3),
        "two_us": us(busier(two)),
        "two_worker_us": us(two.others),
        "two_speedup": round(cpu("one") / busier(two), 3),
        "two_speedup_wall": round(wall["one"] / wall["two"], 3),
        "import_us": {**{what: us(seconds) for what, seconds in imported.items()}, "all": us(cpu("import"))},
        "import_per_s": round(count / cpu("import")),
        "rebuild_us": {**{what: us(seconds) for what, seconds in folds.items()}, "all": us(cpu("fold"))},
        "rebuild_per_s": round(count / cpu("fold")),
        "replays_per_s": {name: round(count / seconds) for name, seconds in replays(folds).items()},
        "live_us_a_checkpoint": round(live * 1e6),
        "rebuild_equals_live": equal,
        **{f"target_{name}": value for name, value in TARGETS.items()},
    }


def exit_code(found: dict[str, Any]) -> int:
    """Speed is told, not judged: what would be wrong on any machine is a table that differs."""
    return int(not found["rebuild_equals_live"])


def busier(took: Spent) -> float:
    return max(took.cpu, took.others)


def table(found: dict[str, Any]) -> str:
    lines = [
        f"{found['events']} events, {found['bytes'] / found['events']:.0f} bytes each in the archive; load "
        f"{found['load']} on {found['cpus']} cores; CPU time an event:",
        f"{'bare PyNaCl verification':<34} {found['bare_us']:>8} us",
        f"{'audit, one process':<34} {found['audit_us']:>8} us   of which signatures with {found['library']} "
        f"{found['audit_signatures_us']}",
        f"{'audit, the busier of two processes':<34} {found['two_us']:>8} us   "
        f"the worker {found['two_worker_us']}",
        f"{'import without signatures':<34} {found['import_us']['all']:>8} us   "
        + ", ".join(f"{what} {cpu}" for what, cpu in found["import_us"].items() if what != "all"),
        f"{'read models from nothing':<34} {found['rebuild_us']['all']:>8} us   "
        + ", ".join(f"{what} {cpu}" for what, cpu in found["rebuild_us"].items() if what != "all"),
        f"{'read models, live, 5 events at once':<34} {found['live_us_a_checkpoint']:>7} us a checkpoint",
        "",
    ]
    lines += [f"{name:<16} {found[name]:>8}   target {target}" for name, target in TARGETS.items()]
    lines += [f"{name:<22} {per_s:>8} events/s" for name, per_s in found["replays_per_s"].items()]
    lines.append(f"{'two_speedup_wall':<16} {found['two_speedup_wall']:>8}")
    lines.append(
        f"read models rebuilt {'equal' if found['rebuild_equals_live'] else 'DIFFER FROM'} the live ones"
    )
    return "\n".join(lines)


def profile(count: int, accounts: int, folder: Path) -> None:
    """Where the time of an audit and of an import goes, function by function (a profile slows calls)."""
    path, _ = make(folder, count, accounts)
    url = f"sqlite:///{folder}/profiled.sqlite"
    for work in (
        lambda: audit(path, FogRules(), net=None),
        lambda: import_archive(path, url, FogRules()),
    ):
        profiler = cProfile.Profile()
        profiler.runcall(work)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--profile", action="store_true", help="profile an audit and an import instead")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        if given.profile:
            profile(given.events, given.accounts, Path(folder))
            return 0
        found = run(given.events, given.accounts, given.rounds, Path(folder))
    print(table(found))
    print(json.dumps(found))
    return exit_code(found)


if __name__ == "__main__":
    sys.exit(main())
