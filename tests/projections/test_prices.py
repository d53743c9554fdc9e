"""Asks: what stands is what was last offered, and history is cut by checkpoint, never by batch."""

from __future__ import annotations

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.effects import OfferStands
from projections import prices
from projections.model import Batch, Entry, Row
from tests.projections.tables import tables

ENGINES = [b"\x01" * 32, b"\x02" * 32]
FAR = 2**63 - 1

offers = st.builds(
    lambda who, engine, price, slots, busy: OfferStands(
        bytes([who]) * 32, bytes([who]) * 32, slots, busy, price, FAR, engine
    ),
    st.integers(0, 5),
    st.sampled_from(ENGINES),
    st.integers(0, 4),
    st.sampled_from([0, 1, 1, 1]),
    st.integers(0, 1),
)
histories = st.lists(st.lists(offers, max_size=4), max_size=12)  # effects of each checkpoint

Asks = dict[bytes, tuple[int | None, int | None, int]]


def asks_of(standing: dict[bytes, OfferStands]) -> Asks:
    """The definition: lowest, lower median and number of the offers of each engine."""
    found: Asks = {}
    for engine in ENGINES:
        asked = sorted(o.price for o in standing.values() if o.engine == engine)
        found[engine] = (asked[0], asked[(len(asked) - 1) // 2], len(asked)) if asked else (None, None, 0)
    return found


def expected(history: list[list[OfferStands]]) -> list[tuple[bytes, int, tuple[int | None, int | None, int]]]:
    """A row for each checkpoint in which an engine's asks differ from before."""
    standing: dict[bytes, OfferStands] = {}
    last: Asks = dict.fromkeys(ENGINES, (None, None, 0))
    rows = []
    for height, effects in enumerate(history, 1):
        for offer in effects:
            standing[offer.account] = offer
            if not offer.slots:
                del standing[offer.account]
        now = asks_of(standing)
        rows += [(engine, height, now[engine]) for engine in ENGINES if now[engine] != last[engine]]
        last = now
    return rows


def entries(history: list[list[OfferStands]]) -> list[Entry]:
    return [Entry(h, h, 0, h * 1_000, None, None, "ok", tuple(told)) for h, told in enumerate(history, 1)]


@settings(max_examples=100)
@given(histories, st.integers(1, 13), st.sampled_from([1, 3, prices.BOOK_FROM]))
def test_history_is_what_the_definition_says_whatever_the_batches(
    history: list[list[OfferStands]], batch: int, book_from: int
) -> None:
    """Offers come, change engine and price, are withdrawn; some effects only tell how busy one is. Whether
    asks are looked up after each checkpoint or kept in a book makes no difference."""
    given = entries(history)
    with tables() as conn:
        for start in range(0, len(given), batch):
            prices.fold(conn, Batch(given[start : start + batch]), book_from=book_from)
        rows = [
            (row["engine"], row["height"], (row["lowest"], row["median"], row["offers"]))
            for engine in ENGINES
            for row in reversed(prices.history(conn, engine, None, 200).rows)
        ]
        assert sorted(rows, key=lambda r: (r[1], r[0])) == expected(history)
        now = {
            row["engine"]: (row["lowest"], row["median"], row["offers"])
            for row in prices.current(conn, None, 9).rows
        }
        latest = {engine: asks for engine, _, asks in expected(history)}
        assert now == latest
        standing = {(row["device"], row["price"], row["busy"], row["height"]) for row in every_offer(conn)}
        assert standing == {
            (offer.device, offer.price, offer.busy, height)
            for offer, height in last_words(history)
            if offer.slots
        }


def every_offer(conn: sa.Connection) -> list[Row]:
    return prices.offers(conn, None, None, 200).rows


def last_words(history: list[list[OfferStands]]) -> list[tuple[OfferStands, int]]:
    said = {offer.device: (offer, height) for height, told in enumerate(history, 1) for offer in told}
    return list(said.values())
