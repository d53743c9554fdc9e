"""Packed rows are sorted sets, whatever is put into them in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.rules import packed

items = st.lists(st.binary(min_size=3, max_size=3), max_size=40)


@given(items, items)
def test_a_row_is_its_sorted_set(put: list[bytes], taken: list[bytes]) -> None:
    row = b""
    for item in put:
        row = packed.with_item(row, item)
    for item in taken:
        assert packed.contains(row, item) == (item in put)
    left = set(put)
    for item in taken:
        if item in left:
            left.discard(item)
            row = packed.without(row, item)
    assert row == b"".join(sorted(left))


def test_taking_out_what_is_not_there_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError, match="not in the index"):
        packed.without(b"aaabbb", b"abc")
