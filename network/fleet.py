"""The fleet: machines of one account tell each other what they are, what they do and why.

Protocol `/fog/fleet/1`. Whoever opens a stream has asked; the answer is one frame, the report of this device
in canonical DAG-CBOR, or null for those who may not know. Who asks is who the link is with: a peer id is a
device key, so nothing is signed here.

Knows frames, peers and a deadline. Does not know whose devices are whose (`may_ask` does), nor what a report
says.

What must always hold: nothing is told to a peer that `may_ask` does not name; a report is at most
REPORT_SIZE_MAX bytes, and asking takes at most ASK_S.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
import trio
from msgspec import Meta

from ledger import canonical
from ledger.errors import RemoteError
from ledger.types import Millis, Uint
from network.host import Host
from network.identity import key_of, peer_of
from network.stream import Stream

PROTOCOL: Final = "/fog/fleet/1"
ASK_S: Final = 5.0
LABELS_MAX: Final = 16
DOING_MAX: Final = 64  # lines; a worker of 256 slots tells of the first
REPORT_SIZE_MAX: Final = 160 * 1024  # every field at its longest, four bytes a character

Word = Annotated[str, Meta(max_length=64)]
Line = Annotated[str, Meta(max_length=512)]


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device, now, as it says itself.

    labels   the owner's own words, as pairs
    profile  which limits it keeps: phone, laptop, desktop, server; "" for none
    memory   bytes of the machine;  slots: shards it runs at once, 0 when it does not lend
    action   run, suspend, evict, or off;  why: that in a sentence;  doing: one line a run
    since    unix ms, by its own clock, of the start of its node
    """

    name: Word
    labels: Annotated[tuple[tuple[Word, Word], ...], Meta(max_length=LABELS_MAX)]
    version: Word
    system: Word
    cores: Uint
    memory: Uint
    profile: Word
    slots: Uint
    action: Word
    why: Line
    doing: Annotated[tuple[Line, ...], Meta(max_length=DOING_MAX)]
    since: Millis


_Told: Final[Any] = Report | None


class Fleet:
    """`mine` is the report of this device; `may_ask` whether a device key acts for the same account."""

    def __init__(self, host: Host, mine: Callable[[], Report], may_ask: Callable[[bytes], bool]) -> None:
        self._host = host
        self._mine = mine
        self._may_ask = may_ask
        host.handle(PROTOCOL, self._answer)

    async def ask(self, device: bytes) -> Report | None:
        """What a device says of itself; None when there is no link to it, or it does not tell."""
        peer = peer_of(device)
        try:
            with trio.fail_after(ASK_S):
                async with await self._host.open(peer, PROTOCOL) as stream:
                    return decode(await stream.read_frame(size_max=REPORT_SIZE_MAX))
        except (RemoteError, trio.TooSlowError) as error:
            code = error.code if isinstance(error, RemoteError) else "timeout"
            self._host.counts[f"fleet.{code}"] += 1
            return None

    async def _answer(self, stream: Stream, peer: str) -> None:
        key = key_of(peer)
        told = key is not None and self._may_ask(key)
        await stream.write_frame(canonical.encode(self._mine() if told else None))

    def __repr__(self) -> str:
        return f"<Fleet {self._host.peer_id[-8:]}>"


def decode(frame: bytes) -> Report | None:
    """Raises RemoteError: `oversize`, `non_canonical`, `bad_schema`."""
    told: Report | None = canonical.decode_as(_Told, frame, size_max=REPORT_SIZE_MAX)
    return told
