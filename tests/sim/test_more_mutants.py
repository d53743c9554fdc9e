"""Rules that stop leaders who leave somebody out, crowds under one hand, and what comes from the past: each
is broken once, and the simulator must object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from domain.rules import accounts, evidence
from domain.rules.former import Former
from fog.sim.liars_crowd import SponsorTree
from ledger import admission, candidates, finality, forks, light, order, pending, votes
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.event import Header
from ledger.order import Cut, Node
from ledger.store import Store
from ledger.votes import Certificate
from tests.sim.test_mutants import Mutant, anything_goes, assert_found

A_LOT = 10**6
STATUS = Store.event_status


def all_but_the_last(unordered: Mapping[Cid, Node], parent: Cid) -> Cut:
    """Whoever came last is left out, though there is room."""
    return order.choose(dict(list(unordered.items())[:-1]), parent)


def final_without_a_quorum(last: Checkpoint, final: bytes, validators: Any) -> Certificate:
    """Whoever signed it, in whatever epoch it counted."""
    return votes.parse_certificate_shape(final, net=last.net)


def answers_for_ever(former: Former, header: Header) -> bool:
    """An account answers for whatever a device says that it dropped."""
    return header.by == former.device


def final_at_once(store: Store, id: Cid) -> int | None:
    """Whatever is not final will be some day."""
    return STATUS(store, id) or 7


MUTANTS = (
    Mutant(
        "an honest leader leaves somebody out",
        ("I13",),
        changes=((candidates, "choose", all_but_the_last),),
        liars=(("omitter",), ("censor",)),
    ),
    Mutant(
        "no bound for what waits of one peer",
        ("I12",),
        changes=((pending, "PENDING_PER_PEER_MAX", A_LOT),),
        liars=(("ratedodger",), ("ratedodger",)),
        faults=(),
        run_ms=90_000,
    ),
    Mutant(
        "no bound for tips",
        ("I12",),
        changes=((admission, "TIPS_MAX", A_LOT),),
        situation=((SponsorTree, "every_ms", 15_000), (SponsorTree, "branches", 14)),
        liars=(("sponsortree",), ("sponsortree",)),
        faults=(),
        run_ms=20_000,
        burst_gap_ms=20_000,
    ),
    Mutant(
        "believe evidence unseen",
        ("I11",),
        changes=((evidence, "check_vote_fault", anything_goes), (forks, "check", anything_goes)),
        liars=(("slanderer",), ("slanderer",)),
        faults=("crash",),
    ),
    Mutant(
        "answer for a device after it was dropped",
        ("I11",),
        changes=((Former, "answers", answers_for_ever),),
        liars=(("finder",), ("finder",)),
        faults=(),
        run_ms=200_000,
    ),
    Mutant(
        "whoever was a validator once makes final",
        ("I3", "fault"),
        changes=((finality, "check_final", final_without_a_quorum),),
        liars=(("revenant",), ("revenant",)),
        faults=("partition", "alone"),
        run_ms=150_000,
        epoch=3,
    ),
    Mutant(
        "begin from any snapshot of the past",
        ("I5",),
        changes=((light, "check_history", anything_goes),),
        liars=(("stalesnapshot",), ("stalesnapshot",)),
        faults=("fresh_start",),
        run_ms=200_000,
        epoch=3,
    ),
    Mutant(
        "call final what is not",
        ("I15",),
        changes=((Store, "event_status", final_at_once),),
        faults=(),
        run_ms=20_000,
    ),
    Mutant(
        "a job without its escrow",
        ("I1", "I2", "fault"),
        changes=((accounts, "hold", anything_goes),),
        faults=("crash",),
        run_ms=90_000,
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_broken_rule_is_found(mutant: Mutant) -> None:
    assert_found(mutant)
