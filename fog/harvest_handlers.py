"""What the control socket answers about harvesting: what it does and why, its log, a pause and its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import asdict

from fog import harvest_methods as methods
from fog.control import Emit
from fog.harvesting import Harvesting
from fog.methods import Message, Nothing, shape
from ledger.errors import UsageError


class HarvestHandlers:
    def __init__(self, harvesting: Harvesting | None) -> None:
        """None: this node lends nothing."""
        self._given = harvesting

    def table(self) -> dict[str, Callable[[Any, Emit], Awaitable[Message]]]:
        """Method -> handler."""
        return {
            "harvest.show": self.show,
            "harvest.log": self.log,
            "harvest.pause": self.pause,
            "harvest.resume": self.resume,
        }

    async def show(self, request: Nothing, emit: Emit) -> methods.HarvestState:
        return self._state()

    async def log(self, request: methods.HarvestLog, emit: Emit) -> methods.HarvestEntries:
        changes = self._harvesting.changes()[-request.limit :]
        return methods.HarvestEntries(entries=[shape(methods.HarvestEntry, asdict(one)) for one in changes])

    async def pause(self, request: methods.HarvestPause, emit: Emit) -> methods.HarvestState:
        await self._harvesting.pause(request.for_ms)
        return self._state()

    async def resume(self, request: Nothing, emit: Emit) -> methods.HarvestState:
        await self._harvesting.resume()
        return self._state()

    def _state(self) -> methods.HarvestState:
        return shape(methods.HarvestState, asdict(self._harvesting.view()))

    @property
    def _harvesting(self) -> Harvesting:
        if self._given is None:
            raise UsageError(
                "this node lends nothing",
                code="not_lending",
                next_step="set worker.enabled = true in fog.toml, then start the node again",
            )
        return self._given
