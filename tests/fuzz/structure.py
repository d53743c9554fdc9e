"""CBOR as a mutator sees it: where every item begins and ends, also in bytes that are no longer valid.

The codec (`ledger.canonical`) refuses broken bytes; here they are what we make. So this reader is lenient: it
reports what it can tell apart and stops where it cannot. Byte strings that hold CBOR themselves (a header in
an event, wires in a batch) are opened too, so that an edit can reach below the first level.

What must always hold: an edit deep inside changes the lengths and counts around it, so that what arrives at
the inner reader is one wrong thing and not an envelope that no longer fits.
"""

from __future__ import annotations

UINT, NEGINT, BYTES, TEXT, LIST, MAP, TAG, SIMPLE = range(8)

ITEMS_MAX = 600  # of one input: more would make the edit of a large input slow, and add no new shapes
DEPTH_MAX = 24


class Item:
    """One CBOR item: `data[start:end]`, its head before `body`. `parent` is the item around it, if any."""

    __slots__ = ("body", "count", "end", "is_key", "major", "parent", "start")

    def __init__(
        self, start: int, body: int, end: int, major: int, count: int, parent: Item | None, is_key: bool
    ) -> None:
        self.start, self.body, self.end = start, body, end
        self.major, self.count, self.parent, self.is_key = major, count, parent, is_key


def items_of(data: bytes) -> list[Item]:
    """Every item, outer ones before inner ones; what is behind a broken head is left out."""
    found: list[Item] = []
    _read(data, 0, len(data), None, False, 0, found)
    return found


def _read(
    data: bytes, at: int, end: int, parent: Item | None, is_key: bool, depth: int, found: list[Item]
) -> int | None:
    """The end of the item at `at`, which must lie within `end`; None where there is none."""
    if at >= end or depth > DEPTH_MAX or len(found) >= ITEMS_MAX:
        return None
    start, major, count = at, data[at] >> 5, data[at] & 0x1F
    at += 1
    if count > 27:
        return None
    if count > 23:
        width = 1 << (count & 3)
        count = int.from_bytes(data[at : at + width], "big")
        at += width
    if major == SIMPLE:
        count = 0
    item = Item(start, at, at, major, count, parent, is_key)
    found.append(item)
    if major in (BYTES, TEXT):
        at += count
        if at > end:
            return None
        if major == BYTES and count > 1:
            _open(data, item, at, depth, found)
    elif major in (LIST, MAP, TAG):
        total = count * 2 if major == MAP else 1 if major == TAG else count
        for number in range(total):
            after = _read(data, at, end, item, major == MAP and number % 2 == 0, depth + 1, found)
            if after is None:
                item.end = at
                return None
            at = after
    item.end = at
    return at if at <= end else None


def _open(data: bytes, item: Item, end: int, depth: int, found: list[Item]) -> None:
    """Look into a byte string: kept only if all of it is one container."""
    if data[item.body] >> 5 not in (LIST, MAP):
        return
    known = len(found)
    if _read(data, item.body, end, item, False, depth + 1, found) != end:
        del found[known:]


def head(major: int, count: int, width: int | None = None) -> bytes:
    """A head in its shortest form, or (`width` 0, 1, 2, 4, 8 bytes of count) in a chosen one."""
    if width is None:
        width = (
            0
            if count < 24
            else 1
            if count < 1 << 8
            else 2
            if count < 1 << 16
            else 4
            if count < 1 << 32
            else 8
        )
    if width == 0:
        return bytes((major << 5 | count & 0x1F,))
    code = {1: 24, 2: 25, 4: 26, 8: 27}[width]
    return bytes((major << 5 | code,)) + (count & (1 << 8 * width) - 1).to_bytes(width, "big")


def replace(data: bytes, item: Item, new: bytes) -> bytes:
    """`data` with this item written anew; byte strings around it get their new length."""
    return _spliced(data, item.start, item.end, new, item.parent, 0)


def resize(data: bytes, container: Item, start: int, end: int, new: bytes, more: int) -> bytes:
    """`data[start:end]`, in a list or map, written anew; the container then counts `more` items."""
    return _spliced(data, start, end, new, container, more)


def _spliced(data: bytes, start: int, end: int, new: bytes, parent: Item | None, more: int) -> bytes:
    edits = [(start, end, new)]
    growth = len(new) - (end - start)
    while parent is not None:
        is_counted = more and parent.major in (LIST, MAP)
        if is_counted or (growth and parent.major == BYTES):
            count = max(0, parent.count + (more if is_counted else growth))
            written = head(parent.major, count)
            edits.append((parent.start, parent.body, written))
            growth += len(written) - (parent.body - parent.start)
        more = 0
        parent = parent.parent
    parts, at = [], 0
    for first, last, text in reversed(edits):  # outer heads come first in the bytes
        parts += (data[at:first], text)
        at = last
    parts.append(data[at:])
    return b"".join(parts)
