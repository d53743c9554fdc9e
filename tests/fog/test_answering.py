"""No question of a stranger ends a node: each is asked of a real one, with the largest numbers there are."""

from __future__ import annotations

import pytest
import trio

from fog.replica_thread import ReplicaThread
from ledger.cid import Cid
from ledger.types import INT63_MAX
from network.sync_answering import Answering
from network.sync_messages import (
    CHECKPOINTS_MAX,
    FRAME_SIZE_MAX,
    PROTOCOL,
    Checkpoints,
    Events,
    GetCheckpoints,
    GetIds,
    GetPart,
    GetRanges,
    GetSnapshot,
    GetVotes,
    Message,
    Offered,
    PartOf,
    Votes,
    decode_answer,
    encode,
)
from tests.ledger.world import Author, anchor, feed, finalize, make_genesis, pay
from tests.network.conftest import tcp_host

pytestmark = pytest.mark.trio

NOBODY = bytes(32)
NOTHING = Cid.of(b"nothing")
QUESTIONS: tuple[tuple[Message, type[Message]], ...] = (
    (GetCheckpoints(INT63_MAX, CHECKPOINTS_MAX), Checkpoints),
    (GetCheckpoints(INT63_MAX - 1, 1), Checkpoints),
    (GetRanges(((NOBODY, 0, 0, INT63_MAX), (NOBODY, 255, INT63_MAX, INT63_MAX))), Events),
    (GetIds((NOTHING,)), Events),
    (GetVotes(INT63_MAX, INT63_MAX), Votes),
    (GetVotes(0, INT63_MAX), Votes),
    (GetSnapshot(INT63_MAX), Offered),
    (GetPart(NOTHING, "rows", 2**16 - 1), PartOf),
    (GetCheckpoints(1, CHECKPOINTS_MAX), Checkpoints),
)


async def test_whatever_number_a_stranger_names_it_is_answered() -> None:
    genesis = make_genesis(alice=10)
    node = anchor(genesis)
    feed(node, Author(genesis, "alice").says(pay("bob", 1)))
    finalize(node)
    async with tcp_host(1) as a, tcp_host(2) as b:
        ledger = ReplicaThread(node, lambda: 0)
        a.handle(PROTOCOL, Answering(a, ledger, snapshots=ledger).answer)
        await b.dial(a.addresses()[0])
        async with await b.open(a.peer_id, PROTOCOL) as stream:
            await stream.write_frame(encode(await ledger.hello()))
            await stream.read_frame(size_max=FRAME_SIZE_MAX)
            with trio.fail_after(30):
                for question, kind in QUESTIONS:
                    await stream.write_frame(encode(question))
                    answer = decode_answer(await stream.read_frame(size_max=FRAME_SIZE_MAX))
                    assert isinstance(answer, kind), question
    assert isinstance(answer, Checkpoints)
    assert len(answer.items) == 1
