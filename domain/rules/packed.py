"""Sorted sets of fixed-width items, packed into one byte string: how an index lives in a row of the state.

Membership costs a binary search; a change copies the row once. The bytes are a function of the set alone.
"""

from __future__ import annotations


def place(row: bytes, item: bytes) -> int:
    """The byte offset at which `item` is, or would go."""
    width = len(item)
    low, high = 0, len(row) // width
    while low < high:
        middle = (low + high) // 2
        if row[middle * width : (middle + 1) * width] < item:
            low = middle + 1
        else:
            high = middle
    return low * width


def contains(row: bytes, item: bytes) -> bool:
    at = place(row, item)
    return row[at : at + len(item)] == item


def with_item(row: bytes, item: bytes) -> bytes:
    """`row` and `item`; the same row when it is there already."""
    at = place(row, item)
    return row if row[at : at + len(item)] == item else row[:at] + item + row[at:]


def without(row: bytes, item: bytes) -> bytes:
    """`row` less `item`. AssertionError when it is not there."""
    at = place(row, item)
    assert row[at : at + len(item)] == item, f"{item.hex()} is not in the index"
    return row[:at] + row[at + len(item) :]
