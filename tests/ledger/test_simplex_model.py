"""The vote, model-checked: no run of honest voters and a liar breaks it, and every broken rule shows."""

from __future__ import annotations

import random

import pytest

from ledger.vote_rule import TRANSITIONS, Seen, Voted
from ledger.votes import Phase
from tests.ledger.simplex_model import STATES_MAX, Model, Rules


@pytest.mark.slow
def test_no_run_over_two_slots_breaks_the_vote():
    """Exhaustive: three honest validators, one that signs everything, any order of messages."""
    broken, states = Model(2, Rules()).search()
    assert broken is None
    assert 10_000 < states < STATES_MAX, "the search was cut short"


def test_random_runs_over_four_slots_do_not_break_it_either():
    broken, steps = Model(4, Rules()).wander(random.Random(1), walks=60)
    assert broken is None
    assert steps > 500


MUTANTS = {
    "finalizes what it skipped": Rules(
        {**TRANSITIONS, (Voted.SKIP, Seen.NOTARIZE_Q): (Voted.LEFT, Phase.FINALIZE)}
    ),
    "finalizes what it notarized and skipped": Rules(
        {**TRANSITIONS, (Voted.BOTH, Seen.NOTARIZE_Q): (Voted.LEFT, Phase.FINALIZE)}
    ),
    "skips a slot that it left": Rules({**TRANSITIONS, (Voted.LEFT, Seen.TIMEOUT): (Voted.LEFT, Phase.SKIP)}),
    "forgets that it skipped": Rules(
        {**TRANSITIONS, (Voted.NOTHING, Seen.TIMEOUT): (Voted.NOTHING, Phase.SKIP)}
    ),
    "two of four are a quorum": Rules(quorum=2),
    "builds over a slot that was not skipped": Rules(skipped_between=False),
    "builds on what nobody notarized": Rules(notarized_parent=False),
    "proposes again over a slot that was not skipped": Rules(skipped_again=False),
    "forgets its votes in a crash": Rules(remembers=False),
    "notarizes every proposal": Rules(
        {**TRANSITIONS, (Voted.NOTARIZE, Seen.PROPOSAL): (Voted.NOTARIZE, Phase.NOTARIZE)}, one_proposal=False
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_rule_is_found(mutant: str):
    """Each within a search that the true rules survive."""
    broken, _ = Model(2, MUTANTS[mutant]).search(states_max=60_000)
    if broken is None:
        broken, _ = Model(3, MUTANTS[mutant]).wander(random.Random(2), walks=2_000)
    assert broken is not None, mutant
