"""Asks: what stands is what was last offered, and history is cut by checkpoint, never by batch."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.effects import OfferStands
from projections import prices
from projections.model import Batch, Entry
from projections.prices import MODEL
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


@settings(max_examples=60)
@given(histories, st.integers(1, 5))
def test_history_is_what_the_definition_says_whatever_the_batches(
    history: list[list[OfferStands]], batch: int
) -> None:
    """Offers come, change engine and price, are withdrawn; some effects only tell how busy one is."""
    given = entries(history)
    with tables() as conn:
        for start in range(0, len(given), batch):
            MODEL.fold(conn, Batch(given[start : start + batch]))
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
