"""The live view: what the HTTP API is told by this running node, beside what the tables say.

Implements `projections.live.LiveView`. Most of its methods answer from memory, at once; what waits in the
replica is looked at by `refresh`, in the replica's thread, whenever something moved. The tentative state is
made only when somebody asks for it: it costs executing all that is not final.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Final

import trio

from domain.rules.accounts import holdings
from fog.cosigning import Notes
from fog.harvesting import Harvesting
from fog.pruning import Mode
from fog.replica_thread import ReplicaThread
from fog.seats import Seats
from fog.worker import Worker
from ledger import proving
from ledger.cid import Cid
from ledger.state import State
from network.host import Host
from projections.live import FinalState, Harvest, HarvestChange, NodeStatus, Peer, Pulse, Waiting

WAITING_MAX: Final = 200
"""Events shown that are not final; the newest. More only says that finality stands still."""

LOOK_AGAIN_S: Final = 1.0
"""A look without news: events that were refused, or became final, are no news and yet to be seen."""

REFRESH_S: Final = 0.5
"""Between two looks at the replica while events pour in, and between two tentative states."""


class Live:
    def __init__(
        self,
        ledger: ReplicaThread,
        host: Host,
        worker: Worker | None,
        notes: Notes,
        harvesting: Harvesting | None = None,
        *,
        started: int,
    ) -> None:
        """`started` in unix ms."""
        self._harvesting = harvesting
        self._ledger = ledger
        self._host = host
        self._worker = worker
        self._notes = notes
        self.started = started
        self.pulse = Pulse(0)
        self.mode: Mode = "archive"
        self.others: dict[str, Mapping[str, int]] = {}  # counters of further parts, by their first word
        self._tentative: State | None = None
        self._tentative_until = -math.inf  # trio's clock
        self._executing = trio.Lock()
        self._waiting: list[Waiting] = []
        self._counters: dict[str, int] = {}

    async def refresh(self) -> None:
        """Keep looking, until cancelled."""
        seen = -1
        while True:
            await self._ledger.call(self._look)
            with trio.move_on_after(LOOK_AGAIN_S):
                seen = await self._ledger.arrived.after(seen)
            await trio.sleep(REFRESH_S)

    def _look(self) -> None:
        """In the replica's thread."""
        replica = self._ledger.replica
        events = replica.waiting(WAITING_MAX)
        self._waiting = [
            Waiting(
                event.id, event.header.k, event.account, event.header.ts, "tentative" if stands else "pending"
            )
            for event, stands in events
        ]
        self._counters = replica.metrics

    # -- projections.live.LiveView -----------------------------------------------------------------------

    def status(self) -> NodeStatus:
        replica, worker = self._ledger.replica, self._worker
        last = replica.last
        seats = Seats(replica.validators, self._ledger.device)
        running = 0 if worker is None else len(worker.doing)
        lending, reason = "off", ""
        if worker is not None:
            lending = "paused" if not worker.gate.is_open else "running" if running else "idle"
            reason = "; ".join(worker.doing.values() if worker.gate.is_open else [worker.gate.sentence])
        return NodeStatus(
            version=version("fog"),
            network=replica.genesis.name,
            net=replica.net,
            account=self._ledger.account,
            device=self._ledger.device,
            height=replica.height,
            time=replica.genesis.created if last is None else last.checkpoint.T,
            finality=seats.kind,
            validators=len(replica.validators.stakes),
            must_be_up=len(seats.needed),
            is_validator=seats.here,
            peers=len(self._host.peers()),
            pending=self._counters.get("pending", 0),
            tentative=len(self._waiting),
            lending=lending,
            reason=reason,
            mode=self.mode,
        )

    def harvest(self) -> tuple[Harvest, Sequence[HarvestChange]] | None:
        if self._harvesting is None:
            return None
        return self._harvesting.view(), self._harvesting.changes()

    def peers(self) -> Sequence[Peer]:
        now = self._ledger.clock()
        return [
            Peer(
                id=link.peer,
                address=next(iter(link.addresses), ""),
                since=now - int((trio.current_time() - link.since) * 1000),
                direction="in" if link.direction == "inbound" else "out",
            )
            for link in self._host.peers()
        ]

    async def tentative_balance(self, account: bytes) -> tuple[int, int, int] | None:
        async with self._executing:
            if self._tentative is None or trio.current_time() >= self._tentative_until:
                self._tentative = await self._ledger.call(self._ledger.replica.tentative)
                self._tentative_until = trio.current_time() + REFRESH_S
            return holdings(self._tentative, account)

    def event_status(self, event: Cid) -> Waiting | None:
        return next((one for one in self._waiting if one.event == event), None)

    def waiting(self, limit: int) -> Sequence[Waiting]:
        return self._waiting[:limit]

    def counters(self) -> Mapping[str, int]:
        work = {} if self._worker is None else self._worker.counts | self._worker.sandbox.counts
        return {
            **self._counters,
            "store_full": self._ledger.room.refused,
            **{f"worker.{name}": count for name, count in work.items()},
            **self._notes.counts,
            **{f"{of}.{name}": count for of, counts in self.others.items() for name, count in counts.items()},
            **{f"net.{name}": count for name, count in self._host.counts.items()},
        }

    async def note(self, *, cosigned: bool) -> bytes | None:
        if cosigned:
            return await trio.to_thread.run_sync(self._notes.cosigned)
        note = await self._notes.signed()
        return None if note is None else note.encode()

    async def final_state(self) -> FinalState | None:
        return await self._ledger.call(self._final_state)

    def _final_state(self) -> FinalState | None:
        """In the replica's thread: its state and its last checkpoint belong together there."""
        replica = self._ledger.replica
        last = replica.last
        if last is None:
            return None
        return FinalState(last.checkpoint, proving.certified(replica.store, last), replica.state)

    async def folded_past(self, height: int) -> int:
        return await self.pulse.folded_past(height)
