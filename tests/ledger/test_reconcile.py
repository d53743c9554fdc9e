"""Two sets are brought together: whatever they are, whatever a frame may hold, whatever a liar answers."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import RemoteError
from ledger.item_set import ID_SIZE, ItemSet
from ledger.reconcile import (
    ANSWER_FREE,
    FRAME_MAX,
    LIST_MAX,
    ROUNDS_MAX,
    Initiator,
    answer,
    answer_max,
    lacking,
)
from ledger.reconcile_frames import (
    FRAME_MIN,
    NAME_SIZE,
    WIDTH_MAX,
    Mode,
    Span,
    decode_frame,
    encode_frame,
    name_of,
)

WIDTH = 40
END = b"\xff" * (WIDTH + 1)
SALT = b"a grain."
AT_ONCE = 50  # items in one answer to lists, where a peer would send events


def item(number: int, key: int = 0, width: int = WIDTH) -> bytes:
    digest = hashlib.sha256(b"%d" % number).digest()
    return key.to_bytes(width - ID_SIZE, "big") + digest


def items(numbers: Iterable[int], keys: int = 1_000_000) -> ItemSet:
    """Each number is an item; `keys` of them share a key: 1 for none, many for all."""
    return ItemSet.of((item(number, number // keys) for number in numbers), width=WIDTH)


@dataclass
class Talk:
    """One session between an asker and an honest set, and what it took."""

    ours: ItemSet
    theirs: ItemSet
    limit: int = FRAME_MAX
    direct: bool = False
    rounds_max: int = 1_000_000
    found: list[bytes] = field(default_factory=list)
    asked: int = 0
    answered: int = 0

    def run(self) -> Talk:
        self.initiator = Initiator(
            self.ours,
            limit=self.limit,
            direct=self.direct,
            rounds_max=self.rounds_max,
            salt=SALT if self.direct else b"",
        )
        while (question := self.initiator.question()) is not None:
            assert len(question) <= self.limit
            self.asked += len(question)
            if self.initiator.is_listing:
                self._take_lacking(question)
                continue
            frame = answer(self.theirs, question, self.limit, direct=self.direct)
            assert len(frame) <= answer_max(len(question), self.limit)
            self.answered += len(frame)
            self.found += self.initiator.receive(frame)
        return self

    def _take_lacking(self, question: bytes) -> None:
        names = lacking(self.theirs, question, SALT)
        given = list(islice(names, AT_ONCE))
        self.initiator.given(given)
        self.initiator.given_all(cut=next(names, None) is not None)
        self.found += given

    @property
    def union(self) -> ItemSet:
        return self.ours.changed(added=self.found)

    @property
    def rounds(self) -> int:
        return self.initiator.rounds


# -- what it brings


@settings(deadline=None, max_examples=150)
@given(
    st.sets(st.integers(0, 400), max_size=300),
    st.sets(st.integers(0, 400), max_size=300),
    st.sampled_from([1, 7, 1_000]),
    st.integers(FRAME_MIN, 2_000),
    st.booleans(),
)
def test_any_two_sets_end_equal_whatever_a_frame_holds(
    ours: set[int], theirs: set[int], keys: int, limit: int, direct: bool
):
    talk = Talk(items(ours, keys), items(theirs, keys), limit, direct).run()
    assert talk.union == items(ours | theirs, keys)
    assert len(talk.found) == len(set(talk.found)) == len(theirs - ours)
    back = Talk(items(theirs, keys), talk.union, limit, direct).run()
    assert back.union == talk.union


@given(st.sets(st.binary(min_size=WIDTH_MAX, max_size=WIDTH_MAX), max_size=80), st.data())
def test_items_of_the_largest_width_fit_the_smallest_frame(all_items: set[bytes], data: st.DataObject):
    """Nothing in common between neighbours, so that nothing can be shortened."""
    ours = {one for one in all_items if data.draw(st.booleans())}
    both = [ItemSet.of(some, width=WIDTH_MAX) for some in (ours, all_items)]
    assert Talk(*both, FRAME_MIN).run().union == both[1]


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("differences", [0, 1, 100, 1_000])
def test_few_round_trips_are_needed_and_few_bytes(differences: int, direct: bool):
    """30,000 items, the newest of which one side lacks half and the other side the other half."""
    ours = items(number for number in range(30_000) if number < 30_000 - differences or number % 2)
    theirs = items(number for number in range(30_000) if number < 30_000 - differences or number % 2 == 0)
    talk = Talk(ours, theirs, direct=direct).run()
    assert len(talk.union) == 30_000
    assert talk.rounds <= 8 + differences // 2 // AT_ONCE * direct
    assert talk.asked + talk.answered <= 2_500 + 1.3 * 32 * differences * 30


@pytest.mark.parametrize("differences", [100, 10_000])
def test_what_differs_at_the_end_costs_less_than_its_ids_and_a_third(differences: int):
    """60,000 items, both sides ask in turn: what lies close together is named in few bytes."""
    old = range(60_000 - differences)
    new = range(60_000 - differences, 60_000)
    one = items([*old, *new[::2]], keys=4)
    other = items([*old, *new[1::2]], keys=4)
    there = Talk(one, other, direct=True).run()
    back = Talk(other, there.union, direct=True).run()
    assert there.union == back.union
    said = there.asked + there.answered + back.asked + back.answered
    assert said <= 1.3 * ID_SIZE * differences


def test_an_item_with_a_name_that_is_taken_is_missed_under_one_salt_and_not_under_the_next():
    theirs = items(range(5))
    missed = next(iter(theirs))
    question = frame(Span(b"", END, Mode.NAMES, items=(name_of(missed, SALT),)))
    assert missed not in set(lacking(theirs, question, SALT))
    assert set(lacking(theirs, question, b"another.")) == set(theirs)


def test_names_among_fingerprints_are_refused():
    """Only a question for events carries the salt that they are of."""
    with pytest.raises(RemoteError) as refused:
        answer(items(range(5)), frame(Span(b"", END, Mode.NAMES, items=(b"a name",))), FRAME_MAX)
    assert refused.value.code == "bad_frame"


def test_sessions_that_run_out_of_rounds_are_gone_on_with_by_the_next():
    """Each side asks in its turn; with half of what it holds unknown to the other, none gets far at once."""
    sides = [items(range(0, 1_000, 2)), items(range(0, 1_000, 3))]
    sessions = 0
    while sides[0] != sides[1]:
        talk = Talk(*sides, limit=600, rounds_max=20).run()
        sides = [sides[1], talk.union]
        sessions += 1
        assert sessions < 50
    assert sides[0] == items({*range(0, 1_000, 2), *range(0, 1_000, 3)})
    assert sessions > 4


def test_one_who_has_nothing_is_given_all_and_asks_with_two_bytes():
    talk = Talk(items(()), items(range(100))).run()
    assert (talk.asked, talk.rounds) == (2, 1)
    assert talk.union == items(range(100))


def test_much_that_the_other_side_lacks_is_not_named_to_it():
    """10,000 items only here, and three in between only there: neither side lists the many."""
    ours = items(range(12_000), keys=1)
    theirs = items([*range(2_000), *range(2_000_000, 2_000_003)], keys=1)
    between = {item(number, number // 500) for number in range(2_000_000, 2_000_003)}
    theirs = theirs.changed(added=between)
    talk = Talk(ours, theirs, direct=True).run()
    assert set(talk.found) == set(theirs) - set(ours)
    assert talk.asked + talk.answered < 6_000
    assert talk.rounds <= 8


# -- what it may cost the one who answers


@given(st.binary(max_size=600))
def test_any_bytes_for_a_question_are_answered_within_the_bound_or_refused(question: bytes):
    for held in (items(()), items(range(2_000))):
        try:
            frame = answer(held, question, FRAME_MAX)
        except RemoteError:
            continue
        assert len(frame) <= 4 * len(question) + ANSWER_FREE
        decode_frame(frame, width=WIDTH, size_max=FRAME_MAX)


def test_an_answer_has_four_times_the_bytes_of_its_question_and_16_kib_more():
    everything = encode_frame([Span(b"", END, Mode.ITEMS)], width=WIDTH)
    frame = answer(items(range(5_000)), everything, FRAME_MAX)
    assert ANSWER_FREE - 100 < len(frame) <= 4 * len(everything) + ANSWER_FREE
    with pytest.raises(RemoteError, match="at most"):
        Liar([bytes(answer_max(2, FRAME_MAX) + 1)]).run(items(()))


def test_a_limit_that_no_frame_fits_is_not_taken_literally():
    assert 0 < len(answer(items(range(5_000)), b"\x06\x00", 0)) <= FRAME_MIN


# -- what liars can do


class Liar:
    """Answers with these frames, whatever it is asked."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self.frames = frames

    def run(self, ours: ItemSet) -> Initiator:
        initiator = Initiator(ours)
        for frame in self.frames:
            if initiator.question() is None:
                break
            initiator.receive(frame)
        return initiator


def frame(*spans: Span) -> bytes:
    return encode_frame(spans, width=WIDTH)


MIDDLE = item(0, 500)
WRONG = b"\x07" * 16


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        pytest.param(b"", "bad_frame", id="nothing"),
        pytest.param(b"\x03\x00", "bad_frame", id="no such mode"),
        pytest.param(b"\x04\x04", "bad_frame", id="something after the end"),
        pytest.param(b"\x00\x01\x01a", "bad_frame", id="a bound that continues nothing"),
        pytest.param(b"\x00\x00\x00", "bad_frame", id="a bound at the beginning"),
        pytest.param(b"\x00\x00\x01a\x00\x00\x01b", "bad_frame", id="two skips in a row"),
        pytest.param(b"\x05" + bytes(15), "bad_frame", id="half a fingerprint"),
        pytest.param(b"\x06\x01\x00" + bytes(39), "bad_frame", id="half an item"),
        pytest.param(b"\x06\x02\x00" + bytes(40) + b"\x28", "bad_frame", id="an item twice"),
        pytest.param(b"\x06\x80\x00", "bad_frame", id="a count in two bytes that one could hold"),
        pytest.param(b"\x06\xff\xff" + bytes(64), "bad_frame", id="a count of what is not there"),
        pytest.param(b"\x0c\x02" + bytes(11), "bad_frame", id="half a name"),
        pytest.param(b"\x0c\x02" + bytes(12), "bad_frame", id="a name twice"),
        pytest.param(b"\x0c\x00", "unasked", id="names in an answer"),
        pytest.param(bytes(FRAME_MAX + 1), "oversize", id="too long"),
    ],
)
def test_bytes_that_are_no_frame_end_the_session(lie: bytes, code: str):
    with pytest.raises(RemoteError) as refused:
        Liar([lie]).run(items(range(1_000)))
    assert refused.value.code == code


def test_a_fingerprint_in_answer_to_a_list_ends_the_session():
    with pytest.raises(RemoteError) as refused:
        Liar([frame(Span(b"", END, Mode.FINGERPRINT, WRONG))]).run(items(range(LIST_MAX)))
    assert refused.value.code == "unasked"


def test_a_range_that_crosses_two_that_were_asked_about_ends_the_session():
    with pytest.raises(RemoteError) as refused:
        Liar([frame(Span(b"", END, Mode.FINGERPRINT, WRONG))]).run(items(range(1_000), keys=1))
    assert refused.value.code == "unasked"


def test_an_answer_to_more_than_was_asked_ends_the_session():
    ours = items(range(60_000), keys=1)
    initiator = Initiator(ours, limit=FRAME_MIN)
    question = initiator.question()
    assert question is not None
    assert decode_frame(question, width=WIDTH, size_max=FRAME_MIN)[-1].upper < END
    with pytest.raises(RemoteError) as refused:
        initiator.receive(frame(Span(b"", END, Mode.SKIP)))
    assert refused.value.code == "unasked"


def test_an_answer_that_settles_nothing_ends_the_session():
    ours = items(range(1_000), keys=1)
    initiator = Initiator(ours, limit=FRAME_MIN)
    asked = []
    for _ in range(2):
        question = initiator.question()
        assert question is not None
        asked.append(decode_frame(question, width=WIDTH, size_max=FRAME_MIN))
        if len(asked) == 1:
            initiator.receive(frame(Span(b"", asked[0][-1].upper, Mode.SKIP)))
    with pytest.raises(RemoteError) as refused:
        initiator.receive(frame(Span(b"", asked[1][0].upper, Mode.SKIP)))
    assert refused.value.code == "no_progress"


def differing(question: bytes, spans: int) -> bytes:
    """Of the first so many ranges that were asked about: each holds something else, however small it is."""
    asked = decode_frame(question, width=WIDTH, size_max=FRAME_MAX)[:spans]
    wrong = (span._replace(fingerprint=WRONG) for span in asked if span.mode is Mode.FINGERPRINT)
    return frame(*wrong, Span(b"", asked[-1].upper, Mode.SKIP))


def test_one_who_differs_in_everything_for_ever_has_us_list_what_we_have_once():
    initiator = Initiator(items(range(20_000), keys=1))
    listed = 0
    while (question := initiator.question()) is not None:
        spans = decode_frame(question, width=WIDTH, size_max=FRAME_MAX)
        listed += sum(len(span.items) for span in spans)
        initiator.receive(differing(question, len(spans)))
    assert listed == 20_000
    assert not initiator.gave_up


def test_one_who_settles_as_little_as_it_may_is_left_after_so_many_rounds():
    initiator = Initiator(items(range(20_000), keys=1))
    while (question := initiator.question()) is not None:
        initiator.receive(differing(question, 2))
    assert initiator.gave_up
    assert initiator.rounds == ROUNDS_MAX


def test_ranges_without_number_end_the_session():
    """Empty parts, each said to differ: an asker that kept them all would fill its memory."""
    initiator = Initiator(items(range(2_000), keys=1), open_max=500)
    question = initiator.question()
    assert question is not None
    bounds = [key.to_bytes(8, "big") + bytes((more,)) for key in range(100) for more in range(1, 7)]
    lie = [Span(lower, upper, Mode.FINGERPRINT, WRONG) for lower, upper in pairwise([b"", *bounds])]
    with pytest.raises(RemoteError) as refused:
        initiator.receive(frame(*lie))
    assert refused.value.code == "too_many_ranges"


class Counting(ItemSet):
    """Counts how often somebody looks for a place in it."""

    looked = 0

    def rank(self, bound: bytes) -> int:
        self.looked += 1
        return super().rank(bound)


def test_how_much_is_to_be_named_is_known_without_a_look_at_every_range():
    """It is asked before every question, and a liar makes 100,000 ranges with nothing in them."""
    ours = Counting.of((item(number, number) for number in range(2_000)), width=WIDTH)
    initiator = Initiator(ours, direct=True, salt=SALT)
    assert initiator.question() is not None
    bounds = [key.to_bytes(8, "big") + bytes((more,)) for key in range(100) for more in range(1, 7)]
    lie = [Span(lower, upper, Mode.FINGERPRINT, WRONG) for lower, upper in pairwise([b"", *bounds])]
    initiator.receive(frame(*lie))
    looked, to_name = ours.looked, initiator.to_name
    assert ours.looked == looked
    assert to_name == sum(ours.count(entry.lower, entry.upper) for entry in initiator._lists)
    assert len(initiator._lists) > 500


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(0, 200))
def test_garbage_for_answers_is_a_remote_error(answers: list[bytes], count: int):
    with contextlib.suppress(RemoteError):
        Liar(answers).run(items(range(count)))


@settings(deadline=None)
@given(st.data())
def test_an_honest_frame_with_a_byte_changed_is_taken_or_refused(data: st.DataObject):
    """Never anything else, and never more rounds than there may be."""
    ours, theirs = items(range(0, 400, 2)), items(range(0, 400, 3))
    initiator = Initiator(ours, limit=1_000, rounds_max=60)
    try:
        while (question := initiator.question()) is not None:
            said = bytearray(answer(theirs, question, 1_000))
            if data.draw(st.booleans()):
                said[data.draw(st.integers(0, len(said) - 1))] ^= data.draw(st.integers(1, 255))
            initiator.receive(bytes(said))
    except RemoteError:
        pass
    assert initiator.rounds <= 60


@pytest.mark.parametrize("lie", ["again", "ours", "outside", "backwards"])
def test_what_the_lists_do_not_lack_is_not_taken(lie: str):
    ours, theirs = items(range(0, 20, 2)), items(range(20))
    initiator = Initiator(ours, direct=True, salt=SALT)
    assert initiator.question() is not None
    assert initiator.is_listing
    good = sorted(set(theirs) - set(ours))
    bad = {
        "again": [good[0], good[0]],
        "ours": [next(iter(ours))],
        "outside": [END],
        "backwards": [good[1], good[0]],
    }
    with pytest.raises(RemoteError) as refused:
        initiator.given(bad[lie])
    assert refused.value.code == "unasked"


def test_a_cut_answer_to_lists_that_brought_nothing_ends_the_session():
    initiator = Initiator(items(range(3)), direct=True, salt=SALT)
    assert initiator.question() is not None
    with pytest.raises(RemoteError) as refused:
        initiator.given_all(cut=True)
    assert refused.value.code == "no_progress"


# -- frames

spans = st.lists(
    st.tuples(
        st.sampled_from(Mode),
        st.binary(min_size=1, max_size=WIDTH),
        st.binary(min_size=16, max_size=16),
        st.sets(st.binary(min_size=WIDTH, max_size=WIDTH), max_size=5),
    ),
    min_size=1,
    max_size=8,
)


@given(spans, st.booleans())
def test_a_frame_says_what_was_put_into_it(drawn: list[tuple[Mode, bytes, bytes, set[bytes]]], whole: bool):
    lower, made = b"", list[Span]()
    bounds = sorted({bound for _, bound, _, _ in drawn})
    if whole:
        bounds[-1] = END
    for upper, (mode, _, fingerprint, listed) in zip(bounds, drawn, strict=False):
        if mode is Mode.SKIP and made and made[-1].mode is Mode.SKIP:
            made[-1] = made[-1]._replace(upper=upper)
        elif mode in (Mode.SKIP, Mode.LIST):
            made.append(Span(lower, upper, mode))
        elif mode is Mode.FINGERPRINT:
            made.append(Span(lower, upper, mode, fingerprint=fingerprint))
        elif mode is Mode.NAMES:
            made.append(Span(lower, upper, mode, items=tuple(sorted({one[:NAME_SIZE] for one in listed}))))
        else:
            inside = tuple(sorted(one for one in listed if lower <= one < upper))
            made.append(Span(lower, upper, mode, items=inside))
        lower = upper
    assert decode_frame(frame(*made), width=WIDTH, size_max=FRAME_MAX) == made


@given(st.binary(max_size=400), st.sampled_from([ID_SIZE, WIDTH, WIDTH_MAX]))
def test_any_bytes_are_a_frame_in_its_only_encoding_or_a_remote_error(data: bytes, width: int):
    with contextlib.suppress(RemoteError):
        assert encode_frame(decode_frame(data, width=width, size_max=300), width=width) == data


def test_the_bytes_of_a_frame_are_pinned():
    """A difference is a new sync protocol."""
    said = frame(
        Span(b"", b"\x00\x01", Mode.SKIP),
        Span(b"\x00\x01", b"\x00\x02\x03", Mode.FINGERPRINT, fingerprint=b"\x07" * 16),
        Span(b"\x00\x02\x03", END, Mode.ITEMS, items=(item(1, 2**50), item(2, 2**51))),
    )
    assert (
        hashlib.sha256(said).hexdigest() == "5711820c55e8b2cf338908777095c1e4bb1b52f6fa0d3c5c7866451eaee042e7"
    )
    named = frame(Span(b"", END, Mode.NAMES, items=tuple(sorted(name_of(item(at), SALT) for at in (1, 2)))))
    assert named.hex() == "0c0241e71adb33f6bd35aeaba7c7"
