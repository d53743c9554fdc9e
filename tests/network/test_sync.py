"""Sync without a network: the asking side against a ledger, frame by frame, and against liars."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.cid import Cid
from ledger.errors import RemoteError
from network import sync_messages as words
from network.sync import (
    IDS_ROUNDS_MAX,
    Action,
    DeliverCheckpoints,
    Delivered,
    DeliverEvents,
    Done,
    Local,
    LookUp,
    Puller,
    Send,
    Stage,
)
from network.sync_answers import Part, by_ids, event_frames, heads_page, merge, share
from network.sync_messages import (
    ANSWER_BYTES_MAX,
    EVENT_FRAME_BYTES,
    HEADS_PAGE,
    Bye,
    Checkpoints,
    Events,
    GetCheckpoints,
    GetHeads,
    GetIds,
    GetRanges,
    Heads,
    Hello,
    decode_answer,
    decode_hello,
    decode_question,
    encode,
)
from tests.network.ledgers import NET, OTHER_NET, Author, MemoryLedger


class Session:
    """One puller and the ledger of each side, run in a loop without input or output."""

    def __init__(self, ours: MemoryLedger, theirs: MemoryLedger, wanted: tuple[Cid, ...] = ()) -> None:
        self.ours, self.theirs = ours, theirs
        self.questions: list[object] = []
        self.puller = Puller(now(ours.hello()), wanted)

    def run(self) -> str:
        actions = self.puller.start()
        waiting: list[bytes] = []
        while True:
            if not actions:
                actions = self.puller.receive(waiting.pop(0))
                continue
            [action] = actions
            if isinstance(action, Done):
                return action.code
            actions = self.perform(action, waiting)

    def perform(self, action: Action, waiting: list[bytes]) -> list[Action]:
        match action:
            case Send(frame):
                assert not waiting, "a question while an answer is on its way"
                waiting.extend(self.answer(frame))
                return []
            case LookUp(ids):
                local = Local(
                    now(self.ours.hello()), now(self.ours.heads()), tuple(now(self.ours.unknown(ids)))
                )
                return self.puller.resume(local)
            case DeliverEvents(wires):
                return self.puller.delivered(now(self.ours.take_events(wires, "them")))
            case DeliverCheckpoints(items):
                return self.puller.delivered(now(self.ours.take_checkpoints(items, "them")))
        raise AssertionError(action)

    def answer(self, frame: bytes) -> Iterator[bytes]:
        if not self.questions:
            self.questions.append(decode_hello(frame))
            yield encode(now(self.theirs.hello()))
            return
        question = decode_question(frame)
        self.questions.append(question)
        match question:
            case GetHeads(after):
                yield encode(heads_page(self.theirs.tips, after))
            case GetRanges(ranges):
                parts = []
                for by, lane, first, last in ranges:
                    wires = now(self.theirs.lane_range(by, lane, first, last, share(len(ranges))))
                    parts.append(Part(wires, whole=not wires or len(wires) == last - first + 1))
                events, more = merge(parts)
                yield from event_frames(events, more=more)
            case GetIds(ids):
                events, more = by_ids(ids, now(self.theirs.wires(ids)))
                yield from event_frames(events, more=more)
            case GetCheckpoints(first, limit):
                yield encode(Checkpoints(tuple(now(self.theirs.checkpoints(first, limit)))))


def now(coroutine):  # type: ignore[no-untyped-def]
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waited")


def ledger(*events: object) -> MemoryLedger:
    made = MemoryLedger()
    made.add(*events)  # type: ignore[arg-type]
    return made


def same(a: MemoryLedger, b: MemoryLedger) -> bool:
    return a.events.keys() == b.events.keys() and a.finals == b.finals


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
    assert session.run() == "synced"
    assert set(session.ours.events) == {event.id for event in (*both, *more, *ours)}
    assert session.questions[1:] == [GetHeads(None), GetRanges(((alice.key.public, 0, 5, 7),))]


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
    assert session.run() == "synced"
    assert same(session.ours, session.theirs)
    assert set(frames) == {0}


def test_an_answer_is_bounded_and_the_rest_is_asked_for_again():
    """4 MiB of events take several questions; none is answered with more than a MiB."""
    session = Session(ledger(), ledger(*Author(1).lane(280, 15_000)))
    assert session.run() == "synced"
    assert same(session.ours, session.theirs)
    assert sum(isinstance(question, GetRanges) for question in session.questions) == 5


def test_more_lanes_than_a_page_are_worked_through_page_by_page():
    authors = [Author(number) for number in range(1, HEADS_PAGE + 31)]
    session = Session(ledger(), ledger(*(author.write() for author in authors)))
    assert session.run() == "synced"
    assert same(session.ours, session.theirs)
    assert sum(isinstance(question, GetHeads) for question in session.questions) == 2


def test_a_fork_at_equal_height_is_seen_and_fetched():
    """Both hold seq 3 of a lane, but not the same event: ranges would show nothing."""
    ours, theirs = Author(1), Author(1)
    common = ours.lane(3)
    theirs.events = list(common)
    mine, rival = ours.write(mark=1), theirs.write(mark=2)
    session = Session(ledger(*common, mine), ledger(*common, rival))
    assert session.run() == "synced"
    assert rival.id in session.ours.events
    assert session.questions[2] == GetIds((rival.id,))


def test_a_fork_that_is_known_is_not_fetched_again():
    ours, theirs = Author(1), Author(1)
    common = ours.lane(3)
    theirs.events = list(common)
    mine, rival = ours.write(mark=1), theirs.write(mark=2)
    session = Session(ledger(*common, mine, rival), ledger(*common, rival))
    assert session.run() == "synced"
    assert not any(isinstance(question, GetIds) for question in session.questions)


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

    async def take(items, peer):  # type: ignore[no-untyped-def]
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

    async def nothing(first: int, limit: int) -> list[tuple[bytes, bytes]]:
        return []

    session.theirs.checkpoints = nothing  # type: ignore[method-assign]
    assert session.run() == "stalled"
    assert session.puller.rounds < 6


def test_a_checkpoint_that_never_applies_is_not_asked_for_for_ever():
    session = Session(ledger(), ledger())
    session.theirs.finals = [(b"c", b"q")]

    async def refuse(items, peer):  # type: ignore[no-untyped-def]
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
    puller = Puller(Hello(NET, 0, None, b"\x00" * 32))
    puller.start()
    if stage is Stage.HELLO:
        return puller
    height = 5 if stage is Stage.CHECKPOINTS else 0
    digest = b"\x00" * 32 if stage is Stage.CHECKPOINTS else b"\x01" * 32
    tip = Cid.of(b"final") if height else None
    actions = puller.receive(encode(Hello(NET, height, tip, digest)))
    if stage is Stage.CHECKPOINTS:
        assert isinstance(actions[0], LookUp)
        puller.resume(Local(puller.hello, {}))
    if stage in (Stage.RANGES, Stage.LOCAL):
        puller.receive(encode(Heads(((b"\x02" * 32, 0, 1, Cid.of(b"tip")),), more=False)))
    if stage is Stage.RANGES:
        puller.resume(Local(puller.hello, {}))
    assert puller.stage is stage
    return puller


VECTORS = Path(__file__).parents[1] / "vectors" / "sync_words.json"
A, B = b"\x02" * 32, b"\x03" * 32
TIP = Cid.of(b"tip")


@pytest.mark.parametrize(
    ("stage", "answer", "code"),
    [
        (Stage.HELLO, Hello(OTHER_NET, 0, None, b"\x00" * 32), "wrong_network"),
        (Stage.HELLO, Bye("wrong_network"), "wrong_network"),
        (Stage.HELLO, Heads((), more=False), "bad_schema"),
        (Stage.HEADS, Events((), end=True, more=False), "unasked"),
        (Stage.HEADS, Hello(NET, 0, None, b"\x00" * 32), "unasked"),
        (Stage.HEADS, Heads(((B, 0, 0, TIP), (A, 0, 0, TIP)), more=False), "bad_heads"),
        (Stage.HEADS, Heads(((A, 0, 0, TIP), (A, 0, 1, TIP)), more=False), "bad_heads"),
        (Stage.HEADS, Heads((), more=True), "bad_heads"),
        (Stage.RANGES, Events(((1, b"w"),), end=True, more=False), "unasked"),
        (Stage.RANGES, Events(((0, b"w"),) * 3, end=True, more=False), "unasked"),
        (Stage.RANGES, Events((), end=False, more=False), "bad_events"),
        (Stage.RANGES, Checkpoints(()), "unasked"),
        (Stage.CHECKPOINTS, Heads((), more=False), "unasked"),
        (Stage.LOCAL, Heads((), more=False), "unasked"),
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


WORDS = {
    "hello": Hello(NET, 1, TIP, b"\x07" * 32),
    "hello at height 0": Hello(NET, 0, None, b"\x07" * 32),
    "bye": Bye("busy"),
    "first heads": GetHeads(None),
    "next heads": GetHeads((A, 0)),
    "ranges": GetRanges(((A, 0, 1, 2), (B, 2, 0, 0))),
    "ids": GetIds((TIP,)),
    "get checkpoints": GetCheckpoints(1, 2),
    "heads": Heads(((A, 0, 3, TIP),), more=True),
    "events": Events(((0, b"wire"), (7, b"")), end=False, more=True),
    "checkpoints": Checkpoints(((b"c", b"q"),)),
}


@pytest.mark.parametrize("name", WORDS)
def test_words_survive_the_wire_and_their_bytes_are_pinned(name: str):
    """A difference cuts the network in two: it needs a new protocol name, `/fog/sync/2`."""
    word = WORDS[name]
    data = encode(word)
    decoders = (decode_hello, decode_question, decode_answer)
    decode = decoders[0 if isinstance(word, Hello) else 1 if isinstance(word, words.Question) else 2]
    assert decode(data) == word
    assert json.loads(VECTORS.read_text())[name] == data.hex()


@pytest.mark.parametrize(
    "frame",
    [
        encode(Bye("x")) + b"\x00",
        words.canonical.encode({"t": "get_ids", "ids": []}),
        words.canonical.encode({"t": "get_ids", "ids": [TIP] * 257}),
        words.canonical.encode({"t": "get_ranges", "ranges": []}),
        words.canonical.encode({"t": "get_heads", "after": [b"short", 0]}),
        words.canonical.encode({"t": "get_checkpoints", "first": 1, "limit": 0}),
        words.canonical.encode({"t": "get_checkpoints", "first": 1, "limit": 10**6}),
        words.canonical.encode({"t": "unheard of"}),
        words.canonical.encode({"t": "get_heads", "after": None, "extra": 1}),
        b"",
    ],
)
def test_a_question_that_breaks_the_rules_is_a_remote_error(frame: bytes):
    with pytest.raises(RemoteError):
        decode_question(frame)


def test_a_merged_answer_is_cut_at_its_limit_and_says_so():
    big = Author(1).lane(100, 15_000)
    events, more = merge([Part([event.wire for event in big], whole=True)])
    assert more
    assert sum(len(wire) for _, wire in events) <= ANSWER_BYTES_MAX


def test_a_lane_whose_continuation_is_unknown_stops_the_merge():
    """What comes after the part we read might belong before the other lanes' next events."""
    alice, bob = Author(1), Author(2)
    first = alice.lane(2)
    later = [bob.write(parents=[alice.write()]) for _ in range(3)]
    events, more = merge(
        [Part([e.wire for e in first], whole=False), Part([e.wire for e in later], whole=True)]
    )
    assert more
    assert [wire for _, wire in events] == [event.wire for event in first]


def test_frames_hold_at_most_64_kib_of_events_and_the_last_is_marked():
    wires = [(0, bytes(20_000))] * 10
    frames = [decode_answer(frame) for frame in event_frames(wires, more=True)]
    assert all(sum(len(w) for _, w in frame.events) <= EVENT_FRAME_BYTES for frame in frames)  # type: ignore[union-attr]
    assert [frame.end for frame in frames] == [False] * (len(frames) - 1) + [True]  # type: ignore[union-attr]
    assert [event for frame in frames for event in frame.events] == wires  # type: ignore[union-attr]


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
