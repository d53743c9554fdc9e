"""This device, as it tells of itself to the other devices of its account: what it is, what it does and why.

What the ledger says of a device (its offer, what it earned) is known to all, and is not told here.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import psutil

from fog.harvesting import Harvesting
from fog.settings import Device as Settings
from fog.worker import Worker
from network.fleet import DOING_MAX, Report


class Own:
    """This device, as it tells of itself."""

    def __init__(
        self, settings: Settings, worker: Worker | None, harvesting: Harvesting | None, started: int
    ) -> None:
        """`started` in unix ms."""
        self._settings = settings
        self._worker = worker
        self._harvesting = harvesting
        self._started = started

    def report(self) -> Report:
        worker, harvesting = self._worker, self._harvesting
        pairs = [label.split("=", 1) for label in self._settings.labels]
        doing: list[str] = []
        if worker is not None:
            doing = [f"{lease}: {what}"[:512] for lease, what in sorted(worker.doing.items())]
        return Report(
            name=(self._settings.name or platform.node())[:64],
            labels=tuple((name, value) for name, value in pairs),
            version=version("fog")[:64],
            system=f"{platform.system()} {platform.machine()}"[:64],
            cores=os.cpu_count() or 1,
            memory=psutil.virtual_memory().total,
            profile="" if harvesting is None else harvesting.profile or "",
            slots=0 if worker is None else worker.settings.slots,
            action="off" if worker is None else worker.gate.action,
            why="this node lends nothing" if worker is None else worker.gate.sentence[:512],
            doing=tuple(doing[:DOING_MAX]),
            since=self._started,
        )
