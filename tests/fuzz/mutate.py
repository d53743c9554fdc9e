"""Mutations: from bytes that a reader takes to bytes that it may not.

    structural   edits of one CBOR item or container, with everything around it kept in order (`structure`)
    raw          bit flips, deletions, insertions, cuts, numbers written over bytes; knows nothing of CBOR
    crossover    an item of one input in the place of another's; the front of one and the back of another

Knows CBOR and the places where encodings change. Does not know what any reader wants: what a format needs to
get past its own hashes and signatures is its target's `mend`.

Deterministic: all choices come from the `random.Random` that it was made with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from tests.fuzz import structure
from tests.fuzz.dictionary import EDGES, LINKS, PLAIN, TEXTS, VALUES, WORDS
from tests.fuzz.structure import BYTES, LIST, MAP, SIMPLE, TAG, TEXT, UINT, Item, head

T = TypeVar("T")
Spans = list[tuple[int, int, int]]
"""Of entries: where each begins, where its value begins (in a list the same), where it ends."""

GROWTH_MAX = 4096  # bytes that one repetition may add


class Mutator:
    """`others` gives another input of the corpus, to cross with; `items_of` may remember what it found."""

    def __init__(
        self,
        rng: Random,
        others: Callable[[], bytes],
        items_of: Callable[[bytes], list[Item]] = structure.items_of,
    ) -> None:
        self._random = rng.random
        self._bits = rng.getrandbits
        self._others = others
        self._items_of = items_of
        self._on_item: list[Callable[[bytes, Item], bytes]] = [
            self._value,
            self._value,
            self._edge,
            self._edge,
            self._edge,
            self._content,
            self._content,
            self._wrap,
            self._foreign,
            self._foreign,
            self._sibling,
            self._sibling,
            self._link,
            self._long_form,
            self._length,
            self._head,
            self._type,
        ]
        self._on_container: list[Callable[[bytes, Item, Spans], bytes]] = [
            self._drop,
            self._double,
            self._swap,
            self._swap,
            self._add,
            self._count,
            self._many,
        ]
        self._on_bytes: list[Callable[[bytes], bytes]] = [
            self._flip,
            self._flip,
            self._set,
            self._cut,
            self._remove,
            self._insert,
            self._number,
            self._repeat,
            self._join,
            self._tail,
        ]

    def below(self, limit: int) -> int:
        return int(self._random() * limit)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self._random() * len(choices))]

    def cbor(self, data: bytes) -> bytes:
        """One structural edit; now and then a second, or a raw one on top."""
        data = self._structural(data)
        luck = self._random()
        if luck < 0.08:
            data = self._structural(data)
        elif luck < 0.15:
            data = self.raw(data)
        return data

    def _structural(self, data: bytes) -> bytes:
        items = self._items_of(data)
        if not items:
            return self.raw(data)
        item = self.pick(items)
        if item.is_key and self._random() < 0.85:  # a wrong key ends every reader at once: seldom
            item = self.pick(items)
            if item.is_key:
                return self.raw(data)
        if self._random() < 0.35:
            container = item if item.major in (LIST, MAP) else item.parent
            while container is not None and container.major not in (LIST, MAP):
                container = container.parent
            if container is not None:
                return self.pick(self._on_container)(data, container, _entries(items, container))
        return self.pick(self._on_item)(data, item)

    def raw(self, data: bytes) -> bytes:
        """One to three edits that know nothing of what the bytes mean."""
        for _ in range(1 + (self._random() < 0.3) + (self._random() < 0.1)):
            data = self.pick(self._on_bytes)(data)
        return data

    # -- one item

    def _value(self, data: bytes, item: Item) -> bytes:
        return structure.replace(data, item, self.pick(PLAIN if self._random() < 0.6 else VALUES))

    def _edge(self, data: bytes, item: Item) -> bytes:
        """A number at the edge of something; for bytes and text: so many of them."""
        count = self.pick(EDGES)
        if item.major in (BYTES, TEXT) and count <= GROWTH_MAX:
            content = data[item.body : item.end] or b"a"
            return structure.replace(
                data, item, head(item.major, count) + (content * (count // len(content) + 1))[:count]
            )
        if item.major == UINT and self._random() < 0.3:
            count = max(0, item.count + self.pick((-1, 1, -2, 2)))
        return structure.replace(data, item, head(UINT if self._random() < 0.9 else 1, count))

    def _long_form(self, data: bytes, item: Item) -> bytes:
        """The same head in another width."""
        if item.major == SIMPLE:
            return structure.replace(data, item, bytes((0xF8, data[item.start] & 0x1F)))
        written = head(item.major, item.count, self.pick((0, 1, 2, 4, 8)))
        return structure.replace(data, item, written + data[item.body : item.end])

    def _length(self, data: bytes, item: Item) -> bytes:
        """One byte more or less of content, with or without the head knowing of it."""
        content = data[item.body : item.end]
        content = content[:-1] if self._random() < 0.5 else content + b"\x00"
        count = len(content) if item.major in (BYTES, TEXT) and self._random() < 0.8 else item.count
        return structure.replace(data, item, head(item.major, count) + content)

    def _content(self, data: bytes, item: Item) -> bytes:
        """Text from the list of odd texts; a flipped bit in bytes; another simple value."""
        if item.major == TEXT:
            text = self.pick(TEXTS)
            if self._random() < 0.3:
                text = data[item.body : item.end] + text
            return structure.replace(data, item, head(TEXT, len(text)) + text)
        content = data[item.body : item.end]
        if item.major == BYTES and content:
            return structure.replace(data, item, data[item.start : item.body] + self._flip(content))
        if item.major == SIMPLE:
            return structure.replace(data, item, bytes((0xE0 | self.below(32),)) + content)
        return structure.replace(data, item, self._flip(data[item.start : item.end]))

    def _wrap(self, data: bytes, item: Item) -> bytes:
        """Lists, maps, tags or byte strings around it: as deep as allowed, and one more."""
        inner = data[item.start : item.end]
        for _ in range(self.pick((1, 1, 1, 2, 4, 7, 8, 9))):
            wrapper = self.pick((b"\x81", b"\xa1\x61a", b"\xd8\x2a", b"\xc6", b""))
            inner = wrapper + inner if wrapper else head(BYTES, len(inner)) + inner
        return structure.replace(data, item, inner)

    def _foreign(self, data: bytes, item: Item) -> bytes:
        other = self._others()
        items = self._items_of(other)
        if not items:
            return self._join(data)
        taken = self.pick(items)
        return structure.replace(data, item, other[taken.start : taken.end])

    def _sibling(self, data: bytes, item: Item) -> bytes:
        taken = self.pick(self._items_of(data))
        return structure.replace(data, item, data[taken.start : taken.end])

    def _link(self, data: bytes, item: Item) -> bytes:
        return structure.replace(data, item, self.pick(LINKS))

    def _head(self, data: bytes, item: Item) -> bytes:
        """Another count than is true: one off, or a claim of very much."""
        count = self.pick((item.count + 1, max(0, item.count - 1), self.pick(EDGES), 2**64 - 1))
        if self._random() < 0.2:
            written = bytes((item.major << 5 | self.pick((28, 29, 30, 31)),))
        else:
            written = head(item.major, count)
        return structure.replace(data, item, written + data[item.body : item.end])

    def _type(self, data: bytes, item: Item) -> bytes:
        """Bytes for text, a list for a map, and so on, with the same count."""
        return structure.replace(data, item, head(self.below(8), item.count) + data[item.body : item.end])

    # -- a list or map; `entries` are its items, for a map key and value together

    def _drop(self, data: bytes, container: Item, entries: Spans) -> bytes:
        if not entries:
            return self._add(data, container, entries)
        first, _, last = self.pick(entries)
        return structure.resize(data, container, first, last, b"", -1)

    def _double(self, data: bytes, container: Item, entries: Spans) -> bytes:
        if not entries:
            return self._add(data, container, entries)
        if container.major == MAP and self._random() < 0.6:  # a key twice ends every reader at once
            return self._drop(data, container, entries)
        first, _, last = self.pick(entries)
        at = self.pick(entries)[2]
        return structure.resize(data, container, at, at, data[first:last], 1)

    def _swap(self, data: bytes, container: Item, entries: Spans) -> bytes:
        """Two entries change places; in a map mostly their values alone."""
        if len(entries) < 2:
            return self._add(data, container, entries)
        keep = self._random() < 0.8
        (a, e, b), (c, f, d) = sorted((self.pick(entries), self.pick(entries)))
        if keep:
            a, c = e, f
        if a == c:
            return self._double(data, container, entries)
        return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]

    def _add(self, data: bytes, container: Item, entries: Spans) -> bytes:
        """A new entry, for a map mostly where its key belongs."""
        value = self.pick(PLAIN if self._random() < 0.6 else VALUES)
        if container.major == LIST:
            at = self.pick(entries)[2] if entries else container.body
            return structure.resize(data, container, at, at, value, 1)
        text = self.pick(TEXTS) if self._random() < 0.5 else self.pick(WORDS)
        key = head(TEXT, len(text)) + text
        at = container.body
        for first, _, last in entries:
            if _order(data[first:last]) < _order(key):
                at = last
        if self._random() < 0.1 and entries:
            at = self.pick(entries)[2]
        return structure.resize(data, container, at, at, key + value, 1)

    def _count(self, data: bytes, container: Item, entries: Spans) -> bytes:
        """The container claims one more or less than it has."""
        at = container.body
        return structure.resize(data, container, at, at, b"", self.pick((-1, 1, 2, 2**16, 2**32)))

    def _many(self, data: bytes, container: Item, entries: Spans) -> bytes:
        """One entry many times over: past every limit of a list."""
        if not entries:
            return self._add(data, container, entries)
        first, _, last = self.pick(entries)
        times = min(self.pick((4, 8, 9, 10, 17, 33, 65, 101, 257, 513)), GROWTH_MAX // (last - first) + 1)
        return structure.resize(data, container, last, last, data[first:last] * times, times)

    # -- bytes

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return b"\x00"
        changed = bytearray(data)
        changed[self.below(len(data))] ^= 1 << self._bits(3)
        return bytes(changed)

    def _set(self, data: bytes) -> bytes:
        at = self.below(len(data) + 1)
        return data[:at] + bytes((self._bits(8),)) + data[at + 1 :]

    def _cut(self, data: bytes) -> bytes:
        return data[: self.below(len(data) + 1)]

    def _tail(self, data: bytes) -> bytes:
        """Something behind the end."""
        return data + self.pick((b"\x00", b"\xf6", b"\xa0", b"\x80", b"\xff", data))

    def _remove(self, data: bytes) -> bytes:
        at = self.below(len(data) + 1)
        return data[:at] + data[at + 1 + self.below(self.pick((1, 4, 40))) :]

    def _insert(self, data: bytes) -> bytes:
        at = self.below(len(data) + 1)
        new = self.pick(
            (bytes((self._bits(8),)), self.pick(VALUES), self.pick(TEXTS), self.pick(LINKS), self.pick(WORDS))
        )
        return data[:at] + new + data[at:]

    def _number(self, data: bytes) -> bytes:
        """A number written over one, two, four or eight bytes."""
        at = self.below(len(data) + 1)
        width = self.pick((1, 2, 4, 8))
        number = self.pick(EDGES) & (1 << 8 * width) - 1
        return data[:at] + number.to_bytes(width, "big") + data[at + width :]

    def _repeat(self, data: bytes) -> bytes:
        at = self.below(len(data) + 1)
        part = data[at : at + self.pick((1, 2, 8, 40))]
        return data[:at] + part * min(self.pick((1, 2, 16, 300)), GROWTH_MAX // max(1, len(part))) + data[at:]

    def _join(self, data: bytes) -> bytes:
        """The front of this one and the back of another."""
        other = self._others()
        at = self.below(len(data) + 1)
        return data[:at] + other[self.below(len(other) + 1) if self._random() < 0.5 else at :]


def _entries(items: Sequence[Item], container: Item) -> Spans:
    """Where the entries of a container are; the last one may be incomplete in broken bytes."""
    inner = [item for item in items if item.parent is container]
    if container.major == LIST:
        return [(item.start, item.start, item.end) for item in inner]
    return [(key.start, value.start, value.end) for key, value in zip(inner[::2], inner[1::2], strict=False)]


def _order(entry: bytes) -> tuple[int, bytes]:
    """DAG-CBOR sorts keys by length first; for a key with its value this is close enough."""
    size = entry[0] & 0x1F if entry else 0
    return size, entry[1 : 1 + size]


assert TAG == 6  # heads are built from these numbers
