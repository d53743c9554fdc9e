"""What two sides of a reconciliation say, in bytes: consecutive ranges, and of each what is known of it.

    frame        span…
    span         head, upper bound, what is said of [upper bound of the span before, this upper bound)
    head         one byte: 0 skip, 1 fingerprint, 2 items, 3 list, 8 names; plus 4 when the upper bound is the
                 end
    upper bound  (absent at the end) shared, length, bytes: so many bytes as the bound before, then these
    fingerprint  16 bytes
    items        how many (LEB128), then of each: shared, bytes: so many as the item before, then the rest
    names        how many (LEB128), then of each item its NAME_SIZE bytes, ascending

`shared` and `length` are one byte. The first bound continues the empty string; the first item of a span its
lower bound. Everything ascends. The bytes are the only encoding of what they say: others are refused.

A name is the beginning of a hash of the item with a salt that the asker chose for this session. An item whose
name is another's is missed once, by chance and by nobody's choice: who makes an item does not know the salt.

A frame has a limit. `FrameWriter` says how far it came; what does not fit is for the next frame.

Fuzz contract: `decode_frame` returns a value or raises RemoteError (`oversize`, `bad_frame`).
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from ledger.errors import RemoteError
from ledger.item_set import FINGERPRINT_SIZE, common

WIDTH_MAX: Final = (
    80  # bytes in an item: bounds and `shared` are counted in one byte, and FRAME_MIN holds one
)
_BOUND_MAX: Final = 3 + WIDTH_MAX  # bytes that a head and a bound take at most
FRAME_MIN: Final = 256
"""The smallest limit under which every frame says something: a skip, then one span of one item."""
assert 2 * _BOUND_MAX + 2 + 1 + WIDTH_MAX <= FRAME_MIN

COUNT_MAX: Final = 2**14 - 1  # items in one span: two bytes say how many
NAME_SIZE: Final = 6
"""Bytes. An item that is lacking is missed when one of those named in its range has its name: with a hundred
of them, once in 3 * 10^12."""
SALT_SIZE: Final = 8  # bytes: too many salts to look for items with one name under each
_END: Final = 4


class Mode(enum.IntEnum):
    SKIP = 0  # nothing to say of it
    FINGERPRINT = 1
    ITEMS = 2
    LIST = 3  # a question: name all that you have there
    NAMES = 8  # a question: give what these do not name


class Span(NamedTuple):
    """`lower` included, `upper` not; an upper bound at the end of everything is longer than any item."""

    lower: bytes
    upper: bytes
    mode: Mode
    fingerprint: bytes = b""
    items: tuple[bytes, ...] = ()  # or their names


def name_of(item: bytes, salt: bytes) -> bytes:
    return hashlib.sha256(salt + item).digest()[:NAME_SIZE]


class FrameWriter:
    """Puts spans into one frame of at most `limit` bytes, in ascending order, as far as they fit."""

    def __init__(self, width: int, limit: int) -> None:
        assert width <= WIDTH_MAX
        assert limit >= FRAME_MIN, f"a frame of {limit} bytes, at least {FRAME_MIN} are needed"
        self._end = b"\xff" * (width + 1)
        self._limit = limit
        self._data = bytearray()
        self._at = b""  # the last bound written

    def __len__(self) -> int:
        return len(self._data)

    def add_fingerprint(self, lower: bytes, upper: bytes, fingerprint: bytes) -> bool:
        """Whether it fitted."""
        return self._add(lower, self._bound(lower, upper, Mode.FINGERPRINT) + fingerprint, upper)

    def add_list(self, lower: bytes, upper: bytes) -> bool:
        """Whether it fitted."""
        return self._add(lower, self._bound(lower, upper, Mode.LIST), upper)

    def add_items(self, lower: bytes, upper: bytes, items: Iterable[bytes]) -> bytes:
        """All items of a range, as far as they fit: the bound below which all is said (`lower`: nothing)."""
        skip = self._skip(lower)
        room = self._limit - len(self._data) - len(skip) - _BOUND_MAX - 2
        count, before, listed = 0, lower, bytearray()
        for item in items:
            said = _continued(before, item)
            if len(listed) + len(said) > room or count == COUNT_MAX:
                upper = item[: common(before, item) + 1] if count else lower
                break
            count, before = count + 1, item
            listed += said
        if room < 0 or upper == lower:
            return lower
        self._data += skip + self._bound(lower, upper, Mode.ITEMS) + _leb128(count) + listed
        self._at = upper
        return upper

    def add_names(self, lower: bytes, upper: bytes, items: Sequence[bytes], salt: bytes) -> bytes:
        """The names of all items of a range, as far as they fit: as `add_items` does."""
        room = self._limit - len(self._data) - len(self._skip(lower)) - _BOUND_MAX - 2
        fit = min(max(0, room // NAME_SIZE), COUNT_MAX)
        if len(items) > fit:
            upper = items[fit][: common(items[fit - 1], items[fit]) + 1] if fit else lower
        if room < 0 or upper == lower:
            return lower
        self._put_names(lower, upper, sorted({name_of(item, salt) for item in items[:fit]}))
        return upper

    def _put_names(self, lower: bytes, upper: bytes, names: Sequence[bytes]) -> None:
        self._data += self._skip(lower) + self._bound(lower, upper, Mode.NAMES) + _leb128(len(names))
        self._data += b"".join(names)
        self._at = upper

    def finish(self, upper: bytes) -> bytes:
        """The frame, with nothing more to say below `upper`; without that, if there is no room for it."""
        skip = self._skip(upper)
        if len(self._data) + len(skip) <= self._limit:
            self._data += skip
        return bytes(self._data)

    def _add(self, lower: bytes, said: bytes, upper: bytes) -> bool:
        said = self._skip(lower) + said
        if len(self._data) + len(said) > self._limit:
            return False
        self._data += said
        self._at = upper
        return True

    def _skip(self, upper: bytes) -> bytes:
        return self._bound(self._at, upper, Mode.SKIP) if upper > self._at else b""

    def _bound(self, lower: bytes, upper: bytes, mode: Mode) -> bytes:
        if upper == self._end:
            return bytes((mode + _END,))
        shared = common(lower, upper)
        return bytes((mode, shared, len(upper) - shared)) + upper[shared:]


def encode_frame(spans: Iterable[Span], *, width: int) -> bytes:
    """Spans that follow each other, whatever they take."""
    writer = FrameWriter(width, 2**40)
    upper = b""
    for span in spans:
        upper = span.upper
        if span.mode is Mode.FINGERPRINT:
            writer.add_fingerprint(span.lower, upper, span.fingerprint)
        elif span.mode is Mode.ITEMS:
            writer.add_items(span.lower, upper, span.items)
        elif span.mode is Mode.LIST:
            writer.add_list(span.lower, upper)
        elif span.mode is Mode.NAMES:
            writer._put_names(span.lower, upper, span.items)
    return writer.finish(upper)


def decode_frame(frame: bytes, *, width: int, size_max: int) -> list[Span]:
    """At least one span, over items of `width` bytes."""
    if len(frame) > size_max:
        raise RemoteError(f"a frame of {len(frame)} bytes, at most {size_max} are allowed", code="oversize")
    reader = _Reader(frame, width)
    spans: list[Span] = []
    while not spans or reader.has_more:
        spans.append(reader.span(spans[-1].upper if spans else b""))
    if encode_frame(spans, width=width) != frame:
        raise _bad("not the shortest way to say it")
    return spans


class _Reader:
    def __init__(self, data: bytes, width: int) -> None:
        self._data, self._at, self._width = data, 0, width

    @property
    def has_more(self) -> bool:
        return self._at < len(self._data)

    def span(self, lower: bytes) -> Span:
        head = self._byte()
        if head & ~_END not in (*Mode,):
            raise _bad(f"a span of an unknown kind, {head}")
        mode = Mode(head & ~_END)
        upper = b"\xff" * (self._width + 1) if head & _END else self._continued(lower, None)
        if upper <= lower:
            raise _bad("bounds that do not ascend")
        if mode is Mode.FINGERPRINT:
            return Span(lower, upper, mode, fingerprint=self._take(FINGERPRINT_SIZE))
        if mode is Mode.ITEMS:
            return Span(lower, upper, mode, items=self._items(lower, upper))
        if mode is Mode.NAMES:
            return Span(lower, upper, mode, items=self._names())
        return Span(lower, upper, mode)

    def _items(self, lower: bytes, upper: bytes) -> tuple[bytes, ...]:
        items: list[bytes] = []
        for _ in range(self._count()):
            item = self._continued(items[-1] if items else lower, self._width)
            if not lower <= item < upper or (items and item <= items[-1]):
                raise _bad("items that do not ascend within their range")
            items.append(item)
        return tuple(items)

    def _names(self) -> tuple[bytes, ...]:
        names = [self._take(NAME_SIZE) for _ in range(self._count())]
        if any(after <= before for before, after in pairwise(names)):
            raise _bad("names that do not ascend")
        return tuple(names)

    def _count(self) -> int:
        count = self._byte()
        return count if count < 128 else count + (self._byte() - 1) * 128

    def _continued(self, before: bytes, size: int | None) -> bytes:
        shared = self._byte()
        length = self._byte() if size is None else size - shared
        if shared > len(before) or length < 0 or shared + length > self._width:
            raise _bad("more bytes than an item has")
        return before[:shared] + self._take(length)

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise _bad("it ends too early")
        self._at += size
        return taken


def _continued(before: bytes, item: bytes) -> bytes:
    shared = common(before, item)
    return bytes((shared,)) + item[shared:]


def _leb128(count: int) -> bytes:
    return bytes((count,)) if count < 128 else bytes((count % 128 + 128, count // 128))


def _bad(why: str) -> RemoteError:
    return RemoteError(f"not a frame of a reconciliation: {why}", code="bad_frame")
