"""What a node looks at of all that is said to it: junk costs whoever sends it its turn, and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import msgspec
import pytest

from ledger import votes
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.replica import Replica
from ledger.simplex import AHEAD_MAX
from ledger.votes import Certificate, Phase, Proposal, SignedVote, Vote, decode_certificate, parse_message
from tests.ledger.council import DELAY_MS, Council
from tests.ledger.test_rejoining import decide, said_by
from tests.ledger.world import START, Author, key_of, pay

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


def test_what_others_said_is_looked_at_in_the_same_turn():
    council = Council(4)
    council.run(1_500)
    node = council.nodes["v0"]
    slot = open_slot(node) + 1
    good, bad = word(node, "v1", slot).encode(), [one.encode() for one in junk(node, "v3", slot)][:2]
    verdicts, _ = node.hear_all([*bad, good], now=council.now, sources=["liar", "liar", "peer"])
    assert codes(verdicts) == ["bad_vote", None, True]


def came_back() -> Council:
    """Of four, v3 has just started again, and was not answered yet."""
    council = Council(4)
    decide(council, Author(council.genesis, "alice"))
    council.run(3_000)
    council.stop("v3")
    council.start("v3")
    return council


def test_an_answer_of_junk_is_not_read_to_its_end_by_who_comes_back():
    """Votes of ours that we did not sign, half a MiB of them from everybody who is there: 5 s each."""
    council = came_back()
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
    council = came_back()
    node = council.nodes["v3"]
    sig = word(node, "v3", 1).sig
    lies = []
    for slot in range(1, JUNK + 1):
        vote = Vote(node.net, 7, slot, Phase.SKIP, None, START)
        lies.append(Certificate.of([SignedVote(vote, key_of("v3").public, sig)]).encode())
    before = judged()
    node.rejoin({key_of("liar").public: lies} | said_by(council, "v0", "v1", "v2"), now=council.now)
    assert judged() <= before + 1


# -- what is passed on --------------------------------------------------------------------------------------


def unread(node: Replica, kind: str) -> bytes:
    """What somebody else may find wrong, and this node has no reason to look at."""
    slot = open_slot(node)
    if kind == "of a later epoch":
        vote = Vote(node.net, 1, 1, Phase.SKIP, None, START)
        return SignedVote(vote, key_of("v2").public, bytes(64)).encode()
    if kind == "said before, at another time":
        node.hear(word(node, "v2", slot).encode(), now=START)
        return junk(node, "v2", slot)[0].encode()
    if kind == "decided before, by others":
        lines = [word(node, name, slot) for name in ("v0", "v1", "v2")]
        node.hear(Certificate.of(lines).encode(), now=START)
        return Certificate.of([*lines[:2], junk(node, "v3", slot)[0]]).encode()
    assert kind == "final"
    last = node.last
    assert last is not None
    ballots = [msgspec.structs.replace(one, sig=bytes(64)) for one in last.final.votes]
    return msgspec.structs.replace(last.final, votes=tuple(ballots)).encode()


@pytest.mark.parametrize(
    "kind",
    [
        "of a later epoch",
        "said before, at another time",
        "decided before, by others",
        "final",
    ],
)
def test_what_was_not_looked_at_is_not_called_good(kind: str):
    """Or it is passed on with the news beside it, and whoever looks at it blames the honest node."""
    council = Council(4, epoch=4)
    decide(council, Author(council.genesis, "alice"))
    council.run(3_000)
    node = council.nodes["v0"]
    bad = unread(node, kind)
    news = word(node, "v1", open_slot(node) + 1).encode()
    assert node.hear_all([news, bad], now=council.now)[0] == [True, None]


def test_who_is_told_of_a_slot_far_ahead_asks_only_if_a_validator_signed_it():
    """An answer is half a MiB, and whoever lies would not be blamed for any of them."""
    council = Council(4)
    node = council.nodes["v0"]
    node.step(council.now)
    slot = open_slot(node) + AHEAD_MAX + 1
    body = b"a checkpoint"
    about = Vote(node.net, 0, slot, Phase.PROPOSE, Cid.of(body), START)
    proposal = Proposal(SignedVote(about, key_of("v2").public, bytes(64)), body, b"")
    for bad in (junk(node, "v2", slot)[0], proposal):
        verdicts, reaction = node.hear_all([bad.encode()], now=council.now)
        assert (codes(verdicts), reaction.ask_votes) == (["bad_vote"], None)
    verdicts, reaction = node.hear_all([word(node, "v2", slot).encode()], now=council.now)
    assert (verdicts, reaction.ask_votes) == ([None], (0, open_slot(node)))


def test_what_is_said_again_with_news_is_known_to_be_good():
    """Otherwise whoever says all of it again, when nothing moves, is heard by its neighbours alone."""
    council = Council(4)
    decide(council, Author(council.genesis, "alice"))
    council.run(3_000)
    node, other = council.nodes["v0"], council.nodes["v1"]
    slot = open_slot(node)
    skips = [word(node, name, slot) for name in ("v1", "v2", "v3")]
    for one in council.nodes.values():
        one.hear_all([signed.encode() for signed in skips], now=council.now)
    own = next(one for one in other._voting.voter.standing(slot) if isinstance(one, Certificate))
    again = [own.encode(), *(one.encode() for one in skips)]
    news = word(other, "v1", slot + 1).encode()
    assert node.hear_all([*again, news], now=council.now)[0] == [False] * len(again) + [True]
    last = other.last
    assert last is not None
    assert node.hear_all([last.final.encode()], now=council.now)[0] == [False]


def test_a_known_proposal_with_another_signature_is_not_called_good():
    council = Council(4)
    council.say(Author(council.genesis, "alice").says(pay("bob", 1)))
    council.run(DELAY_MS)
    node = council.nodes["v0"]
    said = [parse_message(one, net=node.net) for one in node.ballots(0, 0)]
    [proposal] = [one for one in said if isinstance(one, Proposal)]
    bent = msgspec.structs.replace(proposal, vote=msgspec.structs.replace(proposal.vote, sig=bytes(64)))
    verdicts, _ = node.hear_all([proposal.encode(), bent.encode()], now=council.now)
    assert verdicts == [False, None]


def test_a_word_of_the_epoch_before_that_was_heard_is_known_to_be_good():
    """A validator's last word of an epoch travels with its first of the next."""
    council = Council(4, epoch=3)
    decide(council, Author(council.genesis, "alice"), 3)
    council.run(3_000)
    node = council.nodes["v0"]
    assert node._voting.voter.epoch == 1
    _, final = node.store.run(1, 3)
    said = [one.encode() for one in decode_certificate(final).ballots()]
    assert node.hear_all([*said, final], now=council.now)[0] == [False] * (len(said) + 1)
