"""Fetching a snapshot between whole hosts: from whoever has it, past those who lie or leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from ledger.cid import Cid
from ledger.errors import RemoteError, UsageError
from ledger.genesis import Genesis
from ledger.light import Anchor, check_age
from ledger.replica import Replica
from ledger.shelf import Shelf
from ledger.snapshot import Part
from ledger.snapshot_folder import SnapshotFolder
from network.host import Host
from network.snapshot_io import PATIENCE_S, Fetcher
from network.sync_answering import Answering
from network.sync_io import ANSWER_S
from network.sync_messages import PROTOCOL, Hello
from tests.ledger.test_snapshot_folder import with_steps
from tests.ledger.world import START, Author, anchor, feed, finalize, make_genesis, pay
from tests.network.conftest import tcp_host
from tests.network.ledgers import MemoryLedger

DAY = 86_400_000


class Source(MemoryLedger):
    """Gives out what a shelf has, unless it is told to lie, to leave or to deny it after some parts."""

    def __init__(
        self,
        replica: Replica,
        *,
        lies_after: int = 1_000,
        leaves_after: int = 1_000,
        denies_after: int = 1_000,
        rows_max: int = 400,
        before: Callable[[Part], None] = lambda part: None,
        greets: Callable[[], None] = lambda: None,
        offers: Callable[[], None] = lambda: None,
    ) -> None:
        """`rows_max`: bytes in a part; `before`, `greets`, `offers`: what happens before a part is given, a
        greeting, an offer."""
        super().__init__(net=replica.net)
        self.replica = replica
        self.shelf = Shelf(replica, rows_max=rows_max)
        self.before, self.greets, self.offers = before, greets, offers
        self.lies_after, self.leaves_after, self.denies_after = lies_after, leaves_after, denies_after
        self.asked: Counter[Part] = Counter()

    async def hello(self) -> Hello:
        self.greets()
        return Hello(*self.replica.hello())

    async def offer(self, above: int) -> bytes | None:
        self.offers()
        manifest = self.shelf.offer(above)
        return None if manifest is None else manifest.encode()

    async def part(self, checkpoint: Cid, part: Part) -> bytes | None:
        self.asked[part] += 1
        self.before(part)
        data = self.shelf.part(checkpoint, part)
        if self.asked.total() > self.leaves_after:
            raise RemoteError("it had something else to do", code="left")
        if data is None or self.asked.total() > self.denies_after:
            return None
        return data[:-1] + bytes((data[-1] ^ 1,)) if self.asked.total() > self.lies_after else data

    async def checkpoints(self, first: int, limit: int):
        return self.replica.store.run(first, limit)

    def serve(self, host: Host) -> None:
        host.handle(PROTOCOL, Answering(host, self, snapshots=self).answer)


def network(heights: int = 30, amount: int = 1) -> Replica:
    genesis = make_genesis(alice=10_000, **{f"friend{at}": 10 for at in range(40)})
    node, alice = anchor(genesis), Author(genesis, "alice")
    for at in range(heights):
        feed(node, alice.says(pay("bob", amount)))
        finalize(node, now=START + 10_000 + at)
    return node


NODE = network()


def believing(anchored: int | None) -> None:
    """Whatever its age."""


async def fetch(
    host: Host,
    *others: Host,
    genesis: Genesis = NODE.genesis,
    trusted: Anchor | None = None,
    limit_s: float = 60,
):
    for other in others:
        await host.dial(other.addresses()[0])
    with trio.fail_after(limit_s):
        return await Fetcher(host, genesis, trusted, believing).run()


async def test_a_host_without_a_ledger_gets_the_state_of_another():
    async with tcp_host(1) as a, tcp_host(2) as b:
        source = Source(NODE)
        source.serve(a)
        found = await fetch(b, a)
        assert found.state.root == NODE.state.root
        assert found.last == NODE.last
        assert len(source.asked) > 5
        assert set(source.asked.values()) == {1}


async def test_a_liar_is_found_at_its_first_lie_and_another_goes_on_from_there():
    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as c:
        liar, honest = sorted((a, b), key=lambda host: host.peer_id)  # the fetcher asks in this order
        lying, true = Source(NODE, lies_after=3), Source(NODE)
        lying.serve(liar)
        true.serve(honest)
        found = await fetch(c, liar, honest)
        assert found.state.root == NODE.state.root
        assert lying.asked.total() == 4
        assert not set(list(lying.asked)[:3]) & set(true.asked)
        assert c.counts["banned"] == 1


async def test_what_one_began_another_ends():
    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as c:
        first, second = sorted((a, b), key=lambda host: host.peer_id)
        leaving, staying = Source(NODE, leaves_after=4), Source(NODE)
        leaving.serve(first)
        staying.serve(second)
        found = await fetch(c, first, second)
        assert found.state.root == NODE.state.root
        assert not set(list(leaving.asked)[:4]) & set(staying.asked)
        assert c.counts["banned"] == 0


async def two(a: Host, b: Host, liar: Source, true: Source, c: Host) -> None:
    """`c` is connected to both, and asks the liar first."""
    first, second = sorted((a, b), key=lambda host: host.peer_id)
    liar.serve(first)
    true.serve(second)
    await c.dial(first.addresses()[0])
    await c.dial(second.addresses()[0])


async def test_nobody_is_blamed_for_where_another_cut():
    """The liar cuts the same state elsewhere, gives half of that and no more."""
    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as c:
        lying, true = Source(NODE, rows_max=200, leaves_after=8), Source(NODE)
        true.shelf.offer(0)  # it has cut it, and has an answer at once
        await two(a, b, lying, true, c)
        with trio.fail_after(60):
            found = await Fetcher(c, NODE.genesis, None, believing).run()
        assert found.state.root == NODE.state.root
        assert c.counts["banned"] == 0


async def test_who_has_not_what_it_offered_is_blamed_and_another_ends_it():
    """Else it could hold out a part for ever, and what it began would push out what others began."""
    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as c:
        lying, true = Source(NODE, rows_max=200, denies_after=8), Source(NODE)
        true.shelf.offer(0)
        await two(a, b, lying, true, c)
        with trio.fail_after(60):
            found = await Fetcher(c, NODE.genesis, None, believing).run()
        assert found.state.root == NODE.state.root
        assert (c.counts["blame.withheld"], c.counts["banned"]) == (1, 1)


async def test_nobody_is_blamed_for_the_steps_of_another(tmp_path: Path):
    """The liar says what nobody signed of all validators but the last, and no more."""
    node, _, manifest = with_steps()

    class Liar(Source):
        async def part(self, checkpoint: Cid, part: Part) -> bytes | None:
            kind, index = part
            await super().part(checkpoint, part)
            if index + 1 == manifest.steps:
                raise RemoteError("it had something else to do", code="left")
            return self.shelf.part(checkpoint, (kind, index + 1))

    folder = SnapshotFolder(tmp_path / "half")
    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as c:
        lying, true = Liar(node), Source(node)
        await two(a, b, lying, true, c)
        with trio.fail_after(60):
            found = await Fetcher(c, node.genesis, None, believing, folder=folder).run()
        assert lying.asked.total() == manifest.steps
        assert found.state.root == node.state.root
        assert c.counts["banned"] == 0
        [half] = folder.load(node.genesis, oldest=0)
        assert half.is_whole


async def test_who_takes_its_time_has_its_turn_and_no_more(mock_clock: trio.testing.MockClock):
    mock_clock.rate = 1
    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as c:
        slow, quick = Source(NODE, before=lambda part: mock_clock.jump(1)), Source(NODE)
        await two(a, b, slow, quick, c)
        found = await Fetcher(c, NODE.genesis, None, believing, turn_s=2.5).run()
        assert found.state.root == NODE.state.root
        assert slow.asked.total() <= 3
        assert not set(slow.asked) & set(quick.asked)
        assert c.counts["banned"] == 0


LATE_S = ANSWER_S * 2 / 3
"""Of an answer that is late, and in time."""


async def test_who_gives_a_part_now_and_then_leaves_the_rest_to_others(mock_clock: trio.testing.MockClock):
    """Its parts are true, and its turn begins before its greeting."""
    mock_clock.rate = 1

    def late(*_: object) -> None:
        mock_clock.jump(LATE_S)

    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as c:
        slow, quick = Source(NODE, greets=late, before=late), Source(NODE)
        await two(a, b, slow, quick, c)
        found = await Fetcher(c, NODE.genesis, None, believing).run()
        assert found.state.root == NODE.state.root
        assert slow.asked.total() == 1
        assert quick.asked.total() > 5
        assert not set(slow.asked) & set(quick.asked)
        assert c.counts["banned"] == 0


async def test_who_says_nothing_or_says_it_late_does_not_use_up_the_turns_of_others(
    mock_clock: trio.testing.MockClock,
):
    """Two are silent, and one answers late and gives no part: patience is over before the honest one has its
    first turn."""
    mock_clock.rate = 1
    since = trio.current_time()

    def late() -> None:
        mock_clock.jump(LATE_S)

    def silent() -> None:
        mock_clock.jump(ANSWER_S + 1)

    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as d, tcp_host(4) as e, tcp_host(5) as c:
        *bad, honest = sorted((a, b, d, e), key=lambda host: host.peer_id)
        sources = [
            Source(NODE, greets=silent),
            Source(NODE, greets=silent),
            Source(NODE, greets=late, offers=late),
        ]
        for source, host in zip(sources, bad, strict=True):
            source.serve(host)
        true = Source(NODE)
        true.serve(honest)
        found = await fetch(c, *bad, honest, limit_s=1_000)
        assert found.state.root == NODE.state.root
        assert [source.asked.total() for source in sources] == [0, 0, 0]
        assert true.asked.total() > 5
        assert trio.current_time() - since > PATIENCE_S


async def test_who_came_while_others_had_their_turns_is_asked_before_it_is_given_up(
    mock_clock: trio.testing.MockClock,
):
    mock_clock.rate = 1
    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as c:

        class Silent(Source):
            async def hello(self) -> Hello:
                if not c.is_connected(b.peer_id):
                    await c.dial(b.addresses()[0])
                mock_clock.jump(PATIENCE_S)
                return await super().hello()

        Silent(NODE).serve(a)
        true = Source(NODE)
        true.serve(b)
        found = await fetch(c, a, limit_s=1_000)
        assert found.state.root == NODE.state.root
        assert true.asked.total() > 5


async def test_nobody_is_blamed_for_a_history_that_another_gave():
    """Whole, and signed by validators of genesis; only then somebody knows the checkpoint that is trusted."""
    data, _ = NODE.store.checkpoints(7, 1)[0]
    trusted = Anchor(7, Cid.of(data))
    other = network(8, amount=2)

    class Unknowing(Source):
        async def checkpoints(self, first: int, limit: int):
            return (), b""

    async with tcp_host(1) as a, tcp_host(2) as b, tcp_host(3) as c:
        await two(a, b, Unknowing(other), Source(NODE), c)
        with trio.fail_after(60):
            found = await Fetcher(c, NODE.genesis, trusted, believing).run()
        assert found.state.root == NODE.state.root
        assert c.counts["banned"] == 0


async def test_an_anchor_must_be_in_the_history_of_what_is_taken():
    data, _ = NODE.store.checkpoints(7, 1)[0]
    async with tcp_host(1) as a, tcp_host(2) as b:
        Source(NODE).serve(a)
        found = await fetch(b, a, trusted=Anchor(7, Cid.of(data)))
        assert found.state.root == NODE.state.root


async def test_an_anchor_of_another_history_is_never_given_up(autojump_clock: trio.testing.MockClock):
    async with tcp_host(1) as a, tcp_host(2) as b:
        Source(NODE).serve(a)
        await b.dial(a.addresses()[0])
        with pytest.raises(UsageError) as refused:
            await Fetcher(b, NODE.genesis, Anchor(7, Cid.of(b"another")), believing).run()
        assert refused.value.code == "no_snapshot"
        assert b.counts["banned"] == 1


def test_genesis_alone_is_enough_as_long_as_nobody_can_have_left():
    created = NODE.genesis.created
    check_age(NODE.genesis, None, unbond_ms=14 * DAY, now=created + 14 * DAY)
    check_age(NODE.genesis, created + 30 * DAY, unbond_ms=14 * DAY, now=created + 40 * DAY)
    for anchored in (None, created + 5 * DAY):
        with pytest.raises(UsageError) as refused:
            check_age(NODE.genesis, anchored, unbond_ms=14 * DAY, now=created + 20 * DAY)
        assert refused.value.code == "needs_checkpoint"


def test_an_anchor_is_written_as_it_is_read():
    one = Anchor(7, Cid.of(b"it"))
    assert Anchor.parse(str(one)) == one
    for text in ("", "7", "7:", ":x", "0:" + str(one.id), "-1:" + str(one.id), "7:bafy", "9" * 30 + ":x"):
        with pytest.raises(UsageError):
            Anchor.parse(text)


async def test_after_a_restart_only_what_is_lacking_is_asked_for(tmp_path: Path):
    folder = SnapshotFolder(tmp_path / "half")
    async with tcp_host(1) as a, tcp_host(2) as b:
        leaving, staying = Source(NODE, leaves_after=4), Source(NODE)
        leaving.serve(a)
        await b.dial(a.addresses()[0])
        with trio.move_on_after(60) as life:

            def told(here: int, of: int) -> None:
                if here == 4:
                    life.cancel()

            await Fetcher(b, NODE.genesis, None, believing, told, folder).run()
        staying.shelf.offer(0)  # it has cut the same one
        staying.serve(a)
        halves = SnapshotFolder(tmp_path / "half").load(NODE.genesis, oldest=0)
        with trio.fail_after(60):
            again = Fetcher(b, NODE.genesis, None, believing, folder=folder, halves=halves)
            found = await again.run()
        assert found.state.root == NODE.state.root
        assert len(leaving.asked) == 4
        assert not set(leaving.asked) & set(staying.asked)
        assert set(staying.asked.values()) == {1}


async def test_half_of_another_history_is_not_kept(tmp_path: Path):
    folder = SnapshotFolder(tmp_path / "half")
    wrong = Anchor(7, Cid.of(b"another"))
    async with tcp_host(1) as a, tcp_host(2) as b:
        source = Source(NODE)
        source.serve(a)
        await b.dial(a.addresses()[0])
        fetcher = Fetcher(b, NODE.genesis, wrong, believing, folder=folder)
        other = network(8, amount=2).last
        assert other is not None
        fetcher._anchored = other.checkpoint
        with trio.fail_after(30):
            assert await fetcher._try(a.peer_id) is None
        assert b.counts["banned"] == 1
        assert folder.load(NODE.genesis, oldest=0) == []
