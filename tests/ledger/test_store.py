"""What the store promises, on SQLite and on PostgreSQL alike; opening again; other networks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import event_rows
from ledger.cid import Cid
from ledger.cut import differences, genesis_state
from ledger.errors import UsageError
from ledger.event import Event, without_body
from ledger.event_rows import IDS_AT_ONCE
from ledger.finality import Last
from ledger.forks import ForkProof
from ledger.heads import Place
from ledger.merkle import Frontier
from ledger.state import State
from ledger.store import Store
from ledger.tables import ANCESTOR, EVENT
from tests.ledger.histories import History, Step, talk

MakeUrl = Callable[[], str]


@pytest.fixture
def history() -> History:
    return talk()


@pytest.fixture
def store(database_url: MakeUrl, history: History) -> Store:
    return history.write_to(Store.create(database_url(), history.genesis))


def events_of(history: History) -> list[Event]:
    return [event for step in history.steps for event in (*step.events, *step.rivals)]


def finals_of(history: History) -> list[Step]:
    return [step for step in history.steps if step.final is not None]


def test_what_went_in_comes_out(store: Store, history: History) -> None:
    """Wires and places of every event, rivals included; ids that are not here are not in the answer."""
    events = events_of(history)
    unknown = Cid.of(b"nothing")
    assert store.wires([*(event.id for event in events), unknown]) == {e.id: e.wire for e in events}
    assert store.places([event.id for event in events]) == {
        e.id: Place(e.header.by, e.header.lane, e.header.seq, e.header.lc, e.header.ts) for e in events
    }
    assert store.wires([]) == {}


def test_heads_are_the_last_events_of_the_lanes(store: Store, history: History) -> None:
    """One head for each lane that has an event; a fork's rivals do not move it."""
    assert store.heads() == {lane: (tip.header.seq, tip.id) for lane, tip in history.tips.items()}


def test_a_lane_is_served_in_order_and_in_bounded_pieces(database_url: MakeUrl) -> None:
    """At least one event, then as many as fit, from `first` to `last`."""
    history = History()
    events = [history.say("alice") for _ in range(10)]
    store = history.write_to(Store.create(database_url(), history.genesis))
    by, lane = events[0].lane
    wires = [event.wire for event in events]
    assert store.lane_range(by, lane, 3, 7, bytes_max=10**6) == wires[3:8]
    assert store.lane_range(by, lane, 8, 99, bytes_max=10**6) == wires[8:]
    assert store.lane_range(by, lane, 0, 9, bytes_max=len(wires[0] + wires[1])) == wires[:2]
    assert store.lane_range(by, lane, 4, 9, bytes_max=1) == wires[4:5]
    assert store.lane_range(by, 1, 0, 9, bytes_max=10**6) == []


def test_what_is_in_lanes_at_many_places_is_found_at_once(database_url: MakeUrl) -> None:
    """By the index, and not by reading all events."""
    history = History()
    events = [history.say(who) for who in ("alice", "bob") for _ in range(3)]
    store = history.write_to(Store.create(database_url(), history.genesis))
    places = [(*event.lane, event.header.seq) for event in events]
    absent = [(bytes(32), 0, seq) for seq in range(2 * IDS_AT_ONCE)]
    found = list(store.chain_at([*absent, *places[1:], *places[1:]]))
    assert sorted(event.wire for event in found) == sorted(event.wire for event in events[1:])
    assert list(store.chain_at([])) == []
    store.add_ancestors([without_body(event) for event in events[:3]])
    query = event_rows._at_places(store.engine.dialect, ANCESTOR, 2)
    with store.engine.connect() as connection:
        kept = connection.exec_driver_sql(query, (*places[0], *places[4])).all()
    assert [tuple(row) for row in kept] == [(events[0].id, without_body(events[0]).wire)]
    if store.engine.dialect.name == "sqlite":
        query = event_rows._at_places(store.engine.dialect, EVENT, 1)
        with store.engine.connect() as connection:
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", places[0]).all())
        assert "SEARCH t USING INDEX event_lane" in plan


def test_the_first_rivals_of_their_places_are_read_oldest_first(store: Store, history: History) -> None:
    """However many more came to those places."""
    [(rival, second)] = [step.rivals for step in history.steps if step.rivals]
    more = [history.draft("carol", body={"n": n}, on=rival) for n in range(3)]
    store.add([], rivals=more)
    assert list(store.late_rivals(5)) == [rival, second]
    assert list(store.late_rivals(1)) == [second]


def test_what_is_not_final_is_unordered(database_url: MakeUrl) -> None:
    """Events leave `unordered` with the checkpoint that has them, rivals too; then their height is known. No
    event comes before its parents."""
    history = talk()
    early = [event for event in events_of(history) if event.header.by == history.steps[0].events[0].header.by]
    store = Store.create(database_url(), history.genesis)
    seen: set[bytes] = set()
    for step in history.steps:
        step.write_to(store)
        seen |= {event.wire for event in (*step.events, *step.rivals)}
        if step.final is not None:
            decided, _ = step.final
            seen -= set(store.wires(decided.order).values())
            height = decided.checkpoint.height
            assert all(store.event_status(id) == height for id in decided.order)
        unordered = list(store.unordered())
        assert {event.wire for event in unordered} == seen
        assert unordered == sorted(unordered, key=lambda event: event.header.lc)
    assert store.event_status(early[0].id) == 1
    assert store.event_status(Cid.of(b"nothing")) is None


def test_history_reads_the_same_whatever_the_page(store: Store, history: History) -> None:
    """Positions are 1, 2, 3 …, the numbers of the leaves in the event tree, without a gap."""
    whole = store.finalized(0, 1000)
    assert [line.position for line in whole] == list(range(1, len(whole) + 1))
    paged, after = [], 0
    while some := store.finalized(after, 3):
        paged += some
        after = some[-1].position
    assert paged == whole
    expected = []
    for step in finals_of(history):
        assert step.final is not None
        decided, _ = step.final
        checkpoint, order = decided.checkpoint, decided.order
        receipts = (*decided.receipts, decided.close)
        expected += [
            (checkpoint.height, index, checkpoint.T, id, receipt)
            for index, (id, receipt) in enumerate(zip((*order, None), receipts, strict=True))
        ]
    assert [(line.height, line.index, line.time, line.event_id, line.receipt) for line in whole] == expected
    events = {event.id: event for event in events_of(history)}
    assert all(line.event == (events[line.event_id] if line.event_id else None) for line in whole)
    for line in whole:
        header = events[line.event_id].header if line.event_id else None
        assert (line.summary is None) == (header is None)
        if line.summary is not None and header is not None:
            assert (line.summary.device, line.summary.seq) == (header.by, header.seq)


def test_checkpoints_orders_and_frontier_come_back(store: Store, history: History) -> None:
    """What `commit` was given is what the chain says afterwards."""
    finals = [step.final for step in finals_of(history) if step.final is not None]
    shown = [b"", *(certificate.encode() for _, certificate in finals)]
    pairs = list(zip((one.checkpoint.encode() for one, _ in finals), shown, strict=False))
    assert store.checkpoints(1, 100) == pairs
    assert store.checkpoints(2, 1) == pairs[1:2]
    assert store.checkpoints(9, 1) == []
    assert store.run(1, 2) == (pairs[:2], finals[1][1].encode())
    assert store.run(9, 2) == ([], b"")
    assert store.last() == history.last
    assert [tuple(store.order(height)) for height in (1, 2, 3, 4)] == [
        *(tuple(one.order) for one, _ in finals),
        (),
    ]
    assert Frontier.decode(store.frontier()) == history.frontier


def test_the_state_s_rows_rebuild_its_root(store: Store, history: History) -> None:
    """Rows added, changed and deleted over three checkpoints: what is left is exactly the state."""
    state = State()
    rows = list(store.state_rows())
    assert rows == sorted(rows)
    for table, key, value in rows:
        state = state.put(table, key, value)
    assert state.seal().root == history.state.root


def test_fork_proofs_are_kept_once(store: Store, history: History) -> None:
    """Two proofs about the same two events are one."""
    one, other = history.draft("dave", body={"n": 1}), history.draft("dave", body={"n": 2})
    proof = ForkProof.of(one, other)
    store.add_fork_proofs([proof, proof])
    store.add_fork_proofs([ForkProof.of(other, one)])
    store.add_fork_proofs([])
    assert store.fork_proofs() == [proof]


def test_fork_proofs_are_read_in_parts(store: Store, history: History) -> None:
    drafts = [history.draft("dave", body={"n": n}) for n in range(5)]
    store.add_fork_proofs([ForkProof.of(*pair) for pair in combinations(drafts, 2)])
    every = store.fork_proofs()
    parts, after = [], None
    while part := store.fork_proofs_after(after, 3):
        parts.append(part)
        after = part[-1].ids
    assert [len(part) for part in parts] == [3, 3, 3, 1]
    assert [proof for part in parts for proof in part] == every


def test_counts_say_how_much_is_here(store: Store, history: History) -> None:
    """For status and metrics."""
    assert store.counts() == {
        "events": 5,
        "rivals": 2,
        "lanes": 4,
        "fork_proofs": 0,
        "height": 3,
        "positions": 10,
        "unordered": 0,
    }


def test_an_empty_store_has_nothing_final(database_url: MakeUrl) -> None:
    """Height 0 is genesis alone."""
    store = Store.create(database_url(), History().genesis)
    assert store.last() is None
    assert store.frontier() == b""
    assert (store.heads(), list(store.unordered()), store.finalized(0, 10), list(store.state_rows())) == (
        {},
        [],
        [],
        [],
    )
    assert set(store.counts().values()) == {0}


def test_a_store_that_is_opened_again_is_the_same(database_url: MakeUrl, history: History) -> None:
    """Closed in order or not, everything is still there."""
    url = database_url()
    first = history.write_to(Store.create(url, history.genesis))
    whole = first.finalized(0, 1000)
    again = Store.open(url, history.net)  # the first one is still open, as after a crash
    assert again.genesis == history.genesis
    assert again.finalized(0, 1000) == whole
    again.close()
    first.close()
    assert Store.open(url).heads() == {lane: (tip.header.seq, tip.id) for lane, tip in history.tips.items()}


# -- refusals -----------------------------------------------------------------------------------------------


def test_a_store_of_another_network_is_refused(database_url: MakeUrl) -> None:
    """The message names both networks; nothing is mixed."""
    url = database_url()
    Store.create(url, History(name="one").genesis).close()
    other = History(name="another")
    with pytest.raises(UsageError, match=str(other.net)) as caught:
        Store.open(url, other.net)
    assert caught.value.code == "other_network"


def test_creating_twice_and_opening_nothing_are_refused(tmp_path: Path, database_url: MakeUrl) -> None:
    """A store is never made over another one, nor found where none was made."""
    url = database_url()
    Store.create(url, History().genesis).close()
    with pytest.raises(UsageError) as twice:
        Store.create(url, History().genesis)
    assert twice.value.code == "store_exists"
    with pytest.raises(UsageError) as nothing:
        Store.open(f"sqlite:///{tmp_path}/nowhere.db")
    assert nothing.value.code == "no_store"
    assert not (tmp_path / "nowhere.db").exists()


@pytest.mark.parametrize("url", ["mysql://x/y", "not a url", "", "sqlite:////no/such/folder/x.db"])
def test_a_url_that_leads_nowhere_is_the_user_s_error(url: str) -> None:
    """It says what a URL must look like."""
    with pytest.raises(UsageError) as caught:
        Store.create(url, History().genesis)
    assert caught.value.next_step is not None


def test_a_server_that_is_not_there_is_the_user_s_error(tmp_path: Path) -> None:
    """PostgreSQL that does not answer is no traceback."""
    with pytest.raises(UsageError) as caught:
        Store.open(f"postgresql+psycopg://fog@/none?host={tmp_path}")
    assert caught.value.code == "store_unreachable"


def test_events_out_of_place_are_a_fault_of_ours(database_url: MakeUrl) -> None:
    """A gap, a repeat or a rival among the new ones stops the node, and leaves no trace."""
    history = History()
    one = history.say("alice")
    two, three = history.say("alice"), history.say("alice")
    rival = History().draft("alice", "rival")
    store = Store.create(database_url(), history.genesis)
    store.add([one])
    for wrong in ([three], [one], [two, two], [rival], [two, three, rival], [three, two]):
        with pytest.raises(AssertionError):
            store.add(wrong)
    with pytest.raises(AssertionError):
        store.add([two], rivals=[two, two])
    assert store.heads() == {one.lane: (0, one.id)}
    assert store.counts()["events"] == 1
    store.add([two, three], rivals=[rival])
    assert store.heads() == {one.lane: (2, three.id)}


def test_a_checkpoint_out_of_place_is_a_fault_of_ours(database_url: MakeUrl, history: History) -> None:
    """The second before the first, or one whose events are not here: nothing of it is kept."""
    store = Store.create(database_url(), history.genesis)
    first, second = finals_of(history)[:2]
    with pytest.raises(AssertionError):
        first.write_to(store)
    for step in history.steps:
        if step.final is None:
            step.write_to(store)
    with pytest.raises(AssertionError):
        second.write_to(store)
    first.write_to(store)
    with pytest.raises(AssertionError):
        first.write_to(store)
    second.write_to(store)
    assert store.counts()["height"] == 2


def test_stores_in_memory_serve_simulations() -> None:
    """`sqlite://` is a store without a file, for one thread."""
    history = talk()
    store = history.write_to(Store.create("sqlite://", history.genesis))
    assert store.last() == history.last


@settings(max_examples=20)
@given(st.permutations(range(4)), st.integers(1, 4))
def test_arrival_order_never_shows_in_history(lanes: list[int], batch: int) -> None:
    """Four authors' events, lanes in any order and in any batches: the same lines once final."""
    history = History()
    said = [[history.say(f"author {n}", body={"n": n, "i": i}) for i in range(3)] for n in range(4)]
    history.finalize()
    arrived = [event for n in lanes for event in said[n]]
    one, other = (Store.create("sqlite://", history.genesis) for _ in range(2))
    history.write_to(one)
    for start in range(0, len(arrived), batch):
        other.add(arrived[start : start + batch])
    history.steps[-1].write_to(other)
    assert one.finalized(0, 100) == other.finalized(0, 100)
    assert list(one.state_rows()) == list(other.state_rows())
    one.close()
    other.close()


def test_replaying_the_stored_order_gives_the_stored_roots(store: Store, history: History) -> None:
    """What the store kept is enough to make every root again."""
    replay = History()
    assert replay.state.changes == genesis_state(replay.rules, replay.genesis).changes
    for step in finals_of(history):
        assert step.final is not None
        checkpoint, certificate = step.final[0].checkpoint, step.final[1]
        lines = [line for line in store.finalized(0, 1000) if line.height == checkpoint.height]
        outcome = replay.execute([line.event for line in lines if line.event is not None])
        assert differences(checkpoint, outcome) == []
        replay.state, replay.frontier, replay.last = (
            outcome.state,
            outcome.frontier,
            Last(checkpoint, certificate),
        )


def test_a_database_without_tables_on_a_server_is_no_store_yet(
    postgres_url: MakeUrl, history: History
) -> None:
    """Somebody else makes the database; the first start of a node makes the store in it."""
    url = postgres_url()
    with pytest.raises(UsageError) as refused:
        Store.open(url, history.genesis.net)
    assert refused.value.code == "no_store"
    Store.create(url, history.genesis).close()
    Store.open(url, history.genesis.net).close()
