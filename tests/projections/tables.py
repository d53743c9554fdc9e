"""The read models' tables alone, in memory, for properties that need no ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from projections.model import METADATA
from projections.runner import MODELS

TABLES = [table for model in MODELS for table in model.tables]

_ENGINE = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
METADATA.create_all(_ENGINE, TABLES)


@contextmanager
def tables() -> Iterator[sa.Connection]:
    """Empty tables; what is put there is gone at the end."""
    with _ENGINE.connect() as conn:
        yield conn
        conn.rollback()


def contents(conn: sa.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    return {
        table.name: [tuple(row) for row in conn.execute(sa.select(table).order_by(*table.primary_key))]
        for table in TABLES
    }
