"""Which peer is asked for what: against peers that lie, die, stall, lack and are slow, in any order."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.blob import BLOCK_SIZE_MAX
from ledger.cid import Cid
from network.bandwidth import Bucket
from network.blobs_actions import Action, Ask, Ended, Leave, Open
from network.blobs_fetch import (
    GIVE_UP_S,
    KNOWN_MAX,
    LACKING_MAX,
    STREAMS_MAX,
    Fetches,
)
from network.blobs_peer import BLOCK_S, WINDOW_MAX

RTT_S = 0.05
CHECK_S = 0.01


def cids(number: int, start: int = 0) -> list[Cid]:
    return [Cid.of_raw(b"%d" % n) for n in range(start, start + number)]


@dataclass
class Mate:
    """A peer of the model. `block_s`: for one block. `has`: all if None. `dies_after`, `lies_after`,
    `stalls_after`: so many answers."""

    block_s: float = 0.02
    has: frozenset[Cid] | None = None
    dies_after: int | None = None
    lies_after: int | None = None
    stalls_after: int | None = None
    is_connected: bool = True
    answers: int = 0
    queue: dict[Cid, float] = field(default_factory=dict)  # with the time a question arrives
    epoch: int = 0  # of its stream
    is_open: bool = False
    busy_until: float = 0.0
    is_working: bool = False

    @property
    def is_honest(self) -> bool:
        return self.has is None and self.dies_after is self.lies_after is self.stalls_after is None


class Model:
    """Plays the peers and the clock, and holds the fetches to what they promise, after each step."""

    def __init__(self, mates: dict[str, Mate], pace: Bucket | None = None) -> None:
        self.mates = mates
        self.fetches = Fetches(pace)
        self.now = 0.0
        self.ended: dict[int, int] = {}
        self.here: set[Cid] = set()
        self.checking: set[Cid] = set()
        self.given_up: Counter[Cid] = Counter()
        self.asked: Counter[Cid] = Counter()
        self.came: Counter[str] = Counter()  # blocks, by peer
        self.left: Counter[str] = Counter()  # why peers were left
        self._events: list[tuple[float, int, object]] = []
        self._order = count()

    # -- actions

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Open(name):
                    self._open(name)
                case Ask(name, cid):
                    self._ask(name, cid)
                case Leave(name, why):
                    self.left[why] += 1
                    self._close(name)
                case Ended(fetch, lacking):
                    assert fetch not in self.ended, "a fetch ends once"
                    self.ended[fetch] = lacking
        self._check()

    def _open(self, name: str) -> None:
        mate = self.mates[name]
        assert not mate.is_open, "one stream a peer"
        mate.is_open, mate.epoch = True, mate.epoch + 1
        epoch = mate.epoch

        def opened() -> None:
            if mate.epoch != epoch or not mate.is_open:
                return
            if mate.is_connected:
                self.do(self.fetches.opened(name, self.now))
            else:
                self._break(name)

        self._later(RTT_S, opened)

    def _ask(self, name: str, cid: Cid) -> None:
        mate = self.mates[name]
        assert mate.is_open, "asked without a stream"
        assert cid not in self.here, "asked for what is here"
        assert cid not in self.checking, "asked for what is being checked"
        assert not any(cid in other.queue for other in self.mates.values()), "asked of two at once"
        self.asked[cid] += 1
        mate.queue[cid] = self.now + RTT_S / 2
        assert len(mate.queue) <= WINDOW_MAX
        self._work(name)

    def _work(self, name: str) -> None:
        """Its next answer, when its time comes."""
        mate = self.mates[name]
        epoch = mate.epoch
        is_stalled = mate.stalls_after is not None and mate.answers >= mate.stalls_after
        if mate.is_working or not mate.queue or is_stalled:
            return
        mate.is_working = True
        start = max(next(iter(mate.queue.values())), mate.busy_until)
        mate.busy_until = start + mate.block_s

        def answer() -> None:
            if mate.epoch != epoch or not mate.is_open:
                return
            if mate.dies_after is not None and mate.answers >= mate.dies_after:
                mate.is_connected = False
                self._break(name)
            else:
                mate.is_working = False
                self._answer(name, mate)
                self._work(name)

        self._later(mate.busy_until - self.now, answer)

    def _answer(self, name: str, mate: Mate) -> None:
        cid = next(iter(mate.queue))
        del mate.queue[cid]
        mate.answers += 1
        has = mate.has is None or cid in mate.has
        assert self.fetches.answered(name, BLOCK_SIZE_MAX if has else 0, self.now) == cid
        if mate.lies_after is not None and mate.answers > mate.lies_after:
            self.checking.add(cid)
            self._later(CHECK_S, lambda: self._checked(name, cid, is_good=False))
        elif has:
            self.checking.add(cid)
            self._later(CHECK_S, lambda: self._checked(name, cid, is_good=True))
        else:
            self.given_up[cid] += 1
            self.do(self.fetches.lacks(name, cid, self.now))
        self.fetches.reading(name, self.now)

    def _checked(self, name: str, cid: Cid, *, is_good: bool) -> None:
        self.checking.remove(cid)
        if is_good:
            self.here.add(cid)
            self.came[name] += 1
            self.do(self.fetches.had(name, cid, self.now))
        else:
            self.given_up[cid] += 1
            self.do(self.fetches.lied(name, cid, self.now))

    def _break(self, name: str) -> None:
        mate = self.mates[name]
        self._close(name)
        self.do(self.fetches.broke(name, self.now, is_gone=not mate.is_connected))

    def _close(self, name: str) -> None:
        mate = self.mates[name]
        self.given_up.update(list(mate.queue))
        mate.queue.clear()
        mate.is_open = mate.is_working = False

    def _check(self) -> None:
        assert sum(mate.is_open for mate in self.mates.values()) <= STREAMS_MAX
        for cid, times in self.asked.items():
            assert times <= 1 + self.given_up[cid], "asked again, and not given up before"

    # -- time

    def _later(self, after_s: float, what: object) -> None:
        heapq.heappush(self._events, (self.now + after_s, next(self._order), what))

    def fetch(self, wanted: list[Cid], names: list[str] | None = None) -> int:
        """Begin one, all of whose blocks fit."""
        number = self.fetches.begin(list(self.mates) if names is None else names, self.now)
        self.do(self.fetches.want(number, [cid for cid in wanted if cid not in self.here], self.now))
        self.do(self.fetches.complete(number, self.now))
        return number

    def run(self, *numbers: int, until_s: float = 3_600.0) -> None:
        """Until these fetches end."""
        while not self.ended.keys() >= set(numbers):
            assert self.now < until_s, f"no end: {self.fetches!r}"
            self.step()

    def step(self) -> None:
        ticks = self.fetches.next_at(self.now)
        due = self._events[0][0] if self._events else None
        assert ticks is not None or due is not None, f"nothing would ever happen: {self.fetches!r}"
        if due is None or (ticks is not None and ticks < due):
            assert ticks is not None
            self.now = max(self.now, ticks)
            self.do(self.fetches.tick(self.now))
        else:
            self.now, _, what = heapq.heappop(self._events)
            assert callable(what)
            what()


# -- situations


def test_a_blob_comes_from_all_who_have_it_and_more_of_it_from_the_fast():
    model = Model({"fast": Mate(0.01), "slow": Mate(0.08), "other": Mate(0.01)})
    model.run(model.fetch(cids(300)))
    assert model.here == set(cids(300))
    assert set(model.asked.values()) == {1}
    assert model.came["fast"] > 4 * model.came["slow"] > 0


def test_what_two_fetches_want_is_asked_for_once():
    model = Model({"one": Mate()})
    first = model.fetch(cids(20))
    second = model.fetch(cids(20, start=10))
    model.run(first, second)
    assert model.ended == {first: 0, second: 0}
    assert set(model.asked.values()) == {1}


def test_a_liar_is_not_asked_again_and_what_it_was_asked_comes_from_others():
    model = Model({"liar": Mate(lies_after=3), "honest": Mate()})
    model.run(model.fetch(cids(100)))
    assert model.here == set(cids(100))
    assert model.mates["liar"].answers <= 3 + 1 + round(CHECK_S / 0.02) + 1
    assert not model.mates["liar"].is_open


def test_one_that_dies_half_way_is_replaced():
    model = Model({"mortal": Mate(dies_after=30), "honest": Mate()})
    model.run(model.fetch(cids(100)))
    assert model.here == set(cids(100))


def test_one_that_stalls_is_left_at_the_deadline():
    model = Model({"stalls": Mate(stalls_after=5)})
    number = model.fetch(cids(10))
    model.run(number)
    assert model.ended[number] == 5
    assert model.left["timeout"] >= 1
    assert model.now < 3 * BLOCK_S


def test_a_slow_peer_does_not_hold_up_the_end():
    """It has 10 s for each block: others bring what it was asked for, and nothing is asked of two."""
    model = Model({"slow": Mate(10.0), "fast": Mate(0.01)})
    model.run(model.fetch(cids(200)))
    assert model.now < GIVE_UP_S + 200 * 0.01 * 2
    assert model.left["slow"] == 1


def test_a_slow_peer_that_alone_has_it_is_given_its_time():
    model = Model({"slow": Mate(15.0), "fast": Mate(0.01, has=frozenset())})
    number = model.fetch(cids(3))
    model.run(number)
    assert model.ended[number] == 0


def test_two_halves_make_a_whole():
    odd, even = frozenset(cids(300)[1::2]), frozenset(cids(300)[::2])
    model = Model({"odd": Mate(has=odd), "even": Mate(has=even)})
    number = model.fetch(cids(300))
    model.run(number)
    assert model.ended[number] == 0


def test_among_many_who_have_nothing_the_one_who_has_it_is_found():
    mates = {f"empty{n}": Mate(has=frozenset()) for n in range(60)}
    model = Model(mates | {"holder": Mate()})
    number = model.fetch(cids(100))
    model.run(number, until_s=60)
    assert model.ended[number] == 0
    assert all(mate.answers < 40 for mate in mates.values()), "asking whoever has nothing costs little"


def test_a_blob_that_nobody_has_ends_without_asking_for_all_of_it():
    model = Model({"one": Mate(has=frozenset()), "two": Mate(has=frozenset())})
    number = model.fetch(cids(KNOWN_MAX))
    model.run(number)
    assert model.ended[number] == KNOWN_MAX
    assert sum(model.asked.values()) <= 2 * (LACKING_MAX + WINDOW_MAX)


def test_without_peers_a_fetch_ends_at_once():
    model = Model({})
    number = model.fetch(cids(3))
    assert model.ended == {number: 3}


def test_the_peers_that_are_named_first_are_asked_first():
    model = Model({f"mate{n}": Mate() for n in range(20)})
    number = model.fetch(cids(1), ["mate13", *model.mates])
    model.run(number)
    assert model.came == {"mate13": 1}
    assert sum(mate.epoch for mate in model.mates.values()) <= 2, "one block is no reason to bother everybody"


def test_a_fetch_that_wants_nothing_ends_at_once():
    model = Model({"one": Mate()})
    assert model.ended == {model.fetch([]): 0}


def test_a_peer_that_breaks_off_is_tried_again_a_few_times():
    model = Model({"broken": Mate(dies_after=0)})
    model.mates["broken"].is_connected = True
    number = model.fetch(cids(2))
    for _ in range(3):
        while not model.mates["broken"].queue:
            model.step()
        model.mates["broken"].is_connected = True
        model._break("broken")
    model.run(number)
    assert model.ended[number] == 2
    assert model.now > 1.0, "it was given rests"


def test_no_more_is_asked_for_than_the_pace_allows():
    pace = Bucket(4 * BLOCK_SIZE_MAX, 0.0)
    model = Model({"one": Mate(0.001), "two": Mate(0.001)}, pace)
    model.run(model.fetch(cids(100)))
    assert (100 - 4 - 2) / 4 <= model.now <= 100 / 4 + 1


def test_what_arrives_after_its_fetch_was_cancelled_is_kept_and_not_asked_again():
    model = Model({"one": Mate()})
    first = model.fetch(cids(10))
    while not model.here:
        model.step()
    model.do(model.fetches.cancel(first, model.now))
    second = model.fetch(cids(10))
    model.run(second)
    assert model.ended == {second: 0}
    assert set(model.asked.values()) == {1}


def test_wanting_more_at_once_than_there_is_room_for_is_a_fault():
    fetches = Fetches()
    number = fetches.begin(["one"], 0.0)
    with pytest.raises(AssertionError):
        fetches.want(number, cids(KNOWN_MAX + 1), 0.0)


# -- anything goes


@st.composite
def mates(draw: st.DrawFn) -> Mate:
    has = draw(st.none() | st.frozensets(st.sampled_from(cids(60))))
    when = st.none() | st.integers(0, 40)
    return Mate(
        block_s=draw(st.sampled_from([0.001, 0.02, 0.5, 5.0])),
        has=has,
        dies_after=draw(when),
        lies_after=draw(when),
        stalls_after=draw(when),
        is_connected=draw(st.booleans()),
    )


@st.composite
def orders(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(0, 59))
    return start, draw(st.integers(start, 60))


@given(
    st.lists(mates(), max_size=12),
    st.booleans(),
    st.lists(st.tuples(orders(), st.integers(0, 60), st.booleans()), min_size=1, max_size=4),
    st.none() | st.sampled_from([BLOCK_SIZE_MAX // 4, 100 * BLOCK_SIZE_MAX]),
)
@settings(max_examples=100, deadline=None)
def test_it_ends_whatever_peers_do_and_whole_if_one_honest_peer_has_it_all(
    others: list[Mate],
    with_honest: bool,
    wanted: list[tuple[tuple[int, int], int, bool]],
    rate: int | None,
):
    """`wanted`: for each fetch which blocks, how many steps until the next one begins, and whether it is then
    cancelled. The model checks the rest: nobody asked twice, nothing that is here, windows, streams."""
    named = {f"mate{n}": mate for n, mate in enumerate(others)}
    if with_honest:
        named["honest"] = Mate()
    model = Model(named, None if rate is None else Bucket(rate, 0.0))
    numbers = []
    for (start, end), steps, is_cancelled in wanted:
        number = model.fetch(cids(end - start, start))
        for _ in range(steps):
            if number not in model.ended:
                model.step()
        if is_cancelled and number not in model.ended:
            model.do(model.fetches.cancel(number, model.now))
        else:
            numbers.append(number)
    model.run(*numbers, until_s=40_000)
    if with_honest:
        assert not any(model.ended[number] for number in numbers)
        for (start, end), _, is_cancelled in wanted:
            assert is_cancelled or model.here >= set(cids(end - start, start))
    liars = sum(mate.lies_after is not None for mate in named.values())
    assert model.left["lied"] <= liars * len(wanted), (
        "once found out, it is not asked by the same fetch again"
    )
