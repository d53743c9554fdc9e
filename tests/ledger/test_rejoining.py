"""Who lost its disk, and whom it must ask before it votes again: whoever lies, it says nothing twice."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ledger import opening, retelling, validators
from ledger.ballot_box import Left
from ledger.cid import Cid
from ledger.database import writing
from ledger.errors import StoreCorrupt, UsageError
from ledger.execution import Context, Receipt
from ledger.genesis import Genesis
from ledger.pace import Pace
from ledger.proposals import Proposals
from ledger.replica import Replica
from ledger.simplex import AHEAD_MAX, Voter
from ledger.state import State
from ledger.store import Store
from ledger.tables import BALLOT
from ledger.validators import ValidatorSet
from ledger.votes import Certificate, Phase, SignedVote, Vote, parse_message
from tests.ledger.council import Council, council_genesis
from tests.ledger.paying import PayingRules, balance
from tests.ledger.world import START, Author, key_of, pay

EPOCH = 4
"""Heights, where sets of validators change."""


def paid(node: Replica) -> int:
    """How many of Alice's payments of 1 to Bob are final here."""
    return balance(node.state, key_of("bob").public) - 1_000


def said_by(council: Council, *names: str) -> dict[bytes, list[bytes]]:
    return {key_of(name).public: council.nodes[name].ballots(0, 0) for name in names}


def decide(council: Council, alice: Author, payments: int = 1) -> None:
    for _ in range(payments):
        council.say(alice.says(pay("bob", 1)))
        council.run(500)


def test_a_liar_and_somebody_who_was_cut_off_do_not_make_up_for_who_heard_it(tmp_path: Path):
    """v3 voted with v0 and v1. Of those who answer, v2 was cut off and v1 shows an older copy of itself: with
    v3 they are a quorum, and none of them holds a word of what v3 said."""
    url, copy = (f"sqlite:///{tmp_path}/{name}.sqlite" for name in ("liar", "copy"))
    council, cut = Council(4, urls={"v1": url}), [False]
    council.drops = lambda sender, to, now: cut[0] and "v2" in (sender, to)
    alice = Author(council.genesis, "alice")
    decide(council, alice)
    council.run(3_000)
    council.stop("v1").close()
    shutil.copy(tmp_path / "liar.sqlite", tmp_path / "copy.sqlite")
    council.start("v1", Store.open(url))
    council.rejoin("v1")
    cut[0] = True
    decide(council, alice, 3)
    council.run(3_000)
    heights = {name: node.height for name, node in council.nodes.items()}
    assert heights["v0"] == heights["v3"] > heights["v2"]
    voted_in = council.nodes["v3"]._voting.voter.slot - 1
    other_self = Replica.open(Store.open(copy), PayingRules(), key_of("v1"), validator=True)

    council.stop("v3")
    council.start("v3")
    node = council.nodes["v3"]
    lies = {key_of("v1").public: other_self.ballots(0, 0)}
    assert not node.rejoin(said_by(council, "v2") | lies, now=council.now)
    assert node.is_silent
    assert node.rejoin(said_by(council, "v0", "v2") | lies, now=council.now)
    assert node._voting.voter.abstains_through > voted_in


@pytest.mark.parametrize(
    ("stakes", "lost", "answer", "is_enough"),
    [
        ([1, 1], 1, [0], True),
        ([1, 1, 1], 2, [0], False),
        ([1, 1, 1], 2, [0, 1], True),
        ([1, 1, 1, 1], 3, [0, 1], False),
        ([1, 1, 1, 1], 3, [0, 1, 2], True),
        ([1] * 5, 4, [0, 1, 2], False),
        ([1] * 5, 4, [0, 1, 2, 3], True),
        ([1] * 7, 6, [0, 1, 2, 3], False),
        ([1] * 7, 6, [0, 1, 2, 3, 4], True),
        ([70, 10, 10, 10], 1, [0], True),
        ([70, 10, 10, 10], 0, [1, 2], False),
        ([70, 10, 10, 10], 0, [1, 2, 3], True),
    ],
)
def test_more_than_two_thirds_of_the_stake_without_us_or_else_everybody(
    stakes: Sequence[int], lost: int, answer: Sequence[int], is_enough: bool
):
    council = Council(len(stakes), stakes=stakes)
    decide(council, Author(council.genesis, "alice"))
    council.run(3_000)
    council.stop(f"v{lost}")
    council.start(f"v{lost}")
    node = council.nodes[f"v{lost}"]
    assert node.rejoin(said_by(council, *(f"v{n}" for n in answer)), now=council.now) is is_enough
    assert node.is_silent is not is_enough
    assert node.abstains


def test_one_s_own_words_and_strangers_count_for_nothing():
    council = Council(4)
    decide(council, Author(council.genesis, "alice"))
    council.stop("v3")
    council.start("v3")
    also = dict.fromkeys((key_of(name).public for name in ("v3", "alice", "bob")), ())
    assert not council.nodes["v3"].rejoin(said_by(council, "v0", "v1") | also, now=council.now)


def test_a_network_begins_though_one_of_four_is_not_there():
    """Nobody voted yet, as far as those show who are there. Who comes later asks them all."""
    council = Council(4)
    for name in council.names:
        council.stop(name)
    alice = Author(council.genesis, "alice")
    for name in ("v0", "v1", "v2"):
        council.start(name)
    assert not council.nodes["v0"].rejoin(said_by(council, "v1"), now=council.now)
    assert all(council.rejoin(name) for name in ("v0", "v1", "v2"))
    decide(council, alice, 3)
    assert [paid(node) for node in council.nodes.values()] == [3] * 3
    council.start("v3")
    assert council.rejoin("v3")
    council.meet()
    decide(council, alice, 3)
    council.stop("v0")
    decide(council, alice, 3)
    council.run(10_000)
    assert [paid(node) for node in council.nodes.values()] == [9] * 3
    assert not council.faults


class SecondSeat(PayingRules):
    """From epoch 2 on, v1 has a seat beside v0."""

    def close(self, state: State, context: Context) -> tuple[State, Receipt]:
        state, receipt = super().close(state, context)
        if context.height == EPOCH:
            both = ValidatorSet.of(council_genesis(2).validators)
            state = state.put(validators.TABLE, validators.row_key(2), both.encode())
        return state, receipt


class Growing(Council):
    def _open(self, name: str, store: Store) -> Replica:
        return Replica.open(store, SecondSeat(), key_of(name), validator=True)


def test_who_has_a_seat_for_the_first_time_leaves_no_slot_to_others():
    """Without it the other one could not end any. Once it has voted there and lost its disk, it does."""
    council = Growing(1, epoch=EPOCH)
    alice = Author(council.genesis, "alice")
    council.names.append("v1")
    council.start("v1")
    newcomer = council.nodes["v1"]
    while newcomer._voting.voter.epoch < 2:
        decide(council, alice)
        council.meet()
    assert newcomer.is_silent
    assert council.rejoin("v1")
    assert not newcomer.abstains
    before = paid(newcomer)
    decide(council, alice, 3)
    council.run(5_000)
    assert [paid(node) for node in council.nodes.values()] == [before + 3] * 2
    council.stop("v1")
    council.start("v1")
    council.meet()
    assert council.rejoin("v1")
    assert council.nodes["v1"].abstains
    assert not council.faults


def test_where_too_few_are_left_to_ask_it_votes_at_its_operator_s_word():
    """One of four is gone for good, another lost its disk: the two who are left are not enough to ask."""
    council = Council(4)
    alice = Author(council.genesis, "alice")
    decide(council, alice, 3)
    council.stop("v0")
    council.stop("v3")
    council.start("v3")
    node = council.nodes["v3"]
    assert not node.rejoin(said_by(council, "v1"), now=council.now)
    with pytest.raises(UsageError, match="too few validators have said"):
        node.forget_votes()
    council.meet()
    assert not council.rejoin("v3")
    assert node.is_silent
    node.forget_votes()
    assert not node.is_silent
    decide(council, alice, 3)
    council.run(10_000)
    assert [paid(node) for node in council.nodes.values()] == [6] * 3
    assert not council.faults


class OneHears(Council):
    """While `deaf`, words to finalize reach v3 alone, and nobody hears v3."""

    deaf = True

    def _put(self, moment: int, sender: str, to: str, what: Any) -> None:
        if self.deaf and isinstance(what, bytes) and to != "v3":
            said = parse_message(what, net=self.genesis.net)
            if isinstance(said, SignedVote) and said.vote.phase == Phase.FINALIZE:
                return
        super()._put(moment, sender, to, what)


def test_who_may_have_seen_an_epoch_end_leaves_the_first_slots_of_the_next():
    """v3 alone learned that it ended, voted in the next one, and lost its disk."""
    council = OneHears(4, epoch=2)
    council.drops = lambda sender, to, now: council.deaf and sender == "v3"
    alice = Author(council.genesis, "alice")
    decide(council, alice, 2)
    council.run(30_000)
    assert [node._voting.voter.epoch for node in council.nodes.values()] == [0, 0, 0, 1]
    council.stop("v3")
    council._queue.clear()
    council._steps_at.clear()
    council.start("v3")
    node = council.nodes["v3"]
    assert council.rejoin("v3")
    assert node._voting.voter.epoch == 0
    council.deaf = False
    for name in council.names:
        council._step_at(name, council.now)
    decide(council, alice)
    council.run(5_000)
    council.meet()
    assert node._voting.voter.epoch == 1
    assert node._voting.voter.abstains_through == 2
    decide(council, alice, 6)
    council.stop("v0")
    decide(council, alice, 6)
    council.run(10_000)
    assert paid(node) == 15, council.nodes
    assert not council.faults


def skipped(genesis: Genesis, slots: int) -> Voter:
    """Who knows that the first so many slots ended with nothing."""
    voter = Voter(genesis.net, 0, ValidatorSet.of(genesis.validators), None, None, Pace())
    for slot in range(1, slots + 1):
        word = Vote(genesis.net, 0, slot, Phase.SKIP, None, START)
        voter.certified(Certificate.of([SignedVote.make(key_of(name), word) for name in ("v0", "v1", "v2")]))
    return voter


def test_however_much_there_is_to_tell_the_last_certificate_is_told():
    """It says how far whoever answers has come; all of them are too many for one answer."""
    genesis, slots = council_genesis(4), 1_200
    voter = skipped(genesis, slots)
    told = retelling.answer(voter, Proposals(), None, 0, 0)
    said = [parse_message(data, net=genesis.net) for data in told]
    assert sum(map(len, told)) < retelling.BALLOTS_BYTES_MAX
    assert [one.slot for one in said if isinstance(one, Certificate)][:3] == [slots, 1, 2]
    assert len(said) < slots


def test_however_much_there_is_to_tell_who_comes_back_is_told_of_its_vote_in_the_open_slot():
    """Nothing was final for 1,200 slots; and somebody filled later ones with votes that decide nothing."""
    genesis, slots = council_genesis(4), 1_200
    voter = skipped(genesis, slots)

    def skip(name: str, slot: int) -> bytes:
        signed = SignedVote.make(key_of(name), Vote(genesis.net, 0, slot, Phase.SKIP, None, START))
        voter.hear(signed)
        return signed.encode()

    crowd = [skip("v2", slot) for slot in range(slots + 3, slots + 1 + AHEAD_MAX)]
    lost = [skip("v3", slots + 1), skip("v3", slots + 2)]  # it was a slot further than we are
    for epoch in (0, -1):  # as many an epoch before asks
        told = retelling.answer(voter, Proposals(), None, epoch, 0)
        assert set(lost) < set(told)
        assert not set(crowd) & set(told)
    assert set(crowd) < set(retelling.answer(voter, Proposals(), None, 0, slots))


def test_who_is_a_quorum_alone_does_not_begin_anew_what_others_show_it():
    """It lost its disk in a later epoch, which an empty one does not know; all others are a third at most."""
    council = Council(4, stakes=[70, 10, 10, 10], epoch=2)
    alice = Author(council.genesis, "alice")
    decide(council, alice, 8)
    council.run(2_000)
    assert council.nodes["v1"]._voting.voter.epoch > 1
    for name in council.names:
        store = council.stop(name)
        council.start(name, None if name == "v0" else store)
    lost = council.nodes["v0"]
    assert not lost.rejoin(said_by(council, "v1", "v2", "v3"), now=council.now)
    council.meet()
    assert lost.height == council.nodes["v1"].height
    assert lost.rejoin(said_by(council, "v1", "v2", "v3"), now=council.now)


# -- started again before what it learnt is final ------------------------------------------------------------


def word(council: Council, name: str, slot: int, phase: Phase, about: Cid | None = None) -> SignedVote:
    return SignedVote.make(key_of(name), Vote(council.genesis.net, 0, slot, phase, about, START))


def finalizes(council: Council, node: Replica, slot: int) -> bool:
    """Whether it says that a slot is final when the three others show it that they notarized one there."""
    name = Cid.of(b"what they notarized in slot %d" % slot)
    shown = Certificate.of([word(council, one, slot, Phase.NOTARIZE, name) for one in ("v0", "v1", "v2")])
    said = [
        parse_message(data, net=council.genesis.net)
        for data in node.hear(shown.encode(), now=council.now).send
    ]
    mine = [one.vote for one in said if isinstance(one, SignedVote) and one.by == key_of("v3").public]
    return any(vote.phase == Phase.FINALIZE and vote.slot == slot for vote in mine)


def old_copy(council: Council) -> int:
    """v3 comes back, and v0 heard that it skipped the open slot, which its disk does not know: the slot."""
    alice = Author(council.genesis, "alice")
    decide(council, alice, 2)
    council.run(3_000)
    slot = council.nodes["v3"]._voting.voter.slot
    assert all(node._voting.voter.slot == slot for node in council.nodes.values())
    council.nodes["v0"].hear(word(council, "v3", slot, Phase.SKIP).encode(), now=council.now)
    council.start("v3", council.stop("v3"))
    return slot


def takes_no_votes(store: Store, *, full: bool) -> None:
    """From here on the disk refuses, or takes again, what is said in open slots."""
    stop = "CREATE TRIGGER full BEFORE INSERT ON ballot BEGIN SELECT RAISE(ABORT, 'no room'); END"
    with writing(store.engine) as connection:
        connection.exec_driver_sql(stop if full else "DROP TRIGGER full")


@pytest.mark.parametrize("then", ["nothing", "started again", "a write failed", "twice"])
def test_what_others_told_it_of_its_words_is_known_after_the_next_start_as_well(then: str):
    """Though whoever told it is not there any more to tell it again."""
    council = Council(4)
    slot = old_copy(council)
    assert council.rejoin("v3")
    if then == "a write failed":
        node = council.nodes["v3"]
        takes_no_votes(node.store, full=True)
        lost = Certificate.of([word(council, one, slot + 9, Phase.SKIP) for one in ("v0", "v1", "v2")])
        with pytest.raises(sa.exc.IntegrityError, match="no room"):
            node.hear(lost.encode(), now=council.now)
        takes_no_votes(node.store, full=False)
    for _ in range({"started again": 1, "twice": 2}.get(then, 0)):
        council.start("v3", council.stop("v3"))
        assert council.nodes["v3"].rejoin(said_by(council, "v1", "v2"), now=council.now)
    node = council.nodes["v3"]
    if then == "a write failed":
        node.step(council.now)  # from the store
        assert node.is_silent
        assert node.rejoin(said_by(council, "v1", "v2"), now=council.now)
    assert not finalizes(council, node, slot)
    assert not finalizes(council, node, slot + 1)
    assert finalizes(council, node, slot + 2)


def shown_skip(council: Council, name: str) -> int:
    """One of them learns that the slot which all others are in is over: which."""
    voter = council.nodes[name]._voting.voter
    votes = [Vote(council.genesis.net, voter.epoch, voter.slot, Phase.SKIP, None, START)] * 3
    words = [SignedVote.make(key_of(one), vote) for one, vote in zip(("v0", "v1", "v2"), votes, strict=True)]
    council.nodes[name].hear(Certificate.of(words).encode(), now=council.now)
    return voter.slot - 1


@pytest.mark.parametrize("later", [0, 1, 2])
def test_a_word_that_others_heard_and_tell_no_more_is_in_a_slot_that_is_left(later: int):
    """They are some slots further, where single votes of this one decide nothing."""
    council = Council(4)
    slot = old_copy(council)
    name = Cid.of(b"what they notarized in slot %d" % slot)
    notarized = Certificate.of([word(council, one, slot, Phase.NOTARIZE, name) for one in ("v0", "v1", "v2")])
    for one in ("v0", "v1", "v2"):
        council.nodes[one].hear(word(council, "v3", slot, Phase.SKIP).encode(), now=council.now)
        council.nodes[one].hear(notarized.encode(), now=council.now)
        for _ in range(later):
            shown_skip(council, one)
    assert council.rejoin("v3")
    assert not finalizes(council, council.nodes["v3"], slot)


@pytest.mark.parametrize("epoch", [0, 1])
def test_who_was_shown_that_a_slot_is_over_leaves_it_for_the_next_though_nobody_shows_it_again(epoch: int):
    """Whoever did may lie: if we said no more there, and nothing of its end, others might wait for us."""
    council = Council(4, epoch=EPOCH)
    alice = Author(council.genesis, "alice")
    decide(council, alice, 2)
    council.run(3_000)
    store = council.stop("v3")
    decide(council, alice, 4 * epoch)
    council.run(3_000)
    slot = shown_skip(council, "v0")
    council.start("v3", store)
    assert council.nodes["v3"].rejoin(said_by(council, "v0", "v1"), now=council.now)
    council._sync("v3", "v1")
    council.nodes["v3"].step(council.now)
    voter = council.nodes["v3"]._voting.voter
    assert (voter.epoch, voter.slot) == (epoch, slot + 1)
    assert not council.nodes["v3"].abstains
    for message in council.nodes["v3"].ballots(epoch, slot):
        council.nodes["v1"].hear(message, now=council.now)
    assert council.nodes["v1"]._voting.voter.slot == slot + 1


def test_the_slots_that_a_lost_disk_leaves_are_left_after_the_next_start_as_well():
    """It voted in a later one meanwhile, so that its new disk is believed."""
    council = Council(4)
    decide(council, Author(council.genesis, "alice"), 2)
    council.run(3_000)
    council.stop("v3")
    council.start("v3")
    council.meet()
    assert council.rejoin("v3")
    node = council.nodes["v3"]
    left = node._voting.voter.abstains_through
    assert left >= node._voting.voter.slot
    assert finalizes(council, node, left + 1)
    council.start("v3", council.stop("v3"))
    node = council.nodes["v3"]
    assert node.store.has_voted
    assert node.rejoin(said_by(council, "v1", "v2"), now=council.now)
    assert not any(finalizes(council, node, slot) for slot in range(node._voting.voter.base + 1, left + 1))
    assert finalizes(council, node, left + 2)


def test_to_be_told_of_one_s_words_is_not_to_have_voted():
    """An empty disk still asks everybody after the next start."""
    council = Council(4)
    decide(council, Author(council.genesis, "alice"), 2)
    council.run(3_000)
    slot = council.nodes["v3"]._voting.voter.slot
    council.nodes["v0"].hear(word(council, "v3", slot, Phase.SKIP).encode(), now=council.now)
    council.stop("v3")
    council.start("v3")
    council.meet()
    assert council.rejoin("v3")
    council.start("v3", council.stop("v3"))
    node = council.nodes["v3"]
    assert not node.rejoin(said_by(council, "v1", "v2"), now=council.now)
    assert node.rejoin(said_by(council, "v0", "v1", "v2"), now=council.now)


@pytest.mark.parametrize(("told", "begins"), [(1, True), (2, False)])
def test_who_was_told_of_its_word_at_the_beginning_needs_no_more_after_the_next_start(
    told: int, begins: bool
):
    """Four founders, of whom one is silent; v3 lost its disk. A quorum with it used to be enough
    once, and never again. In the second slot it voted only if the first had a certificate."""
    council = Council(4)
    for name in council.names:
        council.stop(name)
    for name in ("v0", "v1"):
        council.start(name)
    skipped = word(council, "v3", told, Phase.SKIP)
    council.nodes["v0"].hear(skipped.encode(), now=council.now)
    council.start("v3")
    for _ in range(3):
        node = council.nodes["v3"]
        assert node.rejoin(said_by(council, "v0", "v1"), now=council.now) is begins
        assert not node.store.has_voted
        assert node.store.left == Left(lost=(0, told + 1))
        council.start("v3", council.stop("v3"))
    node = council.nodes["v3"]
    assert node.rejoin(said_by(council, "v0", "v1"), now=council.now) is begins
    assert not finalizes(council, node, told)


def test_a_certificate_of_the_beginning_is_not_forgotten_by_the_next_start():
    """Though only whoever did not see it is there then."""
    council = Council(4)
    for name in council.names:
        council.stop(name)
    for name in ("v0", "v1", "v2", "v3"):
        council.start(name)
    skips = [word(council, name, 1, Phase.SKIP) for name in ("v0", "v1", "v2")]
    council.nodes["v2"].hear(Certificate.of(skips).encode(), now=council.now)
    node = council.nodes["v3"]
    assert not node.rejoin(said_by(council, "v0", "v2"), now=council.now)
    council.start("v3", council.stop("v3"))
    node = council.nodes["v3"]
    assert not node.rejoin(said_by(council, "v0", "v1"), now=council.now)
    assert node.rejoin(said_by(council, "v0", "v1", "v2"), now=council.now)


def test_a_disk_that_does_not_take_what_was_learnt_keeps_it_silent():
    council = Council(4)
    slot = old_copy(council)
    node = council.nodes["v3"]
    takes_no_votes(node.store, full=True)
    with pytest.raises(sa.exc.IntegrityError, match="no room"):
        council.rejoin("v3")
    takes_no_votes(node.store, full=False)
    assert not node.step(council.now).send
    assert node.is_silent
    assert council.rejoin("v3")
    assert not finalizes(council, node, slot)


def test_what_is_final_is_left_no_longer():
    council = Council(4)
    slot = old_copy(council)
    assert council.rejoin("v3")
    assert council.nodes["v3"].store.left == Left(lost=(0, slot + 1))
    decide(council, Author(council.genesis, "bob"), 4)
    council.run(10_000)
    assert council.nodes["v3"]._voting.voter.base > slot
    assert council.nodes["v3"].store.left == Left()
    assert not council.faults


def test_the_operator_s_word_holds_after_the_next_start_and_what_was_told_too():
    council = Council(4)
    slot = old_copy(council)
    assert council.rejoin("v3")
    council.nodes["v3"].forget_votes()
    assert council.nodes["v3"].store.left == Left()
    council.start("v3", council.stop("v3"))
    node = council.nodes["v3"]
    assert node.rejoin(said_by(council, "v1", "v2"), now=council.now)
    assert not node.abstains
    assert not finalizes(council, node, slot)
    assert finalizes(council, node, slot + 1)


def test_the_only_validator_stops_at_a_word_that_its_disk_does_not_know_until_its_operator_says_so():
    """Its disk is an older copy, and nobody else can end the slot in which it has spoken."""
    council = Council(1)
    alice = Author(council.genesis, "alice")
    decide(council, alice)
    council.run(3_000)
    node = council.nodes["v0"]
    node.hear(word(council, "v0", node._voting.voter.slot, Phase.SKIP).encode(), now=council.now)
    for _ in range(2):
        decide(council, alice)
        council.run(10_000)
        assert paid(council.nodes["v0"]) == 1
        assert council.nodes["v0"].abstains
        assert not council.nodes["v0"].is_silent
        council.start("v0", council.stop("v0"))
    council.nodes["v0"].forget_votes()
    decide(council, alice)
    council.run(10_000)
    assert paid(council.nodes["v0"]) == 4
    assert not council.faults


@pytest.mark.parametrize("at", [0, 31, 32, -1])
def test_slots_left_to_others_that_the_disk_changed_are_damage(at: int):
    council = Council(4)
    old_copy(council)
    assert council.rejoin("v3")
    store = council.stop("v3")
    with writing(store.engine) as connection:
        bent = bytearray(opening.get(connection, "left") or b"")
        bent[at] ^= 1
        opening.put(connection, "left", bytes(bent))
    with pytest.raises(StoreCorrupt, match="which slots it leaves to others"):
        council.start("v3", store)


@pytest.mark.parametrize("column", ["epoch", "slot", "ours"])
def test_a_word_that_the_disk_moved_is_damage(column: str):
    council = Council(4)
    old_copy(council)
    assert council.rejoin("v3")
    store = council.stop("v3")
    with writing(store.engine) as connection:
        moved = BALLOT.update().where(BALLOT.c.ours == 1).values({column: 1 - BALLOT.c[column]})
        assert connection.execute(moved).rowcount
    with pytest.raises(StoreCorrupt, match="what it heard in slot"):
        council.start("v3", store)
