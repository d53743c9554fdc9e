"""The waiting room: what waits, for what, for how long, and never more than the bounds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.cid import Cid
from ledger.event import Event
from ledger.pending import (
    FUTURE_MS_MAX,
    PENDING_BYTES_MAX,
    PENDING_BYTES_PER_PEER_MAX,
    PENDING_MAX,
    PENDING_MS_MAX,
    PENDING_PER_LANE_MAX,
    PENDING_PER_PEER_MAX,
    Pending,
)
from tests.ledger.world import START, Author, make_genesis, pay

GENESIS = make_genesis(alice=1)
NOWHERE = Cid.of(b"an event that nobody has")
NOW = START + 5_000


def orphans(count: int, *, lanes: int = 1, memo: str = "") -> list[Event]:
    """Genuine events in `lanes` lanes in turn, whose first parent is nowhere."""
    authors = [Author(GENESIS, f"author {n}") for n in range(lanes)]
    for author in authors:
        author.says(pay("bob", 1))
    return [authors[n % lanes].says({"memo": memo}, parents=(NOWHERE,)) for n in range(count)]


def wait(pending: Pending, events: list[Event], *, peer: str = "peer", now: int = NOW) -> list[bool]:
    return [pending.add(event, peer=peer, missing=[NOWHERE], now=now) for event in events]


def test_what_waits_leaves_when_its_last_parent_stands():
    pending, other = Pending(), Cid.of(b"another")
    [event] = orphans(1)
    pending.add(event, peer="peer", missing=[NOWHERE, other], now=NOW)
    assert set(pending.lacking([event.id])) == {
        NOWHERE,
        other,
    }
    assert pending.admitted(other, NOW) == []
    assert pending.admitted(NOWHERE, NOW) == [event]
    assert (len(pending), pending.size) == (0, 0)


def test_to_fetch_is_the_far_end_of_a_waiting_chain():
    """Of a chain that waits, only its first missing parent is worth asking for."""
    pending = Pending()
    alice = Author(GENESIS, "alice")
    chain = [alice.says(pay("bob", 1)) for _ in range(5)]
    for event in chain[1:]:
        pending.add(event, peer="peer", missing=event.parents, now=NOW)
    assert pending.lacking([chain[4].id]) == [chain[0].id]


def test_one_lane_takes_only_its_share():
    pending = Pending()
    assert wait(pending, orphans(PENDING_PER_LANE_MAX + 3)) == [True] * PENDING_PER_LANE_MAX + [False] * 3
    assert pending.dropped == {"lane_full": 3}


def test_one_peer_takes_only_its_share():
    """By number; another peer is not affected."""
    pending = Pending()
    events = orphans(PENDING_PER_PEER_MAX + 10, lanes=10)
    assert sum(wait(pending, events)) == PENDING_PER_PEER_MAX
    assert pending.dropped == {"peer_full": 10}
    assert wait(pending, events[-1:], peer="another") == [True]


def test_one_peer_takes_only_its_bytes():
    pending = Pending()
    wait(pending, orphans(100, lanes=10, memo="x" * 15_000))
    assert pending.size <= PENDING_BYTES_PER_PEER_MAX
    assert pending.dropped["peer_full"] > 20


def test_a_flood_from_many_peers_stays_within_the_bounds_of_all():
    """The peer that holds most pays for whoever comes last."""
    pending = Pending()
    quiet = orphans(5, memo="quiet")
    wait(pending, quiet, peer="quiet")
    for n, event in enumerate(orphans(PENDING_MAX + 500, lanes=200)):
        wait(pending, [event], peer=f"flooder {n % 45}")
    assert len(pending) == PENDING_MAX == pending.peak
    assert pending.dropped["all_full"] == 505
    assert all(event.id in pending for event in quiet)


def test_a_flood_of_large_events_stays_within_the_bytes_of_all():
    pending = Pending()
    events = orphans(63, memo="x" * 15_000)
    for n in range(40):
        for event in events:
            # The same bytes under new names: signing 2,000 large events would only take time.
            copy = Event(
                Cid.of(event.id + bytes([n])),
                event.header,
                event.header_bytes,
                event.signature,
                event.body,
                event.wire,
            )
            pending._lanes.clear()
            pending.add(copy, peer=f"peer {n}", missing=[NOWHERE], now=NOW)
    assert pending.size <= PENDING_BYTES_MAX
    assert pending.dropped["all_full"] > 0


def test_nothing_waits_longer_than_ten_minutes():
    pending = Pending()
    wait(pending, orphans(3))
    assert pending.due(NOW + PENDING_MS_MAX - 1) == []
    assert len(pending) == 3
    assert pending.due(NOW + PENDING_MS_MAX) == []
    assert (len(pending), pending.dropped) == (0, {"too_old": 3})


def test_an_event_from_the_future_waits_for_its_time():
    pending = Pending()
    early = Author(GENESIS, "alice").says(pay("bob", 1), ts=NOW + FUTURE_MS_MAX + 7)
    pending.add(early, peer="peer", missing=[], now=NOW)
    assert pending.due(NOW + 6) == []
    assert pending.due(NOW + 7) == [early]
    assert len(pending) == 0


def test_what_a_quorum_ordered_does_not_wait_for_our_clock():
    pending = Pending()
    alice = Author(GENESIS, "alice")
    early = alice.says(pay("bob", 1), ts=NOW + FUTURE_MS_MAX + 7)
    child = alice.says(pay("bob", 1))
    pending.add(early, peer="peer", missing=[], now=NOW)
    pending.add(child, peer="peer", missing=[early.id], now=NOW)
    assert pending.forgive([child.id], NOW) == [early]
    assert pending.admitted(early.id, NOW) == [child]


def test_what_a_quorum_ordered_waits_beyond_the_bounds_of_its_lane_and_does_not_grow_old():
    pending = Pending()
    chain = [Author(GENESIS, "alice").says(pay("bob", 1))]
    alice = Author(GENESIS, "alice")
    alice.head = chain[0]
    chain += [alice.says(pay("bob", 1)) for _ in range(PENDING_PER_LANE_MAX + 1)]
    for event in chain[2:]:
        assert pending.add(event, peer="peer", missing=event.parents, now=NOW)
    assert not pending.add(chain[1], peer="peer", missing=chain[1].parents, now=NOW)
    assert pending.add(chain[1], peer="peer", missing=chain[1].parents, now=NOW, demanded=True)
    assert pending.forgive([chain[-1].id], NOW + PENDING_MS_MAX - 1) == []
    assert pending.due(NOW + PENDING_MS_MAX) == []
    assert len(pending) == PENDING_PER_LANE_MAX + 1
    pending.due(NOW + 2 * PENDING_MS_MAX)
    assert len(pending) == 0


def test_descendants_of_what_can_never_stand_leave():
    pending = Pending()
    alice = Author(GENESIS, "alice")
    chain = [alice.says(pay("bob", 1)) for _ in range(4)]
    for event in chain[1:]:
        pending.add(event, peer="peer", missing=event.parents, now=NOW)
    assert set(pending.poisoned(chain[0].id)) == set(chain[1:])
    assert (len(pending), pending.size) == (0, 0)


POOL = orphans(40, lanes=4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "admitted", "poisoned", "due"]), st.integers(0, 39), st.integers(0, 3)
        ),
        max_size=80,
    )
)
def test_the_books_always_balance(steps: list[tuple[str, int, int]]):
    """Whatever comes and goes in whatever order, sizes and shares are those of what is there."""
    pending, now = Pending(), NOW
    for what, index, choice in steps:
        event = POOL[index]
        match what:
            case "add":
                pending.add(event, peer=f"peer {choice}", missing=event.parents[: choice + 1], now=now)
            case "admitted":
                pending.admitted(event.id, now)
            case "poisoned":
                pending.poisoned(event.id)
            case "due":
                now += choice * 200_000
                pending.due(now)
        assert pending.size == sum(len(w.event.wire) for w in pending._waiting.values())
        assert sum(len(share.ids) for share in pending._peers.values()) == len(pending)
        assert sum(pending._lanes.values()) == len(pending)
        assert all(siblings for siblings in pending._children.values())
