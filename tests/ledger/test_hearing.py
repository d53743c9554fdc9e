"""What a node looks at of all that is said to it: junk costs whoever sends it its turn, and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest

from ledger import votes
from ledger.errors import RemoteError
from ledger.replica import Replica
from ledger.votes import Certificate, Phase, SignedVote, Vote
from tests.ledger.council import Council
from tests.ledger.test_rejoining import decide, said_by
from tests.ledger.world import START, Author, key_of

JUNK = 20
"""Words with a signature that is somebody's, of something else: our own slow check says so."""

times = count(START + 1)
"""No word comes twice: of what was judged once, the answer is remembered."""


def word(node: Replica, name: str, slot: int, phase: Phase = Phase.SKIP, ts: int = START) -> SignedVote:
    return SignedVote.make(key_of(name), Vote(node.net, 0, slot, phase, None, ts))


def junk(node: Replica, name: str, slot: int) -> list[SignedVote]:
    said = (Vote(node.net, 0, slot, Phase.SKIP, None, next(times)) for _ in range(JUNK))
    return [SignedVote(vote, key_of(name).public, word(node, name, slot).sig) for vote in said]


def open_slot(node: Replica) -> int:
    return node._voting.voter.slot


def judged() -> int:
    """How many signatures of votes were judged in this process."""
    return votes._is_genuine.cache_info().misses


def codes(verdicts: Sequence[object]) -> list[object]:
    return [one.code if isinstance(one, RemoteError) else one for one in verdicts]


@pytest.mark.parametrize("kind", ["bad_vote", "bad_certificate"])
def test_after_one_word_that_nobody_signed_the_rest_of_a_peer_s_turn_is_not_looked_at(kind: str):
    """A full message of these took 0.7 s, in which nothing else was done; and 64 are heard in one turn."""
    council = Council(4)
    council.run(1_500)
    node = council.nodes["v0"]
    slot = open_slot(node) + 1
    first, later = word(node, "v1", slot), word(node, "v2", slot)
    bad = [one.encode() for one in junk(node, "v3", slot)]
    if kind == "bad_certificate":
        good = [word(node, name, slot + 1) for name in ("v1", "v2")]
        bad = [Certificate.of([*good, one]).encode() for one in junk(node, "v3", slot + 1)]
    before = judged()
    verdicts, _ = node.hear_all([first.encode(), *bad, later.encode()], now=council.now)
    assert codes(verdicts) == [True, kind, *[None] * JUNK]
    assert judged() <= before + 4
    assert node.hear_all([later.encode()], now=council.now)[0] == [True]


def test_an_answer_of_junk_is_not_read_to_its_end_by_who_comes_back():
    """Votes of ours that we did not sign, half a MiB of them from everybody who is there: 5 s each."""
    council = Council(4)
    decide(council, Author(council.genesis, "alice"))
    council.run(3_000)
    council.stop("v3")
    council.start("v3")
    node = council.nodes["v3"]
    slot = open_slot(council.nodes["v0"])
    answers = said_by(council, "v0", "v1", "v2")
    stranger = [one.encode() for one in junk(node, "v3", slot)]
    lines = [word(node, name, slot, Phase.SKIP) for name in ("v0", "v1")]
    other = [Certificate.of([*lines, one]).encode() for one in junk(node, "v3", slot)]
    lies = {key_of("liar").public: stranger, key_of("another").public: other}
    before = judged()
    assert node.rejoin({**lies, **answers}, now=council.now)
    assert judged() <= before + 4
    assert node._voting.voter.abstains_through >= slot


def test_a_line_of_ours_in_a_later_epoch_is_looked_at_once_in_an_answer():
    council = Council(4)
    decide(council, Author(council.genesis, "alice"))
    council.run(3_000)
    council.stop("v3")
    council.start("v3")
    node = council.nodes["v3"]
    sig = word(node, "v3", 1).sig
    lies = []
    for slot in range(1, JUNK + 1):
        vote = Vote(node.net, 7, slot, Phase.SKIP, None, START)
        lies.append(Certificate.of([SignedVote(vote, key_of("v3").public, sig)]).encode())
    before = judged()
    node.rejoin({key_of("liar").public: lies} | said_by(council, "v0", "v1", "v2"), now=council.now)
    assert judged() <= before + 1
