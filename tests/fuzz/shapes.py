"""Nasty shapes: bytes that were made to hurt a decoder, whatever format it expects.

Bombs are small on the wire and ask for much memory, time or stack; rows are damages that some decoder lets
through.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.fuzz.structure import BYTES, LIST, MAP, TEXT, head
from tests.ledger.test_canonical import refused_rows
from tests.ledger.test_decoding_bombs import nested_claims

HEAD = 9  # bytes of the longest head
SIZES = (900, 1_024, 1_025, 7_900)


def damages() -> Iterator[tuple[str, bytes]]:
    """One row a kind of damage, from the tests of the codec."""
    for row in refused_rows():
        yield str(row.id), row.values[0]


def bombs(sizes: tuple[int, ...] = SIZES) -> Iterator[tuple[str, bytes]]:
    for size in sizes:
        yield f"nested claims {size}", nested_claims(size)
        yield f"lists in lists {size}", b"\x81" * size
        yield f"maps in maps {size}", (b"\xa1\x61a" * size)[:size]
        yield f"tags of tags {size}", b"\xd8\x2a" * (size // 2)
        yield f"bytes in bytes {size}", _matryoshka(size)
        for name, item in (("lists", b"\x80"), ("maps", b"\xa0"), ("zeros", b"\x00"), ("nulls", b"\xf6")):
            yield f"many empty {name} {size}", head(LIST, size - HEAD) + item * (size - HEAD)
        yield f"text of marks {size}", _text("a" + "\u0323\u0301" * ((size - HEAD) // 4))
        yield f"text out of order {size}", _text("a" + "\u0301\u0323" * ((size - HEAD) // 4))
        yield f"text that composes {size}", _text("\u1112\u1161\u11ab" * (size // 9))
        yield f"text of one mark {size}", _text("\u0301" * ((size - HEAD) // 2))
        yield f"one long key {size}", head(MAP, 1) + _text("k" * (size - 2 * HEAD)) + b"\x00"
        yield f"one long key of controls {size}", head(MAP, 1) + _text("\x1b" * (size - 2 * HEAD)) + b"\x00"
        yield f"many keys {size}", _many_keys(size)
    yield "a list of 2^64 - 1", head(LIST, 2**64 - 1)
    yield "a map of 2^63", head(MAP, 2**63) + b"\x60\x00"
    yield "bytes of 2^63 - 1", head(BYTES, 2**63 - 1)
    yield "text of 2^32", head(TEXT, 2**32) + b"a"
    yield "nothing", b""


def _text(text: str) -> bytes:
    return head(TEXT, len(text.encode())) + text.encode()


def _matryoshka(size: int) -> bytes:
    inner = b"\xa0"
    while len(inner) + 3 < size:
        inner = head(BYTES, len(inner)) + inner
        inner = head(LIST, 1) + inner
    return inner


def _many_keys(size: int) -> bytes:
    count = (size - HEAD) // 7
    return head(MAP, count) + b"".join(_text(f"{number:05x}") + b"\x00" for number in range(count))
