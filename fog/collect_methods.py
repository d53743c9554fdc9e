"""How a program on this machine takes results home shard by shard, beside what is in `fog.methods`.

    method        parameters   progress   reply
    job.collect   Collect      Piece      JobLine

One call follows one job until it ended. For each shard that is settled and here: its outputs that are too
large to stand in the result, in parts, each named by its Cid; then the result itself. For each that ended
otherwise: its state. Whoever reads can check every byte against the Cids, and those against the ledger.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from domain.payloads import SHARDS_MAX
from fog.methods import CidText, Message
from ledger.types import Uint

SETTLED: Final = "settled"
UNREADABLE: Final = "unreadable"


class Collect(Message, frozen=True, kw_only=True):
    """`have`: shards that need not be told again, as after a node that was restarted."""

    job: CidText
    have: Annotated[tuple[Uint, ...], Meta(max_length=SHARDS_MAX)] = ()


class Piece(Message, frozen=True, kw_only=True):
    """Part of an output of a shard (`state` is null), or how the shard ended.

    cid    of the whole output, or of the result; null for a shard without a result
    data   the next bytes of it (base64 on the socket): a chunk of an output, or a whole result; of one that
           is lost, why, as text
    state  a `domain.effects.ShardState` that is an end: `settled` comes with the result; or `unreadable`,
           when what was settled is no result, or is not here any more; or one of `fog.bringing.LOSSES`
    """

    shard: Uint
    cid: CidText | None
    data: bytes
    state: str | None = None


PARAMS: Final[dict[str, type[Message]]] = {"job.collect": Collect}
