"""Where this node reached others, in a file, so that it finds the others again when whoever invited it is
away.

One address a line, the peers met last first. Hints and nothing more: a line that is damaged costs a dial, a
file that is lost is written again. So it is replaced in one step, and not fsynced.

What must always hold: at most ADDRESSES_MAX lines are read or written, whatever the file or a peer says.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from network.discovery import Reunion
from network.host import Host

log = logging.getLogger(__name__)

ADDRESSES_MAX: Final = 64
SIZE_MAX: Final = ADDRESSES_MAX * 300  # bytes of the file that are read
SETTLE_S: Final = 1.0  # after a link came up: one write serves a burst


def read(path: Path) -> list[str]:
    """What was remembered; nothing when there is no file, or none that can be read."""
    try:
        with path.open("rb") as file:
            lines = file.read(SIZE_MAX).decode(errors="replace").split("\n")
    except OSError:
        return []
    return [line for line in lines if line.startswith("/") and "/p2p/" in line][:ADDRESSES_MAX]


async def keep(path: Path, host: Host, reunion: Reunion) -> None:
    """Write the file whenever somebody new was met. Until cancelled."""
    kept = set(read(path))
    async for _ in host.watch_links():
        await trio.sleep(SETTLE_S)
        addresses = reunion.addresses[:ADDRESSES_MAX]
        if set(addresses) != kept and _write(path, addresses):
            kept = set(addresses)


def _write(path: Path, addresses: Sequence[str]) -> bool:
    fresh = path.with_suffix(".new")
    try:
        fresh.write_text("".join(f"{address}\n" for address in addresses))
        os.replace(fresh, path)
    except OSError as error:  # a full disk, say: it is only a hint
        log.info("peers are not remembered: %s", error)
        return False
    return True
