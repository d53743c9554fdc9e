"""Small bytes that ask for much memory: refused before the decoder believes them."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.event import Event, parse
from tests.ledger.world import Author, make_genesis, pay

GENESIS = make_genesis(alice=1)


def nested_claims(size: int) -> bytes:
    """Lists inside each other, each of which claims all the bytes behind it as its items."""
    bomb = bytearray()
    while len(bomb) + 5 < size:
        left = size - len(bomb) - 5
        bomb += b"\x9a" + struct.pack(">I", left) if left >= 65_536 else b"\x99" + struct.pack(">H", left)
        if left < 300:
            break
    return bytes(bomb) + b"\x80" * (size - len(bomb))


@pytest.mark.parametrize("size", [900, 1024, 1025, 16_384, 65_536, 262_144])
def test_nested_claims_reserve_no_memory(size: int):
    """Without a look at the depth first, 64 KiB of this reserve gigabytes and take seconds."""
    tracemalloc.start()
    try:
        with pytest.raises(RemoteError) as refused:
            canonical.decode(nested_claims(size), size_max=size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.code == "non_canonical"
    assert peak < 4 * 1024 * 1024


@pytest.mark.parametrize("where", ["wire", "body"])
def test_a_bomb_inside_an_event_is_refused(where: str):
    event: Event = Author(GENESIS, "alice").says(pay("bob", 1))
    bomb = nested_claims(16_000)
    if where == "body":
        bomb = Author(GENESIS, "alice").says(bomb).wire
    with pytest.raises(RemoteError) as refused:
        parse(bomb, net=GENESIS.net)
    assert refused.value.code == "non_canonical"
    assert parse(event.wire, net=GENESIS.net) == event


@pytest.mark.parametrize("depth", [canonical.DEPTH_MAX, canonical.DEPTH_MAX + 1])
@pytest.mark.parametrize("padding", [0, 5_000])
def test_depth_is_judged_alike_with_and_without_the_first_look(depth: int, padding: int):
    """8 containers inside each other pass, 9 do not; long bytes and short ones, lists and maps."""
    value: object = b"x" * padding
    for level in range(depth):
        value = [1, value] if level % 2 else {"k": value, "n": 2}
    data = canonical.encode(value)
    if depth <= canonical.DEPTH_MAX:
        assert canonical.decode(data, size_max=10_000) == value
    else:
        with pytest.raises(RemoteError, match="containers"):
            canonical.decode(data, size_max=10_000)


@pytest.mark.parametrize("item", [b"\x80", b"\xa0", b"\x00", b"\xf6", b"\x60"], ids=bytes.hex)
def test_a_megabyte_of_small_items_is_refused_before_it_becomes_many(item: bytes):
    """Each byte would be an object of 64 and a place in a list: one frame of sync would be 80 MB."""
    data = b"\x9a" + struct.pack(">I", 2**20) + item * 2**20
    tracemalloc.start()
    try:
        with pytest.raises(RemoteError, match="too many items") as refused:
            canonical.decode(data, size_max=len(data))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.code == "non_canonical"
    assert peak < 1024 * 1024


def test_as_many_items_as_a_body_has_bytes_are_read():
    """What the author of an event may say is not less than before."""
    value = [0] * (canonical.ITEMS_MAX - 1)
    assert canonical.decode(canonical.encode(value), size_max=2**17) == value
    with pytest.raises(RemoteError, match="too many items"):
        canonical.decode(canonical.encode([*value, 0]), size_max=2**17)


def test_the_densest_of_our_own_formats_passes():
    """A job of 70,000 inputs with names of one character fills the largest description, and can be read."""
    inputs = [{"cid": Cid.of_raw(b"x"), "name": chr(97 + number % 26), "size": 0} for number in range(256)]
    value = {"shards": [inputs] * 270}
    data = canonical.encode(value)
    assert 4_000_000 < len(data) < 2**22
    assert canonical.decode(data, size_max=2**22) == value
