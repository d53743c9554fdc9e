"""Does the simulator object? Each mutant breaks one rule in every honest node; a named invariant must break.

A mutant is a part that is put into the nodes (`fog.sim.ground.Parts`) where there is a place for it; where
the rule is a plain function of a module, the function is replaced for the length of the run, which is what a
mutant is. Its situation is chosen so that the rule matters: who lies, what befalls, how long.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest

from domain.rules import accounts, escrows
from fog.sim.ground import Parts
from fog.sim.links import Weather
from fog.sim.plan import EPOCH, Plan, draw_plan
from fog.sim.world import Report, simulate
from ledger import admission, candidates, cut, dag, finality, order, store, validators, votes, voting
from ledger import event as events
from ledger.admission import Admission
from ledger.cid import Cid
from ledger.event import Event
from ledger.order import Cut
from ledger.simplex import Voter
from ledger.vote_rule import TRANSITIONS, Seen, Transitions, Voted
from ledger.voter_actions import Action, Judge
from ledger.votes import Phase
from network.sync import Puller
from network.sync_actions import Done

Change = tuple[Any, str, Any]


NEAR = Weather(10, 20)
LATER = 1_000
"""Heights in an epoch: nobody comes, goes or is jailed within the run."""


@dataclass(frozen=True)
class Mutant:
    """`parts` or `changes` break the rule; one of the invariants in `breaks` must break, within `seeds`, and
    none when they do not. `situation`: changes to the run in both cases.
    """

    name: str
    breaks: tuple[str, ...]
    parts: Parts = field(default_factory=Parts)
    changes: tuple[Change, ...] = ()
    situation: tuple[Change, ...] = ()
    liars: tuple[tuple[str, ...], ...] = (("equivocator",), ("twins",))
    faults: tuple[str, ...] = ("partition", "crash")
    weather: Weather = NEAR
    run_ms: int = 45_000
    fault_gap_ms: int = 8_000
    burst_gap_ms: int = 4_000
    epoch: int = EPOCH
    seeds: Sequence[int] = range(4)

    def plans(self) -> Iterator[Plan]:
        for seed in self.seeds:
            plan = draw_plan(seed, run_ms=self.run_ms)
            others = [index for index in range(plan.nodes) if index not in plan.liars]
            seats = [*plan.liars, *others][: len(self.liars)]
            yield replace(
                plan,
                liars=dict(zip(seats, self.liars, strict=True)),
                faults=self.faults,
                weather=self.weather,
                fault_gap_ms=self.fault_gap_ms,
                burst_gap_ms=self.burst_gap_ms,
                settle_ms=60_000,
                epoch=self.epoch,
            )

    def broken(self, plan: Plan) -> Report:
        with changed(self.situation + self.changes):
            return simulate(plan, self.parts)

    def whole(self, plan: Plan) -> Report:
        with changed(self.situation):
            return simulate(plan)


@contextlib.contextmanager
def changed(changes: Sequence[Change]) -> Iterator[None]:
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


# -- the vote rule ------------------------------------------------------------------------------------------


class FinalizesAfterSkip(Voter):
    transitions: ClassVar[Transitions] = {
        **TRANSITIONS,
        (Voted.SKIP, Seen.NOTARIZE_Q): (Voted.LEFT, Phase.FINALIZE),
        (Voted.BOTH, Seen.NOTARIZE_Q): (Voted.LEFT, Phase.FINALIZE),
    }


class NotarizesAgain(Voter):
    """The newest proposal of a slot, not the first one."""

    transitions: ClassVar[Transitions] = {
        **TRANSITIONS,
        (Voted.NOTARIZE, Seen.PROPOSAL): (Voted.NOTARIZE, Phase.NOTARIZE),
    }

    def proposed(self, slot: int, checkpoint: Cid) -> list[Action]:
        at = self._at(slot)
        if at.proposal != checkpoint:
            at.proposal, at.judged = checkpoint, False
        return self._judge()

    def _judge(self) -> list[Action]:
        at = self._at(self.slot)
        return [] if at.proposal is None or at.judged else [Judge(self.slot, at.proposal)]


class NeverAbstains(Voter):
    @property
    def abstains_through(self) -> int:
        return 0

    @abstains_through.setter
    def abstains_through(self, slot: int) -> None:
        pass


class CertifiesAlone(Voter):
    def _is_quorum(self, votes: Any) -> bool:
        return self.validators.weight(one.by for one in votes) * 3 > self.validators.total


def half_is_a_quorum(weight: int, total: int) -> bool:
    return 2 * weight > total


def anything_goes(*_: Any, **__: Any) -> None:
    """A check that checks nothing."""


def good_whatever_it_is(self: Any, slot: int, id: Cid) -> bool:
    return (slot, id) in self._proposals


def no_differences(*_: Any) -> list[str]:
    return []


VOTE_MUTANTS = (
    Mutant(
        "finalize after skip", ("I11",), Parts(voter=FinalizesAfterSkip), liars=(("skipper",), ("selective",))
    ),
    Mutant("notarize a second proposal", ("I11",), Parts(voter=NotarizesAgain), faults=("bad_weather",)),
    Mutant(
        "vote at once after a lost disk",
        ("I11",),
        Parts(voter=NeverAbstains),
        changes=((voting.Voting, "rejoin", lambda *_: True), (voting.Voting, "_notice_own", anything_goes)),
        faults=("disk_loss", "bad_weather"),
        liars=(("skipper",), ("selective",)),
        fault_gap_ms=2_000,
    ),
    Mutant(
        "send a vote that is not on the disk",
        ("I11",),
        changes=(
            (store.Store, "keep", anything_goes),
            (voting.Voting, "_notice_own", anything_goes),
            (voting.Voting, "_is_forgotten", lambda *_: False),
        ),
        faults=("alone", "crash"),
        liars=(("silent",), ("silent",)),
        fault_gap_ms=1_500,
        burst_gap_ms=1_000,
    ),
    Mutant("certify with a third", ("blame", "fault", "I3", "I10"), Parts(voter=CertifiesAlone)),
    Mutant(
        "half is a quorum",
        ("I3", "I10"),
        changes=((validators, "is_quorum", half_is_a_quorum),),
        faults=("partition",),
        liars=(("twins",), ("twins",)),
        run_ms=90_000,
        fault_gap_ms=12_000,
        epoch=LATER,
    ),
    Mutant(
        "notarize without executing",
        ("I3", "fault", "I13"),
        changes=((voting.Voting, "_is_good", good_whatever_it_is),),
        liars=(("badproposer",), ("badproposer",)),
    ),
    Mutant(
        "notarize other roots than one's own",
        ("I3", "I4", "fault"),
        changes=((candidates, "differences", no_differences),),
        liars=(("badproposer",), ("badproposer",)),
    ),
    Mutant(
        "believe certificates unseen",
        ("I3", "I11", "fault", "I13", "blame"),
        changes=((votes, "check_certificate", anything_goes),),
        liars=(("forger",), ("voteflooder",)),
    ),
    Mutant(
        "believe votes unsigned",
        ("I3", "I11", "fault", "I13", "blame"),
        changes=((votes, "check_vote", anything_goes),),
        liars=(("forger",), ("voteflooder",)),
    ),
)


# -- lanes --------------------------------------------------------------------------------------------------


def any_lc(event: Event, places: Any) -> None:
    """Structure without the clock."""
    dag.check_structure(
        replace_header(event, lc=1 + max((places[parent].lc for parent in event.parents), default=0)), places
    )


def replace_header(event: Event, **fields: Any) -> Event:
    import msgspec

    return msgspec.structs.replace(event, header=msgspec.structs.replace(event.header, **fields))


parse = events.parse


def any_network(wire: bytes, *, net: Cid, verify_signature: bool = True) -> Event:
    from ledger import canonical

    header = canonical.decode(canonical.decode(wire, size_max=10**6)["h"], size_max=10**6)
    return parse(wire, net=header["net"], verify_signature=verify_signature)


def every_rival_counts(state: Any, lanes: dict[bytes, Any], event: Event, context: Any) -> str | None:
    header = event.header
    lanes[header.by + bytes((header.lane,))] = cut.LaneHead(header.seq, event.id, closed=False)
    return None


LANE_MUTANTS = (
    Mutant(
        "any lc will do",
        ("I9",),
        changes=((admission, "check_structure", any_lc),),
        liars=(("jumper",), ("poisoner",)),
    ),
    Mutant(
        "any structure will do",
        ("I9", "fault"),
        changes=((admission, "check_structure", anything_goes),),
        liars=(("jumper",), ("poisoner",)),
    ),
    Mutant(
        "events of other networks",
        ("I4", "I8", "I9", "fault", "blame"),
        changes=((admission.events, "parse", any_network),),
        liars=(("foreigner",), ("foreigner",)),
    ),
    Mutant(
        "signatures are not looked at",
        ("I8",),
        changes=((admission, "count_signed", len),),
        liars=(("scribbler",), ("scribbler",)),
        run_ms=90_000,
    ),
    Mutant(
        "rivals of a fork are effective",
        ("I6",),
        changes=((cut, "_refusal", every_rival_counts),),
        liars=(("doublespender",), ("deepforker",)),
    ),
)


# -- order --------------------------------------------------------------------------------------------------


def as_they_came(ids: Any, nodes: Any, parent: Cid) -> tuple[Cid, ...]:
    wanted = set(ids)
    return tuple(id for id in nodes if id in wanted)


def by_name(ids: Any, nodes: Any, parent: Cid) -> tuple[Cid, ...]:
    return tuple(sorted(ids))


def tips_alone(tips: Any, unordered: Any, parent: Cid) -> Cut:
    tips = tuple(tips)
    return Cut(tips, order.canonical_order(tips, unordered, parent))


def tips_of_choice(unordered: Any, parent: Cid) -> Cut:
    chosen = order.choose(unordered, parent)
    return Cut(chosen.tips, order.canonical_order(chosen.tips, unordered, parent))


def own_clock(genesis: Any, parent: Any, shown: Any, state: Any) -> int:
    """The time of the newest vote, by whom ever, and not the median."""
    if shown is None:
        return finality_time(genesis, parent, shown, state)
    return int(max(ballot.ts for ballot in shown.votes))


finality_time = finality.ledger_time

ORDER_MUTANTS = (
    Mutant(
        "order as they came",
        ("I3", "I13", "I8", "I4", "fault"),
        changes=((order, "canonical_order", as_they_came),),
    ),
    Mutant("order by name", ("I9", "fault"), changes=((order, "canonical_order", by_name),)),
    Mutant(
        "a cut without what its tips build on",
        ("I9", "I8", "I13", "fault"),
        changes=((candidates, "cut_at", tips_alone), (candidates, "choose", tips_of_choice)),
    ),
    Mutant(
        "order again what was ordered",
        ("I7", "I6", "fault"),
        changes=((Admission, "ordered", anything_goes),),
    ),
)


# -- escrow and money ---------------------------------------------------------------------------------------


def one_more(draft: Any, submitter: bytes, worker: bytes, amount: int) -> None:
    """Pays the payee a micro-credit that nobody had."""
    accounts.move(draft, submitter, 0, -amount)
    accounts.move(draft, worker, +amount + 1, 0)


def redeem_again(draft: Any, given: Any) -> None:
    """Pays the whole total, whatever was paid before."""
    escrow = escrows._of_payee(draft, given.escrow)
    if given.total <= escrow.rest:
        accounts.settle(draft, escrow.payer, escrow.payee, given.total)
        escrows._write(draft, given.escrow, replace_struct(escrow, redeemed=escrow.redeemed + given.total))


def replace_struct(value: Any, **fields: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(value, **fields)


def rules_with(payload: type, rule: Callable[[Any, Any], None]) -> dict[Any, Any]:
    from domain.rules import execute

    return {**execute.RULES, payload: rule}


def _money_mutants() -> tuple[Mutant, ...]:
    from domain.payloads import EscrowRedeem
    from domain.rules import execute

    return (
        Mutant(
            "pay a credit too many",
            ("I1", "fault"),
            changes=((accounts, "settle", one_more),),
        ),
        Mutant("pay without looking", ("I2", "fault"), changes=((accounts, "require", anything_goes),)),
        Mutant(
            "redeem one voucher twice",
            ("I14",),
            changes=((execute, "RULES", rules_with(EscrowRedeem, redeem_again)),),
            burst_gap_ms=1_500,
        ),
    )


# -- sync ---------------------------------------------------------------------------------------------------


class GivesUp(Puller):
    """Learns nothing of anybody."""

    def start(self) -> list[Any]:
        return [Done("synced")]


class FetchesNoCheckpoints(Puller):
    def _next_checkpoints(self) -> list[Any]:
        return self._over("synced")


SYNC_MUTANTS = (
    Mutant("never sync", ("I13",), Parts(puller=GivesUp), liars=(("selective",), ("silent",))),
    Mutant(
        "never fetch a checkpoint",
        ("I13",),
        Parts(puller=FetchesNoCheckpoints),
        faults=("alone", "crash"),
        liars=(("selective",), ("foreigner",)),
        fault_gap_ms=3_000,
        burst_gap_ms=1_500,
        seeds=range(8),
    ),
    Mutant(
        "never ask for what an event builds on",
        ("I13",),
        changes=((Puller, "_want", anything_goes),),
        faults=("alone", "partition"),
        liars=(("doublespender",), ("deepforker",)),
        fault_gap_ms=4_000,
        burst_gap_ms=2_500,
    ),
)

MUTANTS = (*VOTE_MUTANTS, *LANE_MUTANTS, *ORDER_MUTANTS, *_money_mutants(), *SYNC_MUTANTS)
"""Those of leaders, crowds and the past are in `test_more_mutants`."""


def test_there_are_enough_of_them() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 15


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_broken_rule_is_found(mutant: Mutant) -> None:
    assert_found(mutant)


def assert_found(mutant: Mutant) -> None:
    """It is, and it is the rule: the same run with the rule as it is breaks nothing."""
    reports = map(mutant.broken, mutant.plans())
    found = next((report for report in reports if not report.ok), None)
    assert found is not None, f"nobody noticed: {mutant.name}"
    assert found.broken[0][0] in mutant.breaks, found.broken
    assert mutant.whole(found.plan).broken == ()
