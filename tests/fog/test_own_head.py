"""Before a node says anything after a start, it heard where its lane ends: of more than one, if there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from domain.payloads import Transfer
from domain.rules import FogRules
from domain.rules.execute import VERSION
from fog.exchange import Exchange
from fog.own_head import FINISH_S, LISTEN_S, Heard, OwnHead, Sessions
from fog.replica_thread import ReplicaThread
from ledger.errors import UsageError
from ledger.event import LANE_LEDGER, Event
from ledger.genesis import Allocation, Genesis, Validator
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.store import Store
from ledger.validators import ValidatorSet
from network.host import Host, open_host
from network.identity import peer_of

NOW = 1_700_000_000_000
US, ONE, TWO, THREE = (SigningKey(bytes([number]) * 32) for number in range(1, 5))
DEADLINE_S = 20


# -- what is enough -----------------------------------------------------------------------------------------


def heard(*here: SigningKey, whole: tuple[SigningKey, ...] = (), **more: Any) -> Heard:
    """Of these who are here, `whole` were heard to the end; `others` may be there."""
    others = frozenset(key.public for key in more.pop("others", ()))
    those_here, heard_whole, failed, empty = (
        frozenset(peer_of(key.public) for key in keys)
        for keys in (here, whole, more.pop("failed", ()), more.pop("empty", ()))
    )
    return Heard(those_here, heard_whole, failed, others, empty=empty, **more)


def test_one_answer_is_enough_where_nobody_else_may_be() -> None:
    assert heard(ONE, whole=(ONE,), others=[ONE]).is_enough(0)
    assert heard(ONE, whole=(ONE,), others=[ONE], came=True).is_enough(0)
    assert not heard(ONE, others=[ONE]).is_enough(0)


def test_one_answer_decides_nothing_while_others_are_there_or_may_come() -> None:
    assert not heard(ONE, TWO, whole=(ONE,)).is_enough(0)
    assert not heard(ONE, whole=(ONE,), others=[ONE, TWO]).is_enough(LISTEN_S - 0.1)
    assert heard(ONE, whole=(ONE,), others=[ONE, TWO]).is_enough(LISTEN_S)


def test_two_answers_are_enough_if_the_disk_knew_it_all() -> None:
    told = heard(ONE, TWO, THREE, whole=(ONE, TWO))
    assert told.is_enough(0)
    assert not replace(told, came=True).is_enough(0)


def test_a_disk_older_than_our_word_hears_everybody_out_but_not_for_ever() -> None:
    told = heard(ONE, TWO, whole=(ONE,), came=True)
    assert not told.is_enough(LISTEN_S)
    assert told.is_enough(LISTEN_S + FINISH_S)
    assert replace(told, failed=frozenset([peer_of(TWO.public)])).is_enough(LISTEN_S)
    assert not heard(ONE, came=True).is_enough(1_000)


def test_a_disk_that_holds_something_is_gone_on_with_when_nobody_answers() -> None:
    assert not heard().is_enough(LISTEN_S - 0.1)
    assert heard(others=[ONE]).is_enough(LISTEN_S)
    assert heard(ONE, failed=[ONE]).is_enough(LISTEN_S)
    assert not heard(ONE).is_enough(LISTEN_S)  # a session is under way: it may bring a long history
    assert heard(ONE).is_enough(LISTEN_S + FINISH_S)


def test_an_empty_disk_says_nothing_before_somebody_answered() -> None:
    assert not heard(is_new=True).is_enough(1_000)
    assert not heard(ONE, failed=[ONE], is_new=True).is_enough(1_000)
    assert heard(ONE, whole=(ONE,), others=[ONE, TWO], is_new=True).is_enough(LISTEN_S)


def test_who_would_speak_is_put_off_for_a_minute_and_then_told() -> None:
    """By a peer that takes up a session and never ends it: cut short, it is asked again and again."""
    last_s = LISTEN_S + FINISH_S
    for drags in (heard(ONE, is_new=True), heard(ONE, came=True), heard(ONE, lacks=True)):
        assert drags.may_end(last_s - 0.1)
        assert not drags.may_end(last_s)
        assert not drags.is_enough(last_s)
    empty = heard(ONE, whole=(ONE,), others=[ONE, TWO], empty=[ONE], is_new=True)
    assert empty.may_end(last_s - 0.1)
    assert empty.is_enough(last_s)
    assert not heard(is_new=True).may_end(LISTEN_S)  # nobody is there


def test_the_last_event_below_a_snapshot_is_waited_for() -> None:
    """Also when everybody was heard who is here: whoever has it may come yet."""
    told = heard(ONE, TWO, whole=(ONE, TWO), others=[ONE, TWO], lacks=True)
    assert replace(told, lacks=False).is_enough(0)
    assert not told.is_enough(LISTEN_S)
    assert not told.is_enough(LISTEN_S + FINISH_S - 0.1)
    assert told.is_enough(LISTEN_S + FINISH_S)  # to follow and to vote: nothing can be said without it
    assert not heard(ONE, failed=[ONE], lacks=True).is_enough(1_000)


def test_an_empty_peer_tells_nothing_while_others_are_heard() -> None:
    told = heard(ONE, TWO, THREE, whole=(ONE, TWO), empty=[ONE, TWO])
    assert replace(told, empty=frozenset()).is_enough(0)
    assert not told.is_enough(0)
    assert not told.is_enough(LISTEN_S + FINISH_S - 0.1)
    assert told.is_enough(LISTEN_S + FINISH_S)  # nobody drags it out for ever
    alone = replace(told, failed=frozenset([peer_of(THREE.public)]))
    assert not alone.is_enough(LISTEN_S - 0.1)  # somebody who holds something may come
    assert alone.is_enough(LISTEN_S)
    one_of_two = heard(ONE, TWO, THREE, whole=(ONE, TWO), empty=[ONE])
    assert not one_of_two.is_enough(0)
    assert one_of_two.is_enough(LISTEN_S)


def test_where_everybody_is_empty_nobody_waits() -> None:
    told = heard(ONE, TWO, whole=(ONE, TWO), others=[ONE, TWO], empty=[ONE, TWO], is_new=True)
    assert told.is_enough(0)
    assert not replace(told, others=frozenset()).is_enough(0)  # an only founder knows of nobody


def test_an_empty_peer_is_no_answer_to_a_disk_older_than_our_word() -> None:
    """Though it is everybody who may be there: whoever told us of it holds more."""
    told = heard(ONE, whole=(ONE,), others=[ONE], empty=[ONE])
    for known in ({"came": True}, {"lacks": True}, {"came": True, "is_new": True}):
        older = replace(told, **known)
        assert not older.is_enough(LISTEN_S - 0.1)
        assert not older.is_enough(1_000)
        assert not replace(older, is_unbegun=True).is_enough(1_000)
        holds = frozenset(map(peer_of, (ONE.public, TWO.public)))
        assert replace(older, here=holds, whole=holds).is_enough(LISTEN_S + FINISH_S)


def test_an_empty_disk_waits_longer_than_for_others_who_lost_theirs() -> None:
    told = heard(ONE, whole=(ONE,), others=[ONE, TWO, THREE], empty=[ONE], is_new=True)
    assert not told.is_enough(LISTEN_S + FINISH_S - 0.1)
    assert told.is_enough(LISTEN_S + FINISH_S)
    both = frozenset(map(peer_of, (ONE.public, TWO.public)))
    assert replace(told, here=both, whole=both).is_enough(LISTEN_S)  # TWO holds something, nothing of ours


def test_a_network_that_begins_does_not_wait_for_who_is_absent() -> None:
    told = heard(ONE, TWO, whole=(ONE, TWO), others=[ONE, TWO, THREE], empty=[ONE, TWO], is_new=True)
    begins = replace(told, is_unbegun=True)
    assert not begins.is_enough(LISTEN_S - 0.1)
    assert begins.is_enough(LISTEN_S)
    assert not told.is_enough(LISTEN_S)
    under_way = replace(begins, here=begins.here | {peer_of(THREE.public)})
    assert not under_way.is_enough(LISTEN_S)
    assert under_way.is_enough(LISTEN_S + FINISH_S)


@pytest.mark.parametrize(
    ("stakes", "empty", "is_unbegun"),
    [
        ([1, 1, 1, 1], 1, False),
        ([1, 1, 1, 1], 2, True),
        ([1, 1, 1], 1, False),
        ([1, 1], 1, True),
        ([1], 0, False),
        ([1, 1, 1, 1, 1, 1, 1], 3, False),
        ([1, 1, 1, 1, 1, 1, 1], 4, True),
        ([70, 10, 10, 10], 2, False),  # it would be a quorum with nobody's word
        ([10, 70, 10, 10], 1, True),
    ],
)
def test_how_many_hold_nothing_where_a_network_has_not_begun(
    stakes: list[int], empty: int, is_unbegun: bool
) -> None:
    """We are the first of them, and the next ones hold nothing."""
    keys = [SigningKey(bytes([number]) * 32).public for number in range(1, len(stakes) + 1)]
    validators = ValidatorSet.of(Validator(key, stake) for key, stake in zip(keys, stakes, strict=True))
    sessions = Sessions()
    for key in keys[1 : 1 + empty]:
        sessions.ended(peer_of(key), "equal", is_empty=True)
    assert sessions.is_unbegun(validators, keys[0]) is is_unbegun


# -- how sessions went --------------------------------------------------------------------------------------


def test_who_failed_once_is_asked_once_more_before_it_counts_as_absent() -> None:
    sessions, here = Sessions(), [peer_of(ONE.public)]
    [peer] = here
    assert sessions.ended(peer, "timeout")
    assert sessions.heard(here, ()).under_way == {peer}
    assert not sessions.heard(here, ()).is_enough(LISTEN_S)
    assert not sessions.ended(peer, "stream_closed")
    assert sessions.heard(here, ()).failed == {peer}
    assert sessions.heard(here, ()).is_enough(LISTEN_S)
    assert not sessions.ended(peer, "synced")  # it was dialed again
    assert sessions.heard(here, ()).whole == {peer}
    assert not sessions.heard(here, ()).failed


def test_a_session_cut_short_is_gone_on_with() -> None:
    sessions, here = Sessions(), [peer_of(ONE.public)]
    for _ in range(3):
        assert sessions.ended(here[0], "stalled")
    assert sessions.heard(here, ()).under_way == frozenset(here)


def test_a_peer_is_empty_until_it_holds_something() -> None:
    sessions, here = Sessions(), [peer_of(ONE.public)]
    sessions.ended(here[0], "equal", is_empty=True)
    assert sessions.heard(here, ()).empty == frozenset(here)
    sessions.ended(here[0], "equal")  # it got from us what we have
    assert sessions.heard(here, ()).empty == frozenset(here)
    sessions.ended(here[0], "synced")
    assert not sessions.heard(here, ()).empty


# -- with nodes ---------------------------------------------------------------------------------------------


@dataclass
class Node:
    host: Host
    ledger: ReplicaThread
    exchange: Exchange
    head: OwnHead

    async def meets(self, other: Node) -> None:
        await self.host.dial(other.host.addresses()[0])

    async def first_session(self) -> None:
        """Wait until one was ended whole, and everybody has done what follows."""
        while not {"sync.synced", "sync.equal"} & set(self.host.counts):
            await trio.sleep(0.01)
        await trio.testing.wait_all_tasks_blocked(0.05)

    @property
    def seq(self) -> int:
        """Of the last event on our lane here; -1 before the first."""
        found = self.ledger.replica.heads.get((US.public, LANE_LEDGER))
        return -1 if found is None else found[0]


def genesis() -> Genesis:
    keys = sorted(key.public for key in (US, ONE, TWO, THREE))
    return Genesis(
        v=1,
        name="heads",
        created=NOW,
        rules=VERSION,
        validators=tuple(Validator(key, 1) for key in keys),
        accounts=tuple(Allocation(key, 1_000) for key in keys),
        params={"bond_min": 1},
    )


@pytest.fixture
def lane() -> list[Event]:
    """What we said before our disk was put back or lost."""
    store = Store.create("sqlite://", genesis())
    replica = Replica.open(store, FogRules(), US, validator=False)
    said = [replica.append("transfer", 1, Transfer(ONE.public, n + 1), now=NOW + n) for n in range(6)]
    store.close()
    return said


@asynccontextmanager
async def running(key: SigningKey, held: list[Event]) -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        store = Store.create("sqlite://", genesis())
        stack.callback(store.close)
        replica = Replica.open(store, FogRules(), key, validator=False)
        if held:
            replica.ingest([event.wire for event in held], peer="disk", now=NOW)
        host = await stack.enter_async_context(open_host(key.seed, ["/ip4/127.0.0.1/tcp/0"]))
        nursery = await stack.enter_async_context(trio.open_nursery())
        ledger = ReplicaThread(replica, lambda: NOW, device=key.public)
        exchange = await Exchange.open(host, ledger, flush_ms=5)
        node = Node(host, ledger, exchange, OwnHead(host, exchange, ledger, has_others=True))
        await nursery.start(exchange.run)
        yield node
        nursery.cancel_scope.cancel()


async def learn(node: Node, learnt: trio.Event) -> None:
    await node.head.learn(unless=trio.Event())
    learnt.set()


async def next_seq(node: Node) -> int:
    event = await node.ledger.append(Transfer(TWO.public, 1))
    return event.header.seq


@pytest.mark.trio
@pytest.mark.parametrize("kept", [3, 0], ids=["put back from a copy", "lost"])
async def test_a_first_peer_that_lags_does_not_decide(lane: list[Event], kept: int) -> None:
    """It used to: one whole session with whoever came first, and the next event was the rival of one that all
    others had."""
    with trio.fail_after(DEADLINE_S):
        async with (
            running(ONE, lane[:2]) as lags,
            running(TWO, lane) as knows,
            running(US, lane[:kept]) as us,
        ):
            await us.meets(lags)
            learnt = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(learn, us, learnt)
                await us.first_session()
                assert not learnt.is_set()
                await us.meets(knows)
                await learnt.wait()
            assert us.seq == len(lane) - 1
            assert await next_seq(us) == len(lane)


@pytest.mark.trio
async def test_two_empty_peers_do_not_decide_while_another_is_heard(lane: list[Event]) -> None:
    """They lost their disks as well, and are as soon done as we are. The third has a session under way with
    us from the moment that it is here."""
    with trio.fail_after(DEADLINE_S):
        async with (
            running(ONE, []) as one,
            running(THREE, []) as three,
            running(TWO, lane) as knows,
            running(US, []) as us,
        ):
            for other in (one, three, knows):
                await us.meets(other)
            await us.head.learn(unless=trio.Event())
            assert us.seq == len(lane) - 1


@pytest.mark.trio
@pytest.mark.parametrize(("kept", "came"), [(2, 1), (0, 0)], ids=["part of our lane came", "lost"])
async def test_an_empty_peer_alone_decides_nothing(lane: list[Event], kept: int, came: int) -> None:
    """It lost its disk as well. Who knows our lane comes only after the time in which others are waited for;
    it used to be too late, and the next event was the rival of one that it had."""
    with trio.fail_after(DEADLINE_S):
        async with (
            running(ONE, []) as empty,
            running(TWO, lane) as knows,
            running(US, lane[:kept]) as us,
        ):
            us.ledger.replica.ingest([event.wire for event in lane[kept:][:came]], peer="gone", now=NOW)
            await us.meets(empty)
            learnt = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(learn, us, learnt)
                await us.first_session()
                with trio.move_on_after(LISTEN_S + 1):  # how long it waits is what is shown
                    await learnt.wait()
                assert not learnt.is_set()
                await us.meets(knows)
                await learnt.wait()
            assert await next_seq(us) == len(lane)


@pytest.mark.trio
async def test_two_peers_without_news_are_enough(lane: list[Event]) -> None:
    """Four validators; the last of them is away."""
    begun = trio.current_time()
    async with running(ONE, lane) as one, running(TWO, lane) as two, running(US, lane) as us:
        await us.meets(one)
        await us.meets(two)
        with trio.fail_after(DEADLINE_S):
            await us.head.learn(unless=trio.Event())
        await us.head.known()
        assert await next_seq(us) == len(lane)
    assert trio.current_time() - begun < LISTEN_S


@pytest.mark.trio
async def test_who_comes_when_our_head_is_known_is_not_remembered(lane: list[Event]) -> None:
    """A node lives for long, and peers come and go."""
    with trio.fail_after(DEADLINE_S):
        async with running(TWO, lane) as knows, running(US, lane) as us:
            us.head.settle()
            await us.meets(knows)
            await us.first_session()
            heard = us.head._sessions.heard((), ())
            assert not heard.whole | heard.failed | heard.empty


@pytest.mark.trio
async def test_an_empty_disk_waits_for_somebody_and_says_so(lane: list[Event]) -> None:
    learnt = trio.Event()
    async with running(TWO, lane) as knows, running(US, []) as us, trio.open_nursery() as nursery:
        with trio.fail_after(DEADLINE_S):
            nursery.start_soon(learn, us, learnt)
            with pytest.raises(UsageError) as refused:
                await us.head.known()
            assert refused.value.code == "head_unknown"
            await us.meets(knows)
            await learnt.wait()
        await us.head.known()
        assert await next_seq(us) == len(lane)


@pytest.mark.trio
async def test_a_node_that_waits_can_be_stopped() -> None:
    stop = trio.Event()
    async with running(US, []) as us, trio.open_nursery() as nursery:
        with trio.fail_after(DEADLINE_S):
            nursery.start_soon(partial(us.head.learn, unless=stop))
            with pytest.raises(UsageError):
                await us.head.known()
            stop.set()
    assert not us.head.is_known
