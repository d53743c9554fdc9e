"""A set that tells how much it holds between two bounds: against the plain way to compute the same."""

from __future__ import annotations

import hashlib
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ledger.item_set import BLOCK_MAX, ID_SIZE, ItemSet, common, fingerprint

WIDTH = 34
END = b"\xff" * (WIDTH + 1)

ids = st.binary(min_size=ID_SIZE, max_size=ID_SIZE)
items = st.sets(st.builds(bytes.__add__, st.binary(min_size=2, max_size=2), ids), max_size=60)
bounds = st.binary(max_size=WIDTH)


def plain(held: set[bytes], lower: bytes, upper: bytes) -> list[bytes]:
    return sorted(item for item in held if lower <= item < upper)


def plain_fingerprint(held: list[bytes]) -> bytes:
    total = sum(int.from_bytes(item[-ID_SIZE:], "big") for item in held) % 2**256
    return hashlib.sha256(total.to_bytes(32, "big") + len(held).to_bytes(8, "big")).digest()[:16]


def many(count: int) -> list[bytes]:
    """So many items, some of which have their key in common."""
    digests = (hashlib.sha256(b"%d" % number).digest() for number in range(count))
    return [digest[:1] + b"\x00" + digest for digest in digests]


@given(items, bounds, bounds)
def test_a_range_is_counted_listed_and_fingerprinted(held: set[bytes], lower: bytes, upper: bytes):
    of = ItemSet.of(held, width=WIDTH)
    expected = plain(held, lower, upper)
    assert list(of.between(lower, upper)) == expected
    assert of.count(lower, upper) == len(expected)
    assert of.fingerprint(lower, upper) == plain_fingerprint(expected)
    assert list(of) == sorted(held)
    assert of.whole == of.fingerprint(b"", END) == plain_fingerprint(sorted(held))


@given(items, items, items)
def test_a_changed_set_is_the_set_made_anew_and_leaves_the_old_one_as_it_was(
    held: set[bytes], added: set[bytes], removed: set[bytes]
):
    before = ItemSet.of(held, width=WIDTH)
    assert before.changed(added=added, removed=removed) == ItemSet.of((held | added) - removed, width=WIDTH)
    assert before == ItemSet.of(held, width=WIDTH)


@given(items, bounds, bounds, st.integers(2, 20))
def test_a_split_covers_a_range_in_parts_of_about_one_size(
    held: set[bytes], lower: bytes, upper: bytes, parts: int
):
    of = ItemSet.of(held, width=WIDTH)
    cuts = of.split(lower, upper, parts)
    assert cuts[-1] == upper
    assert cuts[:-1] == sorted(set(cuts[:-1]))
    assert all(lower < cut <= upper for cut in cuts[:-1])
    counts = [of.count(start, end) for start, end in zip([lower, *cuts], cuts, strict=False)]
    assert sum(counts) == of.count(lower, upper)
    assert max(counts) <= -(-of.count(lower, upper) // parts)


@given(items, bounds, st.integers(1, 20))
def test_a_taper_covers_a_range_in_parts_that_shrink_towards_its_end(
    held: set[bytes], lower: bytes, least: int
):
    of = ItemSet.of(held, width=WIDTH)
    cuts = [lower, *of.taper(lower, END, least)]
    assert cuts[-1] == END
    counts = [of.count(start, end) for start, end in pairwise(cuts)]
    assert sum(counts) == of.count(lower, END)
    rests = [sum(counts[at:]) for at in range(len(counts))]
    assert all(least <= after == before // 4 for before, after in pairwise(rests))
    assert rests[-1] // 4 < least


def test_many_blocks_answer_as_one_would():
    held = many(5 * BLOCK_MAX)
    of = ItemSet.of(held, width=WIDTH)
    for lower, upper in [(b"", END), (b"\x10", b"\x90"), (held[7], held[8]), (b"\xff", END), (b"a", b"a")]:
        expected = plain(set(held), lower, upper)
        assert of.count(lower, upper) == len(expected)
        assert of.fingerprint(lower, upper) == plain_fingerprint(expected)
    assert [of.nth(rank) for rank in (0, 1, 700, len(of) - 1)] == [
        sorted(held)[rank] for rank in (0, 1, 700, len(of) - 1)
    ]


def test_a_set_that_grows_and_shrinks_item_by_item_stays_in_large_blocks():
    """As the unordered events do: added above, taken away below, never all at once."""
    held = sorted(many(8 * BLOCK_MAX))
    of = ItemSet.of(held[: 4 * BLOCK_MAX], width=WIDTH)
    for at in range(0, 4 * BLOCK_MAX, 8):
        new, old = held[4 * BLOCK_MAX + at :][:8], held[at : at + 7]
        of = of.changed(added=new, removed=old)
    kept = {held[at] for at in range(7, 4 * BLOCK_MAX, 8)} | set(held[4 * BLOCK_MAX :])
    assert of == ItemSet.of(kept, width=WIDTH)
    assert len(of._blocks) <= 16 + 8 * len(of) // BLOCK_MAX


def test_what_is_named_again_changes_nothing():
    held = many(10)
    of = ItemSet.of(held, width=WIDTH)
    assert of.changed(added=held, removed=many(12)[10:]) == of
    assert held[0] in of
    assert many(11)[10] not in of


@given(st.binary(max_size=9), st.binary(max_size=9))
def test_what_two_byte_strings_begin_with_in_common(one: bytes, other: bytes):
    length = common(one, other)
    assert one[:length] == other[:length]
    assert one[length : length + 1] != other[length : length + 1] or length == min(len(one), len(other))


def test_the_bytes_of_a_fingerprint_are_pinned():
    """A difference is a new sync protocol."""
    assert fingerprint(0, 0) == hashlib.sha256(bytes(40)).digest()[:16]
    assert fingerprint(2**256 + 5, 2).hex() == fingerprint(5, 2).hex() == "0f1e6e651719914176e736a94221a3b8"
