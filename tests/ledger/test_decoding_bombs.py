"""Small bytes that ask for much memory: refused before the decoder believes them."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from ledger import canonical
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
