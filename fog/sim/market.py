"""The market of a run: people offer slots, submit jobs, and carry the leases that they are given.

What a worker says is real: commitments, reveals, leases given back, leases let run out. What it would have
computed is not: equal shards have equal results here, unless a worker is careless now and then, or a liar.

Knows leases as they stand in the final state of the node that looks. Does not know who lies how.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from domain.payloads import JobCancel, JobSubmit, LeaseCommit, LeaseRelease, LeaseReveal, Offer, Payload
from domain.rules.records import JOB, SHARD, Job, Run, RunState, Shard
from domain.rules.runs import may_reveal
from domain.rules.settlement import commitment
from fog.sim.ground import Ground
from fog.sim.node import Node
from ledger.cid import Cid

ENGINE: Final = hashlib.sha256(b"the engine of the simulator").digest()
FUEL: Final = 1_000_000_000
LEASE_MS: Final = 12_000
OFFER_MS: Final = 90_000
DEADLINE_MS: Final = 60_000
SHARDS_MOST: Final = 3
FIRST: Final = 3
FIRST_MS: Final = 5_000
"""So many nodes offer slots within so long of the start, and then there is a first job."""

WORK_MS: Final = 3_000
"""A run takes up to so long."""

CARELESS: Final = 12
"""One lease in so many is let go, one is given back, and one run comes out wrong."""


class Lease(NamedTuple):
    job: Cid
    shard: int
    attempt: int


@dataclass(frozen=True)
class Result:
    result: Cid
    fuel: int
    salt: bytes

    @property
    def commitment(self) -> bytes:
        return commitment(self.result, self.fuel, self.salt)


class Market:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._draw: random.Random = ground.draw("market")
        self._results: dict[Lease, Result | None] = {}  # what workers hold; None: let go
        self._said: dict[tuple[Lease, type], None] = {}
        self._jobs: list[Cid] = []
        ground.on_final = self.look

    # -- what people say

    def open(self) -> None:
        """Some of them from the beginning, so that there is a market."""
        for node in self._draw.sample(self._ground.nodes, min(FIRST, len(self._ground.nodes))):
            self._ground.scheduler.after(self._draw.randrange(FIRST_MS), partial(self._offer, node))
        node = self._draw.choice(self._ground.nodes)
        later = self._draw.randrange(FIRST_MS, 2 * FIRST_MS)
        self._ground.scheduler.after(later, partial(self._submit, node))

    def say(self, node: Node) -> None:
        """Something about work, by the people of this node."""
        match self._draw.randrange(8):
            case 0 | 1 | 2:
                self._submit(node)
            case 3:
                self._cancel(node)
            case _:
                self._offer(node)

    def _offer(self, node: Node) -> None:
        slots, price = self._draw.randrange(4), self._draw.randrange(1, 8)
        node.append(Offer(slots, price, max(0, node.now + OFFER_MS), ENGINE))

    def _submit(self, node: Node) -> None:
        order = JobSubmit(
            spec=Cid.of(self._draw.randbytes(8)),
            shards=self._draw.randrange(1, SHARDS_MOST + 1),
            fuel=FUEL,
            price=self._draw.randrange(4, 5_000),
            lease=LEASE_MS,
            deadline=max(0, node.now + DEADLINE_MS),
            engine=ENGINE,
            checks=self._draw.randrange(2),
        )
        event = node.append(order)
        if event is not None:
            self._jobs.append(event.id)

    def _cancel(self, node: Node) -> None:
        """Now and then somebody else's, which is refused."""
        if self._jobs:
            node.append(JobCancel(self._draw.choice(self._jobs)))

    # -- what workers do

    def look(self, node: Node) -> None:
        """A node has another final state: do what its own leases ask for, after a while."""
        state = node.replica.state
        for key, row in state.items(SHARD.name):
            shard, id = SHARD.decode(row), Cid(key[:-2])
            terms = state.get(JOB.name, id)
            if terms is None:
                continue
            for attempt, run in enumerate(shard.runs):
                if run.worker == node.key.public and run.is_live:
                    lease = Lease(id, int.from_bytes(key[-2:], "big"), attempt)
                    self._carry(node, lease, shard, run, JOB.decode(terms))

    def _carry(self, node: Node, lease: Lease, shard: Shard, run: Run, job: Job) -> None:
        if lease not in self._results:
            self._results[lease] = self._computed(node, lease)
        held = self._results[lease]
        if run.state == RunState.LEASED:
            self._soon(node, lease, LeaseRelease(*lease, "tired") if held is None else _commit(lease, held))
        elif run.state == RunState.COMMITTED and held is not None and may_reveal(shard, job):
            self._soon(node, lease, LeaseReveal(*lease, held.result, held.fuel, held.salt))

    def _computed(self, node: Node, lease: Lease) -> Result | None:
        luck = self._draw.randrange(CARELESS)
        if luck == 0:
            return None
        is_wrong = luck == 1 or (node.is_liar and self._draw.randrange(2))
        shown = b"%d" % self._draw.randrange(3) if is_wrong else b""
        fuel = FUEL // 2 if luck != 2 else FUEL + 1  # nobody is paid for more than was asked for
        return Result(Cid.of(lease.job + bytes((lease.shard,)) + shown), fuel, self._draw.randbytes(32))

    def _soon(self, node: Node, lease: Lease, payload: Payload) -> None:
        what = (lease, type(payload))
        if what in self._said:
            return
        self._said[what] = None

        def say() -> None:
            if node.append(payload) is None:  # the power went: it is to be said again
                self._said.pop(what, None)

        if self._results[lease] is not None or self._draw.randrange(2):
            self._ground.scheduler.after(self._draw.randrange(WORK_MS), say)


def _commit(lease: Lease, held: Result) -> LeaseCommit:
    return LeaseCommit(*lease, held.commitment)
