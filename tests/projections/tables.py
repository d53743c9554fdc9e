"""The read models' tables alone, in memory, for properties that need no ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from projections import balances, prices
from projections.model import METADATA

_ENGINE = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
METADATA.create_all(_ENGINE, [*balances.MODEL.tables, *prices.MODEL.tables])


@contextmanager
def tables() -> Iterator[sa.Connection]:
    """Empty tables; what is put there is gone at the end."""
    with _ENGINE.connect() as conn:
        yield conn
        conn.rollback()
