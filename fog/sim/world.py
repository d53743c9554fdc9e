"""One run: a network made from a plan, its storm, the calm after it, and the report.

    storm   people pay, liars lie, faults befall the honest, for as long as the plan says
    calm    faults stop and liars do not; all that is valid must become final, within so many slots of honest
            leaders once all have it (`promptness`) and within `Plan.settle_ms`   (I13)
    finale  what is too dear for every height: replay, copies with a tail, other orders of arrival, proofs

What must always hold: a run raises nothing for what it finds; the report says it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from domain.rules.execute import VERSION
from fog.sim import finale
from fog.sim.adversaries import LIARS
from fog.sim.disk import Disk, format_for
from fog.sim.faults import Storm
from fog.sim.ground import START, Ground, Parts
from fog.sim.habits import Liar
from fog.sim.links import Links
from fog.sim.node import Node
from fog.sim.observer import Observer, Violation
from fog.sim.phones import hand_out
from fog.sim.plan import Plan
from fog.sim.promptness import SLOTS_MAX
from fog.sim.scheduler import Scheduler, stream
from fog.sim.workload import BALANCE, Workload
from ledger.event import Event
from ledger.genesis import Allocation, Genesis, Validator
from ledger.signing import SigningKey

LOOK_MS: Final = 500
"""How often the calm is asked whether all is final."""

HOPELESS_MS: Final = 20_000
"""How long too few may vote, for those who lost a disk, before the run is let go."""

PARAMS: Final = {
    "bond_min": 1,
    "grace_checkpoints": 4,
    "grace_ms": 5_000,
    "lease_min_ms": 1_000,
    "recovery_ms": 60_000,
    "unbond_ms": 60_000,
}
"""Everything that takes weeks in earnest happens within a run."""


@dataclass(frozen=True)
class Report:
    """`broken` is empty when all held; else one (invariant, what, command that makes it again)."""

    plan: Plan
    trace_hash: str
    heights: int
    events: int
    virtual_ms: int
    counts: Mapping[str, int]
    broken: tuple[tuple[str, str], ...] = ()
    story: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        return not self.broken

    def plain(self) -> dict[str, Any]:
        """As the command prints it."""
        return {
            "ok": self.ok,
            "seed": self.plan.seed,
            "trace_hash": self.trace_hash,
            "heights": self.heights,
            "events": self.events,
            **told(self.counts),
            "broken": [
                {"invariant": name, "what": what, "again": self.plan.command} for name, what in self.broken
            ],
        }


EXCUSES: Final = (
    "copy_contradicts",
    "damage_blamed",
    "damage_found",
    "halted_by_loss",
    "lane_forked_after_loss",
)
"""Counts of what an invariant let pass, because of what befell a disk."""


def told(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """How often each fault struck, each liar lied, and each excuse was needed."""
    names = sorted(counts)
    return {
        "faults": {name.removeprefix("fault."): counts[name] for name in names if name.startswith("fault.")},
        "liars": {name.removeprefix("lie."): counts[name] for name in names if name.startswith("lie.")},
        "excused": {name: counts[name] for name in EXCUSES if counts.get(name)},
    }


class World:
    def __init__(self, plan: Plan, parts: Parts | None = None) -> None:
        self.plan = plan
        parts = Parts() if parts is None else parts
        keys = [key_of(plan.seed, index) for index in range(plan.nodes)]
        genesis = make_genesis(plan, keys)
        scheduler = Scheduler()
        links = Links(scheduler, plan.nodes, plan.weather, stream(plan.seed, "links"))
        self.ground = Ground(plan.seed, genesis, links, scheduler, parts)
        self.ground.observer = self.observer = Observer(self.ground)
        template = format_for(genesis)
        for index, key in enumerate(keys):
            self.ground.nodes.append(self._node(index, key, Disk(template)))
        self.workload = Workload(self.ground, gap_ms=plan.burst_gap_ms)
        self.storm = Storm(self.ground, plan.faults, gap_ms=plan.fault_gap_ms, may_lose=self._may_lose)

    def _node(self, index: int, key: SigningKey, disk: Disk) -> Node:
        habits = self.plan.liars.get(index)
        if habits is None:
            return Node(self.ground, index, key, disk)
        return Liar(self.ground, index, key, disk, [LIARS[name] for name in habits])

    def _may_lose(self, node: Node) -> bool:
        """One at a time: whoever lost votes is silent until others told it of them."""
        return all(other.up and not other.replica.abstains for other in self.honest)

    @property
    def honest(self) -> list[Node]:
        return [node for node in self.ground.nodes if not node.is_liar]

    def run(self) -> Report:
        broken: tuple[tuple[str, str], ...] = ()
        try:
            self._run()
        except Violation as violation:
            broken = ((violation.name, violation.what),)
        for node in self.ground.nodes:
            node.disk.close()
        counts = Counter(self.ground.counts)
        counts.update({f"links.{name}": count for name, count in self.ground.links.counts.items()})
        return Report(
            plan=self.plan,
            trace_hash=self.ground.trace.digest,
            heights=len(self.observer.chain),
            events=len(self.observer.height_of),
            virtual_ms=self.ground.scheduler.now,
            counts=counts,
            broken=broken,
            story=tuple(self.ground.trace.last),
        )

    def _run(self) -> None:
        for node in self.ground.nodes:
            node.start()
        self.workload.start()
        self.ground.phones = hand_out(self.ground)
        self.storm.start()
        self.ground.scheduler.run(self.plan.run_ms)
        self._settle()
        finale.look(self.ground)

    def _settle(self) -> None:
        """I13. What a lost disk took with it before anybody else had it was never said."""
        self.workload.goes_on = False
        self.storm.calm()
        self.observer.forget(self._is_lost)
        for node in self.honest:
            self.workload.say(node)
        scheduler, begun = self.ground.scheduler, self.ground.scheduler.now
        before = self.observer.promptness.slots
        enough = begun  # when there last were enough to vote
        for moment in range(begun + LOOK_MS, begun + self.plan.settle_ms, LOOK_MS):
            scheduler.run(moment)
            if not self._is_spread(begun) or any(node.is_syncing_since(begun) for node in self.honest):
                before = self.observer.promptness.slots  # sync brings it, at its own deadlines
            slots = self.observer.promptness.slots - before
            late = self.observer.unsettled(begun + 1)
            if late is None:
                self.ground.counts["settled_ms"] = scheduler.now - begun
                self.ground.counts["settled_slots"] = slots
                return
            if slots > SLOTS_MAX:
                self.observer.broken("I13", f"{slots} slots of honest leaders after the last fault {late}")
            if self._are_enough():
                enough = moment
            elif moment - enough > HOPELESS_MS:
                self.ground.counts["halted_by_loss"] = 1
                return
        late = self.observer.unsettled(begun + 1)
        self.observer.broken("I13", f"{self.plan.settle_ms} ms after the last fault {late}")

    def _is_spread(self, moment: int) -> bool:
        """Whether what was said by then (run ms) and is not final stands at every honest node."""
        said = [id for id in self.observer.open if self.observer.valid[id][1] <= moment]
        return not any(node.replica.missing(said) for node in self.honest)

    def _are_enough(self) -> bool:
        """Whether more than two thirds of the stake are honest and may vote. Who lost a disk may not, until
        the slots passed in which it may have voted; with all the liars that must be borne, maybe never.
        Whoever is silent and lost nothing counts: that it comes to speak is what is asked here."""
        able = {node.key.public for node in self.honest if not self._is_kept_silent(node)}
        return all(
            node.replica.validators.is_quorum(node.replica.validators.weight(able)) for node in self.honest
        )

    def _is_kept_silent(self, node: Node) -> bool:
        return node.replica.abstains and self.observer.has_lost(node)

    def _is_lost(self, event: Event) -> bool:
        return all(node.replica.missing([event.id]) for node in self.honest)


def key_of(seed: int, index: int) -> SigningKey:
    return SigningKey(stream(seed, "key", index).randbytes(32))


def make_genesis(plan: Plan, keys: list[SigningKey]) -> Genesis:
    members = sorted((key.public, stake) for key, stake in zip(keys, plan.stakes, strict=True))
    return Genesis(
        v=1,
        name="simulated",
        created=START - 1,
        rules=VERSION,
        validators=tuple(Validator(*member) for member in members),
        accounts=tuple(Allocation(public, BALANCE) for public in sorted(key.public for key in keys)),
        params={**PARAMS, "epoch_checkpoints": plan.epoch},
    )


def simulate(plan: Plan, parts: Parts | None = None) -> Report:
    """One run, from its plan."""
    return World(plan, parts).run()
