"""What may follow what, what proves that it is final, and what the ledger's clock and chance hang on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ledger import finality
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.finality import (
    check_final,
    check_shown,
    follows,
    ledger_time,
    misfits,
    next_context,
    parse_link,
    weighted_median,
)
from ledger.state import State
from ledger.validators import genesis_set, with_genesis_sets
from ledger.votes import Ballot, Certificate, Phase, SignedVote, Vote
from tests.ledger.world import START, key_of, make_genesis

GENESIS = make_genesis(alice=100)
ANCHOR = key_of("anchor")
STATE = with_genesis_sets(State(), GENESIS)
VALIDATORS = genesis_set(GENESIS)
LENGTH = 3  # heights in an epoch, where it matters


def child(above: Checkpoint | None, shown: Certificate | None = None, **lies: Any) -> Checkpoint:
    """What follows `above`, with empty roots."""
    fields: dict[str, Any] = {
        "v": 2,
        "slot": 1 if above is None else above.slot + 1,
        "tips": (),
        "delta": Cid.of(b"\x80"),
        "n": 1,
        "eroot": bytes(32),
        "sroot": bytes(32),
        "rroot": bytes(32),
        **follows(GENESIS, above, shown, STATE),
    }
    return Checkpoint(**(fields | lies))


def certified(about: Checkpoint, *, by: str = "anchor", ts: int = START + 100, **lies: Any) -> Certificate:
    """A certificate of one vote; `lies` are fields of the vote."""
    fields = {
        "slot": about.slot,
        "phase": Phase.FINALIZE,
        "checkpoint": about.id,
        "epoch": about.epoch,
    } | lies
    vote = Vote(GENESIS.net, fields["epoch"], fields["slot"], fields["phase"], fields["checkpoint"], ts)
    return Certificate.of([SignedVote.make(key_of(by), vote)])


FIRST = child(None)


@pytest.mark.parametrize("phase", [Phase.NOTARIZE, Phase.FINALIZE])
def test_a_parent_is_shown_by_a_quorum_s_word(phase: Phase):
    shown = certified(FIRST, phase=phase)
    second = child(FIRST, shown)
    assert check_shown(second, shown.encode(), FIRST, VALIDATORS, LENGTH) == shown


def test_genesis_needs_no_certificate_and_takes_none():
    assert check_shown(FIRST, b"", None, None, LENGTH) is None
    with pytest.raises(RemoteError, match="genesis needs no certificate"):
        check_shown(FIRST, certified(FIRST).encode(), None, None, LENGTH)


@pytest.mark.parametrize(
    "lies",
    [
        {"by": "mallory"},
        {"checkpoint": Cid.of(b"another")},
        {"slot": FIRST.slot - 1},
        {"epoch": 1},
        {"phase": Phase.SKIP, "checkpoint": None},
    ],
    ids=str,
)
def test_what_is_not_a_quorum_s_word_on_the_parent_shows_nothing(lies: dict[str, Any]):
    shown = certified(FIRST, **lies).encode()
    with pytest.raises(RemoteError) as refused:
        check_shown(child(FIRST, certified(FIRST)), shown, FIRST, VALIDATORS, LENGTH)
    assert refused.value.code in ("bad_certificate", "bad_schema")


def test_the_end_of_an_epoch_must_be_final_before_the_next_begins():
    """Its last checkpoint is shown by a finality certificate, so the chain proves it."""
    third = child(None, height=3)
    for phase, good in ((Phase.NOTARIZE, False), (Phase.FINALIZE, True)):
        shown = certified(third, phase=phase)
        if good:
            assert check_shown(child(third, shown), shown.encode(), third, VALIDATORS, LENGTH) == shown
        else:
            with pytest.raises(RemoteError, match="another certificate"):
                check_shown(child(third, shown), shown.encode(), third, VALIDATORS, LENGTH)


def test_a_checkpoint_proposed_again_is_final_by_the_later_slot():
    assert check_final(FIRST, certified(FIRST, slot=9).encode(), VALIDATORS).slot == 9


@pytest.mark.parametrize("phase", [Phase.NOTARIZE, Phase.SKIP])
def test_only_a_finality_certificate_makes_final(phase: Phase):
    about = {"checkpoint": None} if phase is Phase.SKIP else {}
    with pytest.raises(RemoteError):
        check_final(FIRST, certified(FIRST, phase=phase, **about).encode(), VALIDATORS)


def test_a_link_comes_with_the_certificate_that_it_names():
    shown = certified(FIRST)
    second = child(FIRST, shown)
    assert parse_link(second.encode(), shown.encode(), net=GENESIS.net)[0] == second
    for wrong in (b"", certified(FIRST, ts=1).encode()):
        with pytest.raises(RemoteError) as refused:
            parse_link(second.encode(), wrong, net=GENESIS.net)
        assert refused.value.code == "bad_certificate"


@pytest.mark.parametrize(
    "lie",
    [
        {"T": START + 2},
        {"epoch": 1},
        {"slot": 1},
        {"vnext": Cid.of(b"others")},
        {"parent": Cid.of(b"another")},
        {"cert": Cid.of(b"another")},
        {"height": 7},
    ],
    ids=str,
)
def test_what_cannot_follow_is_named(lie: dict[str, Any]):
    shown = certified(FIRST)
    wrong = child(FIRST, shown, **lie)
    assert misfits(wrong, follows(GENESIS, FIRST, shown, STATE), FIRST) == list(lie)


def test_ledger_time_begins_behind_genesis_and_always_moves():
    """max(T of the parent + 1, the median vote): even under a clock that stands still."""
    assert ledger_time(GENESIS, None, None, STATE) == START + 1
    assert ledger_time(GENESIS, FIRST, certified(FIRST, ts=START + 70), STATE) == START + 70
    assert ledger_time(GENESIS, FIRST, certified(FIRST, ts=5), STATE) == START + 2


@pytest.mark.parametrize(
    ("votes", "median"),
    [
        ([(10, 1)], 10),
        ([(10, 1), (20, 1)], 10),
        ([(10, 1), (20, 1), (30, 1)], 20),
        ([(10, 1), (20, 1), (10_000_000, 1)], 20),
        ([(10, 1), (20, 1), (30, 3)], 30),
        ([(0, 33), (20, 34), (30, 33)], 20),
    ],
)
def test_a_minority_of_stake_cannot_move_the_median_past_the_others(
    votes: list[tuple[int, int]], median: int
):
    ballots = [Ballot(bytes([n]) * 32, ts, bytes(64)) for n, (ts, _) in enumerate(votes)]
    stakes = {ballot.by: stake for ballot, (_, stake) in zip(ballots, votes, strict=True)}
    assert weighted_median(ballots, stakes) == median
    assert weighted_median(ballots[::-1], stakes) == median


def test_the_beacon_changes_with_every_certificate():
    one, other = certified(FIRST), certified(FIRST, ts=START + 101)
    beacons = {next_context(GENESIS, FIRST, shown, STATE).beacon for shown in (one, other)}
    assert len(beacons | {next_context(GENESIS, None, None, STATE).beacon}) == 3


def test_a_diverged_node_carries_its_evidence():
    stopped = finality.Diverged("why", FIRST, certified(FIRST))
    assert (stopped.checkpoint, stopped.certificate) == (FIRST, certified(FIRST))
    assert msgspec.structs.astuple(FIRST)
