"""Sync without a network: the asking side against a ledger, frame by frame, and against liars."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import Event
from ledger.holdings import frontier_set
from ledger.item_set import ItemSet
from ledger.reconcile import FRAME_MAX
from ledger.reconcile_frames import FRAME_MIN
from network import sync_messages as words
from network.sync import IDS_ROUNDS_MAX, Puller, Stage
from network.sync_actions import (
    Delivered,
    Done,
    Local,
    Send,
    Stock,
    TakeStock,
)
from network.sync_messages import (
    ANSWER_BYTES_MAX,
    RANGES_MAX,
    Bye,
    Checkpoints,
    Differences,
    Events,
    GetCheckpoints,
    GetDifferences,
    GetHeads,
    GetIds,
    GetLacking,
    GetRanges,
    Heads,
    Hello,
    decode_question,
    encode,
)
from tests.network.ledgers import NET, OTHER_NET, Author
from tests.network.sync_session import (
    DIFFERS,
    EQUAL,
    SALT,
    TIP,
    A,
    Session,
    heads_of,
    ledger,
    now,
    same,
)


def test_equal_ledgers_are_done_in_one_round_trip():
    events = Author(1).lane(5)
    session = Session(ledger(*events), ledger(*events))
    assert session.run() == "equal"
    assert session.puller.rounds == 0


def test_two_empty_ledgers_are_equal():
    assert Session(ledger(), ledger()).run() == "equal"


def test_what_they_have_further_is_fetched_and_nothing_else():
    alice, bob = Author(1), Author(2)
    both, more, ours = alice.lane(5), alice.lane(3), bob.lane(4)
    session = Session(ledger(*both, *ours), ledger(*both, *more))
    session.puller.few = 0
    assert session.run() == "synced"
    assert set(session.ours.events) == {event.id for event in (*both, *more, *ours)}
    assert session.kinds() == [Hello, GetHeads, GetRanges, GetLacking]
    assert session.questions[2] == GetRanges(((alice.key.public, 0, 5, 7),))


def test_on_one_checkpoint_a_few_differences_are_asked_for_at_once():
    """Three questions, where heads and ranges of 40 lanes would be said first."""
    authors = [Author(number) for number in range(1, 41)]
    both = [author.write() for author in authors for _ in range(5)]
    more = [author.write() for author in authors]
    session = Session(ledger(*both), ledger(*both, *more))
    assert session.run() == "synced"
    assert same(session.ours, session.theirs)
    assert session.kinds() == [Hello, GetDifferences, GetLacking]


def test_when_more_than_a_few_would_be_named_the_heads_go_first():
    """Either has gone on for 40 events: two heads say so in less."""
    alice, bob = Author(1).lane(40), Author(2).lane(40)
    session = Session(ledger(*alice, bob[0]), ledger(*bob), few=20)
    session.puller.patient = True
    assert session.run() == "synced"
    assert bob[-1].id in session.ours.events
    assert session.kinds()[-2:] == [GetHeads, GetRanges]


def test_a_peer_that_left_the_checkpoint_meanwhile_is_asked_for_heads():
    [event] = Author(1).lane(1)
    session = Session(ledger(), ledger(event))
    session.puller.start()
    actions = session.puller.receive(encode(now(session.theirs.hello())))
    [asked] = session.perform(actions[0], [])
    assert isinstance(asked, Send)
    assert isinstance(decode_question(asked.frame), GetLacking)
    [action] = session.puller.receive(encode(Differences(None)))
    assert action == TakeStock(Stock.FRONTIER)


def test_many_lanes_that_name_each_other_come_parents_first():
    """200 events that each name one of another lane: nothing waits in the pending buffer."""
    authors = [Author(number) for number in range(1, 9)]
    last = authors[0].write()
    events = [last]
    for index in range(200):
        last = authors[index * 5 % 8].write(
            parents=[last] if last not in authors[index * 5 % 8].events else []
        )
        events.append(last)
    session = Session(ledger(), ledger(*events))
    frames: list[int] = []
    take = session.ours.take_events

    async def counted(wires, peer):  # type: ignore[no-untyped-def]
        result = await take(wires, peer)
        frames.append(len(session.ours.pending))
        return result

    session.ours.take_events = counted  # type: ignore[method-assign]
    session.puller.few = 0
    assert session.run() == "synced"
    assert same(session.ours, session.theirs)
    assert set(frames) == {0}


def test_an_answer_is_bounded_and_the_rest_is_asked_for_again():
    """4 MiB of events take several questions; none is answered with more than a MiB."""
    session = Session(ledger(), ledger(*Author(1).lane(280, 15_000)))
    session.puller.few = 0
    assert session.run() == "synced"
    assert same(session.ours, session.theirs)
    assert sum(isinstance(question, GetRanges) for question in session.questions) == 5


def test_more_lanes_than_one_question_names_are_worked_through_one_after_the_other():
    authors = [Author(number) for number in range(1, RANGES_MAX + 31)]
    session = Session(ledger(), ledger(*(author.write() for author in authors)))
    session.puller.few = 0
    assert session.run() == "synced"
    assert same(session.ours, session.theirs)
    assert session.kinds().count(GetRanges) == 2


def test_a_fork_at_equal_height_is_seen_and_fetched():
    """Both hold seq 3 of a lane, but not the same event: ranges would show nothing."""
    ours, theirs = Author(1), Author(1)
    common = ours.lane(3)
    theirs.events = list(common)
    mine, rival = ours.write(mark=1), theirs.write(mark=2)
    session = Session(ledger(*common, mine), ledger(*common, rival))
    session.puller.few = 0
    assert session.run() == "synced"
    assert rival.id in session.ours.events
    assert GetIds((rival.id,)) in session.questions


def test_a_fork_that_is_known_is_not_fetched_again():
    ours, theirs = Author(1), Author(1)
    common = ours.lane(3)
    theirs.events = list(common)
    mine, rival = ours.write(mark=1), theirs.write(mark=2)
    session = Session(ledger(*common, mine, rival), ledger(*common, rival))
    assert session.run() == "synced"
    assert not any(isinstance(question, GetIds) for question in session.questions)


def rivals(count: int) -> tuple[list[Event], list[Event]]:
    """A lane of 40 events, and as many others that each stand beside one of them."""
    author = Author(1)
    chain = author.lane(40)
    beside = []
    for seq in range(count):
        twin = Author(1)
        twin.events = chain[:seq]
        beside.append(twin.write(mark=1 + seq))
    return chain, beside


@pytest.mark.parametrize("limit", [FRAME_MIN, FRAME_MAX])
@pytest.mark.parametrize("count", [1, 40])
def test_rivals_that_no_head_leads_to_are_found_among_the_unordered_events(count: int, limit: int):
    """Both stand at seq 39 of the lane, with one and the same event: no head shows what else there is."""
    chain, beside = rivals(count)
    session = Session(ledger(*chain), ledger(*chain, *beside), limit=limit)
    session.theirs.tips = dict(session.ours.tips)
    assert session.run() == "synced"
    assert same(session.ours, session.theirs)
    assert GetHeads not in session.kinds()
    assert GetLacking in session.kinds() or GetIds in session.kinds()


def test_events_above_another_checkpoint_are_not_compared():
    """It stood on our checkpoint, and when it was asked it had gone on: the next session is for that."""
    chain, beside = rivals(3)
    session = Session(ledger(*chain), ledger(*chain, *beside))
    for one in (session.ours, session.theirs):
        one.finals = [(b"c", b"q")]
    session.puller.hello = now(session.ours.hello())
    welcome = encode(now(session.theirs.hello()))
    session.theirs.finals.append((b"c2", b"q"))
    actions = session.puller.start()
    actions = session.puller.receive(welcome)
    while not isinstance(actions[0], Send):
        actions = session.perform(actions[0], [])
    [frame] = actions
    assert isinstance(frame, Send)
    assert isinstance(question := decode_question(frame.frame), GetDifferences)
    assert question.base == Cid.of(b"c")
    assert session.puller.receive(encode(Differences(None))) == [Done("synced")]


def test_the_patient_leave_differences_for_later_while_heads_still_differ():
    """What only they hold would all be listed, and the peer is about to ask for it."""
    ours, theirs = Author(1).lane(20), Author(2).lane(20)
    session = Session(ledger(*ours, *theirs[:1]), ledger(*theirs))
    session.puller.patient = True
    session.puller.few = 0
    assert session.run() == "synced"
    assert session.puller.postponed
    assert session.kinds() == [Hello, GetHeads, GetRanges]


def test_the_patient_look_for_differences_when_the_heads_are_the_same():
    chain, beside = rivals(3)
    session = Session(ledger(*chain), ledger(*chain, *beside))
    session.theirs.tips = dict(session.ours.tips)
    session.puller.patient = True
    assert session.run() == "synced"
    assert not session.puller.postponed
    assert same(session.ours, session.theirs)


def test_a_peer_that_is_behind_is_not_asked_what_lies_above_its_checkpoint():
    chain, beside = rivals(3)
    session = Session(ledger(*chain), ledger(*chain, *beside))
    session.ours.finals = [(b"c", b"q")]
    session.puller.hello = now(session.ours.hello())
    session.ours.add(Author(2).write())
    assert session.run() == "synced"
    assert session.kinds() == [Hello]


def test_four_mib_of_rivals_come_in_bounded_answers():
    chain = Author(1).lane(280, 100)
    beside = []
    for seq in range(280):
        twin = Author(1)
        twin.events = chain[:seq]
        beside.append(twin.write(15_000))
    session = Session(ledger(*chain), ledger(*chain, *beside))
    session.theirs.tips = dict(session.ours.tips)
    assert session.run() == "synced"
    assert same(session.ours, session.theirs)


def test_an_answer_without_end_ends_the_session():
    """We hold nothing, so everything is lacking, and one question is enough for all that there is."""
    puller = in_stage(Stage.LACKING)
    chain = Author(1).lane(400, 15_000)
    frames = [encode(Events(((0, event.wire),), end=False, more=False)) for event in chain]
    room = ANSWER_BYTES_MAX // len(chain[-1].wire)
    for frame in frames[:room]:
        puller.receive(frame)
        puller.delivered(Delivered(1))
    with pytest.raises(RemoteError) as refused:
        puller.receive(frames[room])
    assert refused.value.code == "oversize"


def test_wanted_ids_are_asked_for_first():
    alice = Author(1)
    events = alice.lane(3)
    session = Session(ledger(), ledger(*events), wanted=(events[2].id,))
    assert session.run() == "synced"
    assert session.questions[1] == GetIds((events[2].id,))
    assert same(session.ours, session.theirs)


def test_a_chain_of_missing_parents_is_followed_back():
    alice, bob = Author(1), Author(2)
    chain = alice.lane(6)
    tip = bob.write(parents=[chain[-1]])
    theirs = ledger(*chain, tip)
    del theirs.tips[alice.key.public, 0]  # as after a fork: no head leads to the chain
    session = Session(ledger(), theirs)
    session.puller.few = 0
    assert session.run() == "synced"
    assert len(session.ours.events) == 7
    assert sum(isinstance(question, GetIds) for question in session.questions) == 6 < IDS_ROUNDS_MAX


def test_checkpoints_come_after_the_events_and_in_order():
    session = Session(ledger(), ledger(*Author(1).lane(3)))
    session.theirs.finals = [(b"checkpoint %d" % height, b"certificate") for height in range(60)]
    assert session.run() == "synced"
    assert same(session.ours, session.theirs)
    asked = [question.first for question in session.questions if isinstance(question, GetCheckpoints)]
    assert asked == [1, 25, 49]


def test_a_checkpoint_that_lacks_events_gets_them_and_is_tried_again():
    [hidden] = Author(3).lane(1)
    session = Session(ledger(), ledger(hidden))
    session.theirs.tips.clear()
    session.theirs.finals = [(b"c", b"q")]
    tries = []

    async def take(items, final, peer):  # type: ignore[no-untyped-def]
        tries.append(len(items))
        if hidden.id not in session.ours.events:
            return Delivered(0, (hidden.id,))
        session.ours.finals.extend(items)
        return Delivered(len(items))

    session.ours.take_checkpoints = take  # type: ignore[method-assign]
    assert session.run() == "synced"
    assert tries == [1, 1]


def test_a_peer_that_promises_what_it_does_not_give_is_left():
    """Its heads and height lead nowhere: the session ends as stalled, not never."""
    session = Session(ledger(), ledger(*Author(1).lane(3)))
    session.theirs.tips[b"\x09" * 32, 0] = (10**12, Cid.of(b"nothing"))
    session.theirs.finals = [(b"c", b"q")]

    async def nothing(first: int, limit: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        return [], b""

    session.theirs.checkpoints = nothing  # type: ignore[method-assign]
    assert session.run() == "stalled"
    assert session.puller.rounds < 6


def test_a_checkpoint_that_never_applies_is_not_asked_for_for_ever():
    session = Session(ledger(), ledger())
    session.theirs.finals = [(b"c", b"q")]

    async def refuse(items, final, peer):  # type: ignore[no-untyped-def]
        return Delivered(0)

    session.ours.take_checkpoints = refuse  # type: ignore[method-assign]
    assert session.run() == "stalled"


@pytest.mark.parametrize("at", ["hello", "heads"])
def test_a_peer_may_leave_at_any_time_and_its_reason_is_only_noise(at: str):
    """What it says is not used for anything: counters are named by us alone."""
    puller = in_stage(Stage.HELLO if at == "hello" else Stage.HEADS)
    assert puller.receive(encode(Bye("x" * 255))) == [Done("bye")]


def in_stage(stage: Stage) -> Puller:
    """A puller that has just asked its first question of this kind."""
    with_heads = stage in (Stage.HEADS, Stage.STOCK, Stage.RANGES, Stage.LOCAL)
    puller = Puller(Hello(NET, 0, None, b"\x00" * 32, b"\x00" * 16), SALT, few=0)
    puller.start()
    if stage is Stage.HELLO:
        return puller
    height = 5 if stage is Stage.CHECKPOINTS else 0
    heads = b"\x01" * 32 if with_heads else b"\x00" * 32
    tip = Cid.of(b"final") if height else None
    puller.receive(encode(Hello(NET, height, tip, heads, b"\x01" * 16)))
    if stage in (Stage.CHECKPOINTS, Stage.DIFFERENCES, Stage.LACKING):
        puller.resume(Local(puller.hello, {}))
    if stage is Stage.DIFFERENCES:
        puller.stocked(ItemSet.of((bytes([n]) * 40 for n in range(1, 41)), width=40))
    if stage is Stage.LACKING:
        puller.stocked(ItemSet.of((), width=40))
    if stage in (Stage.HEADS, Stage.RANGES, Stage.LOCAL):
        puller.stocked(frontier_set({}))
    if stage in (Stage.RANGES, Stage.LOCAL):
        puller.receive(encode(heads_of({(A, 0): (1, TIP)})))
    if stage is Stage.RANGES:
        puller.resume(Local(puller.hello, {}))
    assert puller.stage is stage
    return puller


@pytest.mark.parametrize(
    ("stage", "answer", "code"),
    [
        (Stage.HELLO, Hello(OTHER_NET, 0, None, b"\x00" * 32, b"\x00" * 16), "wrong_network"),
        (Stage.HELLO, Bye("wrong_network"), "wrong_network"),
        (Stage.HELLO, Heads(EQUAL), "bad_schema"),
        (Stage.HEADS, Events((), end=True, more=False), "unasked"),
        (Stage.HEADS, Hello(NET, 0, None, b"\x00" * 32, b"\x00" * 16), "bad_schema"),
        (Stage.HEADS, Differences(EQUAL), "unasked"),
        (Stage.HEADS, Heads(DIFFERS), "unasked"),
        (Stage.HEADS, Heads(b"\x01\x00"), "bad_frame"),
        (Stage.HEADS, heads_of({(A, 0): (2**63, TIP)}), "bad_heads"),
        (Stage.DIFFERENCES, Heads(EQUAL), "unasked"),
        (Stage.LACKING, Differences(EQUAL), "unasked"),
        (Stage.LACKING, Events(((0, b"no event"),), end=True, more=False), "non_canonical"),
        (Stage.LACKING, Events((), end=True, more=True), "no_progress"),
        (Stage.RANGES, Events(((1, b"w"),), end=True, more=False), "unasked"),
        (Stage.RANGES, Events(((0, b"w"),) * 3, end=True, more=False), "unasked"),
        (Stage.RANGES, Events((), end=False, more=False), "bad_events"),
        (Stage.RANGES, Checkpoints((), b""), "unasked"),
        (Stage.CHECKPOINTS, Heads(EQUAL), "unasked"),
        (Stage.CHECKPOINTS, Checkpoints(((b"c", b"q"),) * 6, b"f"), "unasked"),  # it has five
        (Stage.LOCAL, Heads(EQUAL), "unasked"),
        (Stage.STOCK, Heads(EQUAL), "unasked"),
    ],
)
def test_an_answer_that_was_not_asked_for_ends_the_session(stage: Stage, answer: words.Message, code: str):
    with pytest.raises(RemoteError) as refused:
        in_stage(stage).receive(encode(answer))
    assert refused.value.code == code


@given(
    st.sampled_from(list(Stage)).filter(lambda s: s not in (Stage.NEW, Stage.OVER, Stage.IDS)), st.binary()
)
def test_garbage_in_any_stage_is_a_remote_error(stage: Stage, frame: bytes):
    with pytest.raises(RemoteError):
        in_stage(stage).receive(frame)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_two_ledgers_hold_the_same_events_after_one_session_each_way(data: st.DataObject):
    """Random causal histories, each side holding a random causally closed part."""
    authors = [Author(number) for number in range(1, 5)]
    history = [authors[0].write()]
    for _ in range(data.draw(st.integers(0, 40))):
        author = authors[data.draw(st.integers(0, 3))]
        others = [event for event in history[-6:] if event.header.by != author.key.public]
        history.append(author.write(parents=others[: data.draw(st.integers(0, 2))]))
    cuts = [data.draw(st.integers(0, len(history))) for _ in range(2)]
    a, b = ledger(*history[: cuts[0]]), ledger(*history[: cuts[1]])
    extra = Author(9).lane(data.draw(st.integers(0, 3)))
    b.add(*extra)
    assert Session(a, b).run() in ("equal", "synced")
    assert Session(b, a).run() in ("equal", "synced")
    assert same(a, b)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([FRAME_MIN, 1_000, FRAME_MAX]))
def test_any_two_ledgers_with_forks_hold_the_same_events_after_one_session_each_way(
    data: st.DataObject, limit: int
):
    """Lanes that branch anywhere, branches that go on, others that name them: each side holds some of it."""
    history: list[Event] = []
    lanes = [[Author(number).write()] for number in range(1, 4)]
    history.extend(lane[0] for lane in lanes)
    for mark in range(1, data.draw(st.integers(2, 40))):
        branch = data.draw(st.sampled_from(lanes))
        author = Author(1 + [lane[0].id for lane in lanes[:3]].index(branch[0].id))
        author.events = list(branch)
        if data.draw(st.booleans()):  # back to an earlier place: a rival of what follows there
            del author.events[data.draw(st.integers(1, len(branch))) :]
            lanes.append(author.events)
        else:
            author.events = branch
        others = [event for event in history[-5:] if event.header.by != author.key.public]
        history.append(author.write(parents=others[:2], mark=mark))
    a, b = ledger(), ledger()
    for side in (a, b):
        side.add(*(event for event in history if data.draw(st.booleans())))
        side.pending.clear()
    assert Session(a, b, limit=limit).run() in ("equal", "synced")
    assert Session(b, a, limit=limit).run() in ("equal", "synced")
    assert a.events.keys() == b.events.keys()
