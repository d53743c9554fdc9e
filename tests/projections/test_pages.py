"""Following `next` shows every row once: for any limit, order, and rows that arrive meanwhile."""

from __future__ import annotations

import contextlib

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import UsageError
from projections import balances, pages
from projections.model import upsert
from tests.projections.tables import tables

limits = st.integers(1, pages.LIMIT_MAX)
small = st.binary(min_size=32, max_size=32)
transfers = st.dictionaries(
    st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 2)),
    st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.sampled_from([b"a", b"b", b"c"])),
    max_size=40,
)


def put_transfers(conn: sa.Connection, rows: dict[tuple[int, int, int], tuple[bytes, bytes]]) -> None:
    upsert(
        conn,
        balances.TRANSFER,
        [
            {"height": h, "idx": i, "n": n, "event": None, "source": s, "target": t, "amount": 1, "time": h}
            for (h, i, n), (s, t) in rows.items()
        ],
    )


def keys(page: pages.Page) -> list[pages.Key]:
    return [balances.NEWEST.key(row) for row in page.rows]


@given(st.sets(small, max_size=50), limits)
def test_ascending_pages_have_no_gap_and_no_repetition(accounts: set[bytes], limit: int) -> None:
    """Any set of accounts, any limit: the pages put together are the sorted list."""
    with tables() as conn:
        rows = [{"account": a, "free": 0, "escrow": 0, "pledged": 0, "height": 0} for a in accounts]
        upsert(conn, balances.BALANCE, rows)
        seen: list[bytes] = []
        after: str | None = None
        while True:
            page = balances.page(conn, after, limit)
            assert len(page.rows) <= limit
            seen += [row["account"] for row in page.rows]
            after = page.next
            if after is None:
                break
        assert seen == sorted(accounts)


@given(transfers, st.integers(1, 7), st.sampled_from([None, b"a", b"b"]))
def test_descending_merged_pages_have_no_gap_and_no_repetition(
    rows: dict[tuple[int, int, int], tuple[bytes, bytes]], limit: int, account: bytes | None
) -> None:
    """The transfers of one account are the union of two walks, newest first, each once."""
    with tables() as conn:
        put_transfers(conn, rows)
        seen: list[pages.Key] = []
        after: str | None = None
        while True:
            page = balances.transfers(conn, account, after, limit)
            seen += keys(page)
            after = page.next
            if after is None:
                break
        expected = [key for key, sides in rows.items() if account is None or account in sides]
        assert seen == sorted(expected, reverse=True)


@given(transfers, st.integers(1, 5), st.data())
def test_rows_that_arrive_meanwhile_neither_hide_nor_repeat_others(
    rows: dict[tuple[int, int, int], tuple[bytes, bytes]], limit: int, data: st.DataObject
) -> None:
    """New transfers come in front of the newest; a reader further down is not moved."""
    with tables() as conn:
        put_transfers(conn, rows)
        page = balances.transfers(conn, None, None, limit)
        seen = keys(page)
        while page.next is not None:
            put_transfers(conn, {(9, data.draw(st.integers(0, 99)), 0): (b"x", b"y")})
            page = balances.transfers(conn, None, page.next, limit)
            seen += keys(page)
        assert seen == sorted(rows, reverse=True)


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    """Garbage from a reader is theirs, never a fault of ours."""
    for order in (balances.BY_ACCOUNT, balances.NEWEST):
        with contextlib.suppress(UsageError):
            assert order.accepts(list(pages.decode(text, order)))


@given(st.tuples(*[st.integers(0, 2**63 - 1)] * 3))
def test_a_cursor_holds_its_key(key: tuple[int, int, int]) -> None:
    """And so means the same place on another node."""
    assert pages.decode(pages.encode(key), balances.NEWEST) == key


def test_a_cursor_of_another_list_is_refused() -> None:
    """Its key has another shape; reading on from some wrong place would look like an answer."""
    with pytest.raises(UsageError, match="not a cursor of this list"):
        pages.decode(pages.encode((1, 2, 3)), balances.BY_ACCOUNT)
