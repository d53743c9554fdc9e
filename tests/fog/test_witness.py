"""`fog witness` and the nodes that ask it: over real sockets, with real replicas and a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from domain.payloads import Transfer
from domain.rules import FogRules
from fog import witness
from fog.cosigning import Notes, Outside, outside
from fog.post import post
from fog.replica_thread import ReplicaThread
from ledger import merkle, notes
from ledger.database import connect
from ledger.errors import RemoteError, UsageError
from ledger.genesis import Allocation, Genesis, Validator
from ledger.notes import Note, TreeHead, witness_key
from ledger.replica import Replica
from ledger.signing import SigningKey
from ledger.store import Store
from ledger.witness import REQUEST_SIZE_MAX, Witness, origin_hash_of, request
from projections import serve

pytestmark = pytest.mark.trio

ALICE, BOB = SigningKey(bytes(31) + b"a"), SigningKey(bytes(31) + b"b")
NETWORK = Genesis(
    v=1,
    name="lab",
    created=1_700_000_000_000,
    rules=7,
    validators=(Validator(ALICE.public, 1),),
    accounts=(Allocation(ALICE.public, 1_000),),
    params={"epoch_checkpoints": 3},
)
ORIGIN = notes.origin_of(NETWORK.net)
NOW_S = 1_700_000_500


class Lone:
    """A replica that makes a checkpoint when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.now = NETWORK.created
        store = Store.create(f"sqlite:///{folder}/ledger.db", NETWORK)
        self.ledger = ReplicaThread(Replica.open(store, FogRules(), ALICE, validator=True), lambda: self.now)

    async def finalize(self) -> TreeHead:
        self.now += 1_000
        await self.ledger.append(Transfer(to=BOB.public, amount=1))
        assert (await self.ledger.call(self.ledger.replica.step, self.now)).final
        last = self.ledger.replica.last
        assert last is not None
        self.ledger.advanced.advance()
        return TreeHead(ORIGIN, last.checkpoint.n, last.checkpoint.eroot)

    def notes(self, file: Path, *witnesses: Outside, needed: int = 1, key: SigningKey = ALICE) -> Notes:
        return Notes(self.ledger, key, file, witnesses, needed)


@pytest.fixture
def validator(tmp_path: Path) -> Lone:
    return Lone(tmp_path)


def counted(cosigned: int, failed: int) -> dict[str, int]:
    return {"witness.cosigned": cosigned, "witness.failed": failed, "witness.unkept": 0}


@asynccontextmanager
async def witnessing(folder: Path, name: str, *, by_quorum: bool = False) -> AsyncIterator[Outside]:
    """A witness on a loopback port, as a node has it in its settings."""
    key = SigningKey(name.encode().rjust(32, b"."))
    engine = connect(f"sqlite:///{folder}/{name}.db")
    key_of_one = [] if by_quorum else [f"{NETWORK.net}/{ALICE.public.hex()}"]
    logs = witness.trusted(key_of_one, [NETWORK] if by_quorum else [])
    app = witness.create_app(Witness(engine, f"example.org/{name}", key, logs), lambda: NOW_S)
    stop, sock = trio.Event(), serve.listen()
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(partial(serve.serve, app, sock, shutdown=stop))
        (found,) = outside([f"{witness_key(f'example.org/{name}', key.public)} http://{host}:{port}/"])
        yield found
        stop.set()
    engine.dispose()


async def test_a_validator_signs_what_is_final(validator: Lone, tmp_path: Path) -> None:
    """Nothing before the first checkpoint, and nothing at all from who is no validator."""
    assert await validator.notes(tmp_path / "n").signed() is None
    head = await validator.finalize()
    note = await validator.notes(tmp_path / "n").signed()
    assert note is not None
    assert note.head() == head
    known = notes.validator_key(NETWORK.net, ALICE.public)
    assert list(notes.signers(notes.parse(note.encode()), [known])) == [known]
    assert await validator.notes(tmp_path / "n", key=BOB).signed() is None


async def test_witnesses_cosign_as_the_log_grows(validator: Lone, tmp_path: Path) -> None:
    """The first time the node does not know what the witness has, and asks twice."""
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(witnessing(tmp_path, name)) for name in ("one", "two")]
        mine = validator.notes(tmp_path / "cosigned.note", *both, needed=2)
        for _ in range(3):
            head = await validator.finalize()
            note = await mine.signed()
            assert note is not None
            await mine.cosign(note)
            kept = notes.parse(mine.cosigned() or b"")
            assert kept.head() == head
            assert notes.signers(kept, [one.key for one in both]) == {one.key: NOW_S for one in both}
        await validator.finalize()
        restarted = validator.notes(tmp_path / "cosigned.note", *(Outside(one.key, one.url) for one in both))
        note = await restarted.signed()
        assert note is not None
        assert notes.is_witnessed(await restarted.cosign(note), [one.key for one in both], 2)
        assert mine.counts == counted(cosigned=6, failed=0)


async def test_a_witness_that_knows_the_genesis_is_shown_that_it_is_final(
    validator: Lone, tmp_path: Path
) -> None:
    """Through epochs, after a restart of the node, and not for a tree that the validator only signed."""
    async with witnessing(tmp_path, "one", by_quorum=True) as one:
        mine = validator.notes(tmp_path / "cosigned.note", one)
        for at in range(9):
            head = await validator.finalize()
            note = await mine.signed()
            assert note is not None
            await (
                mine if at != 5 else validator.notes(tmp_path / "cosigned.note", Outside(one.key, one.url))
            ).cosign(note)
            assert notes.parse(mine.cosigned() or b"").head() == head
        made_up = TreeHead(ORIGIN, head.size, merkle.leaf_hash(b"another history"))
        split = await mine.cosign(Note(made_up.text(), (notes.sign(made_up, ALICE),)))
        assert notes.signers(split, [one.key]) == {}
        await validator.finalize()
        note = await mine.signed()
        assert note is not None
        assert notes.signers(await mine.cosign(note), [one.key]) == {one.key: NOW_S}


async def test_a_witness_that_followed_a_key_goes_on_by_the_genesis(validator: Lone, tmp_path: Path) -> None:
    """It was never shown who made final what it cosigned, and is shown it from the beginning."""
    for by_quorum in (False, True):
        async with witnessing(tmp_path, "one", by_quorum=by_quorum) as one:
            for _ in range(8):
                head = await validator.finalize()
                note = await validator.notes(tmp_path / "n").signed()
                assert note is not None
                await validator.notes(tmp_path / "cosigned.note", one).cosign(note)
                assert notes.parse((tmp_path / "cosigned.note").read_bytes()).head() == head


async def test_too_few_cosignatures_leave_the_older_note(validator: Lone, tmp_path: Path) -> None:
    """One witness is down: its line is missing, and what is kept stays as it was."""
    nobody = serve.listen()
    down = Outside(witness_key("example.org/down", BOB.public), "http://127.0.0.1:1")
    nobody.close()
    async with witnessing(tmp_path, "one") as one:
        mine = validator.notes(tmp_path / "cosigned.note", one, down, needed=2)
        await validator.finalize()
        note = await mine.signed()
        assert note is not None
        assert len((await mine.cosign(note)).lines) == 2
        assert mine.cosigned() is None
        assert mine.counts == counted(cosigned=1, failed=1)


async def test_another_validator_may_have_been_there_first(validator: Lone, tmp_path: Path) -> None:
    """The witness has a newer note: no cosignature for the older one, and no failure either."""
    async with witnessing(tmp_path, "one") as one:
        mine = validator.notes(tmp_path / "cosigned.note", one)
        await validator.finalize()
        older = await mine.signed()
        head = await validator.finalize()
        newer = Note(head.text(), (notes.sign(head, ALICE),))
        await validator.notes(tmp_path / "other.note", Outside(one.key, one.url)).cosign(newer)
        assert older is not None
        assert (await mine.cosign(older)).lines == older.lines
        assert mine.counts == counted(cosigned=0, failed=0)


async def test_a_witness_of_another_key_does_not_count(validator: Lone, tmp_path: Path) -> None:
    """Whoever answers at the address must sign with the key in the settings."""
    async with witnessing(tmp_path, "one") as one:
        other = Outside(witness_key(one.key.name, BOB.public), one.url)
        mine = validator.notes(tmp_path / "cosigned.note", other)
        await validator.finalize()
        note = await mine.signed()
        assert note is not None
        assert (await mine.cosign(note)).lines == note.lines
        assert mine.counts == counted(cosigned=0, failed=1)


async def test_the_newest_note_is_taken_by_itself(validator: Lone, tmp_path: Path) -> None:
    async with witnessing(tmp_path, "one") as one, trio.open_nursery() as nursery:
        mine = validator.notes(tmp_path / "cosigned.note", one)
        nursery.start_soon(mine.run, 1)
        head = await validator.finalize()
        with trio.fail_after(20):
            while (kept := mine.cosigned()) is None or notes.parse(kept).head() != head:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_a_full_disk_leaves_the_older_note_until_there_is_room(
    validator: Lone, tmp_path: Path, small_disk: Path
) -> None:
    """It is tried again and again, though nothing newer is final; and whoever runs it is not ended."""
    async with witnessing(tmp_path, "one", by_quorum=True) as one, trio.open_nursery() as nursery:
        mine = validator.notes(small_disk / "cosigned.note", one)
        older = await validator.finalize()
        note = await mine.signed()
        assert note is not None
        await mine.cosign(note)
        ballast = small_disk / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        head = await validator.finalize()
        nursery.start_soon(mine.run, 1)
        with trio.fail_after(20):
            while mine.counts["witness.unkept"] < 3:
                await trio.sleep(0.01)
        assert notes.parse(mine.cosigned() or b"").head() == older
        ballast.unlink()
        with trio.fail_after(20):
            while notes.parse(mine.cosigned() or b"").head() != head:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_http_says_what_the_specification_says(validator: Lone, tmp_path: Path) -> None:
    """Statuses and types on the wire, and the note for monitors."""
    head = await validator.finalize()
    note = Note(head.text(), (notes.sign(head, ALICE),))
    async with witnessing(tmp_path, "one") as one, httpx.AsyncClient(base_url=one.url) as client:
        where = f"/{origin_hash_of(ORIGIN)}/checkpoint"
        assert (await client.get(where)).status_code == 404
        answer = await client.post("/add-checkpoint", content=request(0, (), note))
        assert (answer.status_code, answer.text[:2]) == (200, "— ")
        answer = await client.post("/add-checkpoint", content=request(0, (), note))
        assert (answer.status_code, answer.text) == (409, f"{head.size}\n")
        assert answer.headers["content-type"] == "text/x.tlog.size"
        stranger = Note(note.text, (notes.Line("x", b"1234", b"5"),))
        assert (await client.post("/add-checkpoint", content=request(0, (), stranger))).status_code == 403
        too_much = bytes(REQUEST_SIZE_MAX + 1)
        assert (await client.post("/add-checkpoint", content=too_much)).status_code == 413
        assert (await client.get("/add-checkpoint")).status_code == 405
        kept = notes.parse((await client.get(where)).content)
        assert notes.signers(kept, [one.key]) == {one.key: NOW_S}


async def test_a_validator_that_splits_its_history_is_found_out(validator: Lone, tmp_path: Path) -> None:
    """It signs two trees of one size; the witness has seen one of them."""
    head = await validator.finalize()
    async with witnessing(tmp_path, "one") as one:
        mine = validator.notes(tmp_path / "cosigned.note", one)
        await mine.cosign(Note(head.text(), (notes.sign(head, ALICE),)))
        other = TreeHead(ORIGIN, head.size, merkle.leaf_hash(b"another history"))
        split = await mine.cosign(Note(other.text(), (notes.sign(other, ALICE),)))
        assert notes.signers(split, [one.key]) == {}
        assert notes.parse(mine.cosigned() or b"").head() == head


@pytest.mark.parametrize("url", ["", "x", "ftp://a", "http://", "http://a:b", "http://a b", "http://ä"])
async def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        await post(url, b"", size_max=1)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100)])
async def test_a_server_that_talks_nonsense_is_a_remote_error(answer: bytes) -> None:
    """Nothing, no HTTP, or more than was asked for."""

    async def talk(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, talk, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with trio.fail_after(20), pytest.raises(RemoteError):
            await post(f"http://127.0.0.1:{port}/x", b"hello", size_max=10)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "word", ["", "x", "x http://a", f"{notes.validator_key(NETWORK.net, ALICE.public)} http://a"]
)
async def test_a_witness_in_the_settings_is_a_key_and_a_url(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        outside([word])
    assert caught.value.code == "bad_witness"


async def test_of_several_keys_each_could_stop_a_witness() -> None:
    """So it takes one, or a genesis, of one network."""
    words = [f"{NETWORK.net}/{key.public.hex()}" for key in (ALICE, BOB)]
    for given in ((words,), (words[:1], [NETWORK])):
        with pytest.raises(UsageError) as caught:
            witness.trusted(*given)
        assert caught.value.code == "several_keys"
    assert witness.trusted([], [NETWORK]) == {ORIGIN: NETWORK}


@pytest.mark.parametrize("word", ["", "x/y", f"{NETWORK.net}/", f"{NETWORK.net}/00", "x/" + "00" * 32])
async def test_trust_is_a_network_and_a_key(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        witness.trusted([word])
    assert caught.value.code == "bad_trust"
