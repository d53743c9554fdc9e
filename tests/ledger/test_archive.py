"""Archives: the same bytes on every node, in one documented order, readable by people too."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import archive, canonical, car
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.store import Store
from tests.ledger.histories import History, talk


def blocks_of(history: History) -> Iterator[tuple[archive.Kind, bytes]]:
    """What an archive holds, written down a second time, from the documentation."""
    events = {e.id: e for step in history.steps for e in (*step.events, *step.rivals)}
    yield "genesis", history.genesis.encode()
    for step in history.steps:
        if step.final is None:
            continue
        decided, _ = step.final
        yield "checkpoint", decided.checkpoint.encode()
        if decided.shown is not None:
            yield "certificate", decided.shown.encode()
        yield "delta", canonical.encode(list(decided.order))
        for id in decided.order:
            event = events[id]
            assert event.body is not None
            yield "event", event.header_bytes
            yield "signature", canonical.encode({"h": id, "s": event.signature})
            yield "body", event.body
    if history.last is not None:
        yield "finality", history.last.final.encode()


def roots_of(history: History) -> list[Cid]:
    return [history.net] if history.last is None else [history.last.checkpoint.id, history.net]


def archive_of(history: History) -> bytes:
    return car.header(roots_of(history)) + b"".join(car.block(data) for _, data in blocks_of(history))


def written(store: Store) -> bytes:
    out = io.BytesIO()
    archive.write(store, out)
    return out.getvalue()


def test_every_node_at_one_height_writes_the_same_bytes(database_url: Callable[[], str]) -> None:
    """Another database, another order of arrival, events that are not final yet: not one byte differs."""
    history = talk()
    one = history.write_to(Store.create("sqlite://", history.genesis))
    other = Store.create(database_url(), history.genesis)
    for step in reversed([step for step in history.steps if step.final is None]):
        for event in (*step.rivals, *step.events):
            other.add((), rivals=[event])
    for step in history.steps:
        if step.final is not None:
            step.write_to(other)
    one.add([history.draft("dave")])
    assert written(one) == written(other) == archive_of(history)


def test_an_archive_holds_the_documented_blocks_in_order() -> None:
    """Roots, kinds and contents, one by one."""
    history = talk()
    roots, entries = archive.read(io.BytesIO(archive_of(history)))
    assert list(roots) == roots_of(history)
    assert [(entry.kind, entry.block.data) for entry in entries] == list(blocks_of(history))


def test_before_the_first_checkpoint_there_is_only_genesis() -> None:
    """An archive of height 0 has one root and one block."""
    history = History()
    store = Store.create("sqlite://", history.genesis)
    out = io.BytesIO()
    assert archive.write(store, out) == 0
    roots, entries = archive.read(io.BytesIO(out.getvalue()))
    assert roots == (history.net,)
    assert [entry.kind for entry in entries] == ["genesis"]


def test_people_get_one_line_of_dag_json_for_each_block() -> None:
    """Links as {"/": cid}, bytes as {"/": {"bytes": base64}}, keys sorted: what stock IPLD tools read."""
    history = talk()
    lines = [json.loads(line) for line in archive.lines(io.BytesIO(archive_of(history)))]
    assert [line["block"] for line in lines] == [kind for kind, _ in blocks_of(history)]
    assert lines[0]["value"]["name"] == "a small network"
    event = next(line for line in lines if line["block"] == "event")
    signature = next(line for line in lines if line["block"] == "signature")
    assert signature["value"]["h"] == event["cid"]
    assert set(event["value"]["by"]) == {"/"}
    assert next(line for line in lines if line["block"] == "body")["value"] == {"text": "hello"}


def test_a_body_that_looks_like_a_link_stays_bytes() -> None:
    """DAG-JSON keeps the key "/" for itself, so an author's "/" must not become somebody's link."""
    assert archive.dag_json({"a": {"/": "bafy"}}) == '{"a":{"/":{"bytes":"oWEvZGJhZnk"}}}'
    assert archive.dag_json([1, "é", None, True, b"\x00"]) == '[1,"é",null,true,{"/":{"bytes":"AA"}}]'


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "ends inside a length"),
        (lambda data: b"\x80\x00" + data, "shortest form"),
        (lambda data: b"\xff\xff\xff\xff" + data, "more than 3 bytes"),
        (lambda data: b"\xff\x7f" + data, "at most"),
        (lambda data: data[:-1], "1 bytes too early"),
        (lambda data: data + b"\x05hello", "too short"),
        (lambda data: data + car.block(b"\xa0"), "goes on behind its end"),
        (lambda data: b"\x01\xa0" + data, "not the header"),
    ],
)
def test_framing_that_is_not_ours_is_refused(damage: Callable[[bytes], bytes], message: str) -> None:
    """Each with the byte at which it goes wrong."""
    with pytest.raises(RemoteError, match=message) as caught:
        list(archive.read(io.BytesIO(damage(archive_of(talk()))))[1])
    assert caught.value.code == "bad_archive"


def test_a_raw_block_has_no_place_in_an_archive() -> None:
    """The same bytes under a raw Cid would be a second way to write the same archive."""
    data = archive_of(talk())
    genesis = talk().genesis.encode()
    raw = data.replace(Cid.of(genesis) + genesis, Cid.of_raw(genesis) + genesis)
    assert raw != data
    with pytest.raises(RemoteError, match="raw block"):
        list(archive.read(io.BytesIO(raw))[1])


@given(st.binary(max_size=200))
def test_reading_rubbish_is_refused_and_nothing_else(data: bytes) -> None:
    """The fuzz contract: blocks, or RemoteError."""
    header = car.header([Cid.of(b"")])
    for candidate in (data, header + data):
        try:
            list(archive.read(io.BytesIO(candidate))[1])
        except RemoteError as error:
            assert error.code == "bad_archive"  # noqa: PT017
