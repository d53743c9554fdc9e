"""What `network.sync` wants done, and how it is answered: values, carried out in order by `sync_io`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from ledger.cid import Cid
from ledger.heads import Head, Lane
from network.sync_messages import Hello


@dataclass(frozen=True, slots=True)
class Send:
    """Put this frame on the stream; an answer is due."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class LookUp:
    """Tell `resume` where we stand: our hello, our heads (if there are `ids`), and which of those we lack."""

    ids: tuple[Cid, ...] = ()


class Stock(enum.Enum):
    FRONTIER = "frontier"
    UNORDERED = "unordered"


@dataclass(frozen=True, slots=True)
class TakeStock:
    """Give this set of ours to `stocked`."""

    of: Stock


@dataclass(frozen=True, slots=True)
class DeliverEvents:
    """Hand the wires to the ledger, and its answer to `delivered`."""

    wires: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DeliverCheckpoints:
    """Links of the chain, and the certificate that makes the last of them final."""

    items: tuple[tuple[bytes, bytes], ...]
    final: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The session is over. `code`: `equal`, `synced`, `stalled` (not all could be had), `bye` (it left)."""

    code: str


Action = Send | LookUp | TakeStock | DeliverEvents | DeliverCheckpoints | Done


@dataclass(frozen=True, slots=True)
class Local:
    """Where we stand: the answer to LookUp."""

    hello: Hello
    heads: Mapping[Lane, Head]
    unknown: tuple[Cid, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the ledger made of a delivery: how many were new to it, and which parents it lacks."""

    new: int
    missing: tuple[Cid, ...] = ()
