"""What this node has signed already: a look back over its own lane, when a crash left the answer open.

A record is written before the event that it is of. Who finds a record without an event after a start must not
sign it again if it was signed: the lane in the store tells, and it is there before anybody hears of an event.
"""

from __future__ import annotations

from typing import Final

from domain.payloads import KINDS
from fog.replica_thread import ReplicaThread
from ledger import canonical
from ledger.cid import Cid
from ledger.event import BODY_SIZE_MAX, LANE_LEDGER, Event, is_pruned, parse

KIND: Final = "job.submit"
BACK_MAX: Final = 4_096
"""Events looked back: no node says so many between a record and its event."""
BYTES_MAX: Final = 1 << 20
"""Of the lane, read at once."""


class Said:
    def __init__(self, ledger: ReplicaThread, device: bytes) -> None:
        self._ledger = ledger
        self._device = device

    async def __call__(self, spec: Cid) -> Cid | None:
        """The event of ours that submits a job of this spec."""
        return await self._ledger.call(self._find, spec)

    def _find(self, spec: Cid) -> Cid | None:
        """In the replica's thread."""
        replica = self._ledger.replica
        head = replica.heads.get((self._device, LANE_LEDGER))
        at = 0 if head is None else max(0, head[0] + 1 - BACK_MAX)
        while head is not None and at <= head[0]:
            wires = replica.store.lane_range(self._device, LANE_LEDGER, at, head[0], bytes_max=BYTES_MAX)
            if not wires:  # pruned, or from before this store began
                at += 1
                continue
            for wire in wires:
                if not is_pruned(wire):
                    event = parse(wire, net=replica.net, verify_signature=False)
                    if _submits(event, spec):
                        return event.id
            at += len(wires)
        return None


def _submits(event: Event, spec: Cid) -> bool:
    header = event.header
    kind = KINDS.get((header.k, header.kv))
    if header.k != KIND or kind is None or event.body is None:
        return False
    order = canonical.decode_as(kind, event.body, size_max=BODY_SIZE_MAX[LANE_LEDGER])
    return getattr(order, "spec", None) == spec
