"""A store that begins from a snapshot: stands where the others stand, goes on as they go on, takes no lie."""

from __future__ import annotations

import dataclasses
import io
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import archive, proving, shelf, snapshot
from ledger import event as events
from ledger.cid import Cid
from ledger.database import writing
from ledger.errors import RemoteError, UsageError
from ledger.event import Event
from ledger.proofs import Known, Trust
from ledger.shelf import CUT_GAP_S, IDLE_S, KEPT_MAX, KEPT_S, Shelf
from ledger.snapshot import Download, Manifest
from ledger.store import Store
from ledger.tables import LEAF_RUN
from ledger.validators import parse_set
from tests.ledger.paying import PayingRules
from tests.ledger.turning import turning
from tests.ledger.world import (
    START,
    Author,
    Replica,
    anchor,
    codes,
    feed,
    finalize,
    follow,
    key_of,
    make_genesis,
    money,
    pay,
    replica,
)


def network(events: int = 12) -> tuple[Replica, Author, Author]:
    genesis = make_genesis(alice=1_000, bob=500, carol=9)
    node = anchor(genesis)
    alice, bob = Author(genesis, "alice"), Author(genesis, "bob")
    for at in range(events):
        one = alice.says(pay(f"friend {at}", 1))
        feed(node, one, bob.says(pay("alice", 1), seen=[one]))
        finalize(node, now=START + 10_000 + at)
    return node, alice, bob


def fetched(shelf: Shelf, genesis: Any) -> Download:
    manifest = shelf.offer(0)
    assert manifest is not None
    download = Download(genesis, manifest)
    while not download.is_whole:
        for part in list(download.lacking()):
            data = shelf.part(manifest.id, part)
            assert data is not None
            download.take(part, data)
    return download


def begun(node: Replica) -> Replica:
    taken = fetched(Shelf(node), node.genesis).snapshot()
    return Replica.open(Store.begin("sqlite://", node.genesis, taken), PayingRules(), None, validator=False)


def test_a_replica_that_begins_from_a_snapshot_stands_where_the_other_does():
    node, _, _ = network()
    new = begun(node)
    assert new.height == node.height
    assert new.state.root == node.state.root
    assert new.hello() == node.hello()


def test_snapshot_and_tail_give_what_a_full_replay_gives():
    node, alice, bob = network()
    new = begun(node)
    for at in range(5):
        one = alice.says(pay("carol", 2))
        feed(node, one, bob.says(pay("carol", 1), seen=[one]))
        finalize(node, now=START + 20_000 + at)
    full = Replica.open(Store.create("sqlite://", node.genesis), PayingRules(), None, validator=False)
    follow(full, node)
    follow(new, node)
    assert new.last == full.last == node.last
    assert new.state.root == full.state.root
    assert new.hello() == node.hello()
    assert money(new, "carol") == {"carol": 9 + 5 * 3}
    assert codes(full).items() >= codes(new).items()


# -- what a store that began later knows of what came before ------------------------------------------------


def test_it_opens_again_and_goes_on(tmp_path):
    node, alice, bob = network()
    taken = fetched(Shelf(node), node.genesis).snapshot()
    url = f"sqlite:///{tmp_path / 'new.db'}"
    for at in range(3):
        store = Store.open(url) if at else Store.begin(url, node.genesis, taken)
        new = Replica.open(store, PayingRules(), None, validator=False)
        one = alice.says(pay("carol", 2))
        feed(node, one, bob.says(pay("carol", 1), seen=[one]))
        finalize(node, now=START + 20_000 + at)
        follow(new, node)
        assert new.hello() == node.hello()
        store.close()


class Deadly(Sequence[bytes]):
    """Leaves that end the process that reads them: the state was written by then."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, at: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def test_killed_while_it_is_written_there_is_no_store_and_the_next_start_makes_it(tmp_path):
    node, _, _ = network()
    taken = fetched(Shelf(node), node.genesis).snapshot()
    place = tmp_path / "new.db"
    url = f"sqlite:///{place}"
    deadly = dataclasses.replace(taken, leaves=Deadly())
    beginning = multiprocessing.get_context("fork").Process(
        target=Store.begin, args=(url, node.genesis, deadly)
    )
    beginning.start()
    beginning.join()
    assert beginning.exitcode == -signal.SIGKILL
    assert not place.exists()
    with pytest.raises(UsageError) as refused:
        Store.open(url)
    assert refused.value.code == "no_store"
    with Store.begin(url, node.genesis, taken) as store:
        assert store.counts()["height"] == node.height
    assert {path.name for path in tmp_path.iterdir()} == {"new.db"}


def test_an_old_event_is_no_rival_and_is_kept_only_when_it_is_named():
    node, alice, bob = network()
    old = [events.parse(wire, net=node.net) for wire in node.store.wires(node.store.order(3)).values()]
    new = begun(node)
    assert feed(new, *old).admitted == []
    assert new.store.places([event.id for event in old]) == {}
    assert new.metrics["duplicate"] == len(old)
    assert new.hello() == node.hello()

    late = bob.says(pay("carol", 1), seen=[event for event in old if event.header.by == alice.key.public])
    first = feed(new, late)
    assert set(first.missing) == set(late.parents)
    wires = [node.store.wires([id])[id] for id in late.parents]
    bare = [events.without_body(events.parse(wire, net=node.net)).wire for wire in wires]
    assert new.ingest(bare, peer="p", now=START + 5_000).rejected == []
    assert new.unordered() == [late.id]
    assert new.metrics["forked_lanes"] == 0


def test_an_old_event_costs_the_same_however_long_the_history_is(tmp_path):
    """Anybody can send those again and again, and is not to blame. Counted in steps of SQLite's machine."""
    node, _, _ = network()
    url = f"sqlite:///{tmp_path / 'new.db'}"
    Store.begin(url, node.genesis, fetched(Shelf(node), node.genesis).snapshot()).close()
    old, strange = node.store.order(3), [Cid.of(b"strange %d" % at) for at in range(20)]

    def steps() -> int:
        """That it takes to tell which of these are old, for a store that has just been opened."""
        ticks = []
        with Store.open(url) as store:

            @sa.event.listens_for(store.engine, "begin")
            def _count(connection: sa.Connection) -> None:
                connection.connection.driver_connection.set_progress_handler(lambda: ticks.append(1), 1)

            assert store.ordered_below([*old, *strange]) == set(old)
        return len(ticks)

    before = steps()
    rows = [{"index": index, "hashes": random.Random(index).randbytes(8_192)} for index in range(1, 400)]
    with Store.open(url) as store, writing(store.engine) as connection:
        connection.execute(LEAF_RUN.insert(), rows)
    assert steps() <= 2 * before


def test_an_event_without_its_body_is_refused_where_it_was_not_asked_for():
    node, alice, _ = network()
    new = begun(node)
    bare = events.without_body(alice.says(pay("carol", 2)))
    assert new.ingest([bare.wire], peer="p", now=START + 5_000).rejected[0][0] == "bad_body"


def test_a_rival_of_the_history_below_is_ordered_as_others_order_it():
    """Its place was taken below the snapshot, so it is void and closes its lane; both nodes say so."""
    node, alice, bob = network()
    chain = [events.parse(node.store.wires([id])[id], net=node.net) for id in node.store.order(5)]
    [ordered] = [event for event in chain if event.header.by == alice.key.public]
    before = events.parse(node.store.wires([ordered.header.prev])[ordered.header.prev], net=node.net)
    rival = alice.says(pay("carol", 7), after=before)
    seen = bob.says(pay("carol", 1), seen=[rival])
    new = begun(node)
    feed(node, rival, seen)
    finalize(node, now=START + 30_000)
    follow(new, node)
    assert codes(new)[rival.id] == codes(node)[rival.id] == "fork_void"
    assert new.state.root == node.state.root
    again = Replica.open(new.store, PayingRules(), None, validator=False)
    assert again.hello().height == node.height
    assert feed(again, rival).admitted == []


def test_a_validator_that_lost_its_disk_goes_on_from_a_snapshot():
    node, alice, _ = network()
    taken = fetched(Shelf(node), node.genesis).snapshot()
    store = Store.begin("sqlite://", node.genesis, taken)
    again = Replica.open(store, PayingRules(), key_of("anchor"), validator=True)
    feed(again, *missing_of(node, again, alice.says(pay("carol", 2))))
    assert finalize(again, now=START + 40_000) is not None
    assert again.height == node.height + 1
    follow(node, again)
    assert node.state.root == again.state.root


def missing_of(node: Replica, new: Replica, event: Event) -> list[Event]:
    """The event, after what `new` needs of the history of `node` for it to stand."""
    wanted = feed(new, event).missing
    return [events.parse(node.store.wires([id])[id], net=node.net) for id in wanted]


def test_our_own_lane_goes_on_from_where_it_was():
    node, alice, _ = network()
    taken = fetched(Shelf(node), node.genesis).snapshot()
    store = Store.begin("sqlite://", node.genesis, taken)
    ours = Replica.open(store, PayingRules(), key_of("alice"), validator=False)
    with pytest.raises(UsageError, match="own lane"):
        ours.append("pay", 1, pay("carol", 1), now=START + 50_000)
    assert ours.heads_lacking() == [alice.head.id]
    feed(ours, alice.head)
    assert ours.heads_lacking() == []
    made = ours.append("pay", 1, pay("carol", 1), now=START + 50_000)
    assert (made.header.seq, made.header.prev) == (alice.head.header.seq + 1, alice.head.id)
    feed(node, made)
    assert node.unordered() == [made.id]


def test_what_is_not_here_is_not_offered():
    node, alice, _ = network()
    new = begun(node)
    by, lane = alice.head.lane
    assert new.store.lane_range(by, lane, 0, 20, bytes_max=10_000) == []
    assert new.store.checkpoints(1, 24) == []
    assert new.store.run(1, 24) == ([], b"")
    assert len(new.store.run(node.height, 24)[0]) == 1
    with pytest.raises(UsageError) as refused:
        archive.write(new.store, io.BytesIO())
    assert refused.value.code == "pruned"


def test_it_gives_the_same_snapshot_on():
    node, _, _ = network()
    first = Shelf(node).offer(0)
    assert Shelf(begun(node)).offer(0) == first


def test_its_tree_proves_every_leaf_of_the_history_below():
    node, alice, bob = network(events=200)
    new = begun(node)
    one = alice.says(pay("carol", 2))
    feed(node, one, bob.says(pay("carol", 1), seen=[one]))
    finalize(node, now=START + 20_000)
    follow(new, node)
    n = node.last.checkpoint.n
    assert n > 512
    for position in (1, 2, 256, 257, 512, n - 3, n):
        assert proving.inclusion(new.store, position, n) == proving.inclusion(node.store, position, n)
    assert proving.consistency(new.store, 300, n) == proving.consistency(node.store, 300, n)


# -- liars --------------------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_manifest_with_anything_changed_is_refused(data: st.DataObject):
    manifest = SHELF.offer(0)
    assert manifest is not None
    name = data.draw(st.sampled_from(["checkpoint", "shown", "final", "frontier", "runs", "cuts", "steps"]))
    value = getattr(manifest, name)
    match value:
        case bytes():
            at = data.draw(st.integers(0, len(value) - 1))
            lie = value[:at] + bytes((value[at] ^ data.draw(st.integers(1, 255)),)) + value[at + 1 :]
        case int():
            lie = value + 1
        case _:
            lie = data.draw(st.sampled_from([(*value, *value), ((0, b""),), (bytes(32),)]))
            if lie == value:
                return
    try:
        sent = snapshot.parse_manifest(msgspec.structs.replace(manifest, **{name: lie}).encode())
        download = Download(NODE.genesis, sent)
    except RemoteError:
        return
    assert name == "steps"  # how many there are is shown by what comes
    assert not download.is_whole


def test_leaves_that_are_not_those_of_the_tree_are_refused():
    manifest = SHELF.offer(0)
    assert manifest is not None
    true = SHELF.part(manifest.id, ("leaves", 0))
    assert true is not None
    for lie in (true[32:], true[:32] + true, bytes(32) + true[32:], true[32:64] + true[:32] + true[64:], b""):
        download = Download(NODE.genesis, manifest)
        with pytest.raises(RemoteError):
            download.take(("leaves", 0), lie)
        assert ("leaves", 0) in list(download.lacking())


def test_a_snapshot_that_others_signed_is_refused():
    mallory = replica(make_genesis(anchor="mallory", alice=10), "mallory", validator=True)
    finalize(mallory)
    theirs, ours = Shelf(mallory).offer(0), SHELF.offer(0)
    assert theirs is not None
    assert ours is not None
    for lie in (theirs, msgspec.structs.replace(ours, final=theirs.final)):
        with pytest.raises(RemoteError):
            Download(NODE.genesis, lie)


@pytest.mark.parametrize("heights", [8, 9, 10, 11])
def test_a_node_that_began_half_way_proves_what_comes_after(heights: int):
    """Steps of the time before came with the snapshot; those that are not needed any more are left out."""
    history = turning(10)
    store = Store.create("sqlite://", history.genesis)
    for step in history.steps[:heights]:
        step.write_to(store)
    then = Replica.open(store, history.rules, None, validator=False)
    began = Store.begin("sqlite://", history.genesis, fetched(Shelf(then), history.genesis).snapshot())
    for step in history.steps[heights:]:
        step.write_to(began)
        step.write_to(store)
    assert history.last is not None
    final = proving.certified(began, history.last)
    assert Trust(history.genesis).check_final(final) == history.last.checkpoint
    least = len(proving.steps(store, 9))
    assert len(final.steps) in (least, least + 1)
    last = parse_set(final.steps[-1].validators)
    assert proving.certified(began, history.last, Known(last, 9, 9)).steps == ()


class Shelved:
    """A shelf of a network that moves on, and a clock in seconds."""

    def __init__(self) -> None:
        self.node, self._alice, _ = network()
        self.now = 0.0
        self.shelf = Shelf(self.node, clock=lambda: self.now)

    def move(self, seconds: float) -> None:
        """Time passes, and another height is final."""
        self.now += seconds
        feed(self.node, self._alice.says(pay("carol", 1)))
        finalize(self.node, now=START + 60_000 + self.node.height)

    def newest(self) -> Cid | None:
        """What anybody can ask for and would rather not be given: the very newest there could be."""
        found = self.shelf.offer(self.node.height - 1)
        return None if found is None else found.id

    def has(self, id: Cid) -> bool:
        return self.shelf.part(id, ("rows", 0)) is not None


def test_the_shelf_cuts_what_is_asked_for_when_it_is_time():
    """In between the newest has to do, and is of no use to who trusts something newer."""
    s = Shelved()
    first = s.shelf.offer(0)
    assert first is not None
    s.move(CUT_GAP_S - 1)
    assert s.newest() is None
    assert s.shelf.offer(0) == first
    s.move(1)
    assert s.newest() == s.node.last.checkpoint.id
    assert s.shelf.offer(s.node.height) is None
    assert Shelf(anchor(make_genesis(alice=1))).offer(0) is None


def test_a_shelf_is_not_turned_over_by_who_asks_often():
    """Whoever began to fetch has its three minutes, though others ask for the newest at every height."""
    s = Shelved()
    cut = {}
    for _ in range(60):
        s.move(10)
        if (newest := s.newest()) is not None:
            cut.setdefault(newest, s.now)
        for id, since in cut.items():
            assert s.now - since >= KEPT_S or id in s.shelf
        assert len(s.shelf) <= KEPT_MAX
    assert len(cut) == 600 // CUT_GAP_S


def test_what_is_being_fetched_stays_longest():
    """The one that somebody goes on fetching is there when those cut before and after it are gone."""
    s = Shelved()
    cut = []
    for _ in range(12):
        s.move(CUT_GAP_S)
        cut.append(s.newest())
        if len(cut) > 1:
            assert s.has(cut[1])
    assert [id in s.shelf for id in cut] == [False, True] + [False] * 4 + [True] * 6


def test_what_nobody_asks_for_makes_room():
    s = Shelved()
    s.move(1)
    old = s.newest()
    s.move(KEPT_S)
    other = s.newest()
    s.move(IDLE_S)
    s.newest()
    assert old not in s.shelf
    s.move(CUT_GAP_S)
    s.newest()
    assert other not in s.shelf


def test_what_was_offered_a_moment_ago_stays_whenever_it_was_cut():
    """Though others turn the shelf over, and go on asking for all that is older."""
    s = Shelved()
    cut = [s.newest()]
    for _ in range(KEPT_MAX - 1):
        s.move(CUT_GAP_S)
        cut.append(s.newest())
    s.now += KEPT_S + IDLE_S
    offered = s.shelf.offer(0)
    assert offered is not None
    assert offered.id == cut[-1]
    since = s.now
    while s.now - since < KEPT_S - CUT_GAP_S:
        s.move(CUT_GAP_S)
        assert all(s.has(id) for id in cut[:-1] if id in s.shelf)
        assert s.newest() == s.node.last.checkpoint.id
        assert s.has(offered.id)


def test_the_newest_may_be_asked_for_while_another_thread_cuts_one():
    """At each step of the asking in turn."""
    s = Shelved()
    steps = 0

    def asked(until: int) -> Manifest | None:
        """What is the newest, if another thread cuts one before the step of that number."""
        nonlocal steps
        steps = 0

        def step(frame: FrameType, event: str, _: object) -> Any:
            nonlocal steps
            frame.f_trace_opcodes = True
            if event == "opcode":
                steps += 1
                if steps == until:
                    other = threading.Thread(target=s.newest)
                    other.start()
                    other.join()
            return step

        before = sys.gettrace()
        sys.settrace(lambda frame, event, arg: step(frame, event, arg) if is_of_shelf(frame) else None)
        try:
            return s.shelf.newest(0)
        finally:
            sys.settrace(before)

    s.newest()
    asked(0)
    assert steps
    for at in range(1, steps + 1):
        s.shelf = Shelf(s.node, clock=lambda: s.now)
        s.newest()
        s.move(CUT_GAP_S)
        newest = asked(at)
        assert newest is not None
        assert newest.id in s.shelf


def is_of_shelf(frame: FrameType) -> bool:
    return frame.f_code.co_filename == shelf.__file__


NODE, _, _ = network()
SHELF = Shelf(NODE)
