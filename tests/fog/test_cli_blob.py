"""`fog blob`: what it asks of a node, how it says the answer, and what a node does of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fog import blob_methods as methods
from fog.blob_handlers import BlobHandlers
from fog.blob_methods import BlobGc, BlobLine, BlobNamed, BlobsState
from fog.cli import run
from fog.exits import Exit
from fog.methods import Message, Nothing
from ledger.cid import Cid
from ledger.errors import UsageError
from network.blobs import BlockStore
from tests.fog.test_cli_node import CID, node
from tests.fog.test_cli_node import socket as socket

Capture = pytest.CaptureFixture[str]

STATE = BlobsState(
    used=3 << 20,
    limit=2_048 << 20,
    needed=1 << 20,
    pinned=[BlobLine(cid=CID, here=True), BlobLine(cid=CID[:-1] + "a", here=False)],
    freed=2 << 20,
)


def test_it_shows_what_is_used_and_what_stays(socket: Path, capsys: Capture) -> None:
    with node(socket, "blob.list", STATE):
        assert run(["blob", "list"]) == Exit.OK
    said = capsys.readouterr().out
    for line in ("3.0 of 2,048.0 MiB", "1.0 MiB: pinned, or still owed", CID, "(not all of it is here)"):
        assert line in said
    with node(socket, "blob.list", STATE):
        assert run(["blob", "list", "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["pinned"][0] == {"cid": CID, "here": True}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pin", CID], "pinned; 1.0 MiB must stay now"),
        (["unpin", CID], "not pinned any more"),
        (["gc"], "2.0 MiB are free again; 3.0 MiB are left"),
    ],
)
def test_it_says_what_was_done(socket: Path, capsys: Capture, words: list[str], said: str) -> None:
    with node(socket, f"blob.{words[0]}", STATE) as asked:
        assert run(["blob", *words]) == Exit.OK
    assert asked == [{"unused_ms": 3_600_000} if len(words) == 1 else {"cid": CID}]
    assert said in capsys.readouterr().out


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    return BlockStore(tmp_path / "blobs")


async def silent(progress: Message) -> None:
    raise AssertionError("no progress is told")


@pytest.mark.trio
async def test_a_pinned_blob_stays_and_all_others_go(store: BlockStore) -> None:
    handlers = BlobHandlers(store)
    cid = store.add(b"precious")
    store.add(b"loose")
    state = await handlers.pin(BlobNamed(cid=str(cid)), silent)
    assert (state.used, state.needed) == (13, 8)
    state = await handlers.gc(BlobGc(), silent)
    assert (state.used, state.freed) == (13, 0), "all of it was used a moment ago"
    state = await handlers.gc(BlobGc(unused_ms=0), silent)
    assert (state.used, state.freed) == (8, 5)
    assert state.pinned == [BlobLine(cid=str(cid), here=True)]
    state = await handlers.unpin(BlobNamed(cid=str(cid)), silent)
    assert (state.used, state.needed, state.pinned) == (8, 0, [])


@pytest.mark.trio
async def test_a_blob_that_is_not_here_yet_can_be_pinned(store: BlockStore) -> None:
    handlers = BlobHandlers(store)
    for cid in (Cid.of_raw(b"later"), Cid.of(b"later")):
        await handlers.pin(BlobNamed(cid=str(cid)), silent)
    state = await handlers.list(Nothing(), silent)
    assert [line.here for line in state.pinned] == [False, False]


@pytest.mark.trio
async def test_what_is_no_name_and_what_is_not_pinned_are_refused(store: BlockStore) -> None:
    handlers = BlobHandlers(store)
    for code, cid in (("bad_cid", "../../etc/passwd"), ("not_pinned", str(Cid.of_raw(b"x")))):
        with pytest.raises(UsageError) as refused:
            await handlers.unpin(BlobNamed(cid=cid), silent)
        assert refused.value.code == code
        assert refused.value.next_step
    with pytest.raises(UsageError):
        await handlers.pin(BlobNamed(cid="../x"), silent)


def test_every_method_has_a_handler(store: BlockStore) -> None:
    assert BlobHandlers(store).table().keys() == methods.PARAMS.keys()
