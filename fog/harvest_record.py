"""What harvesting must not forget when the node ends: a pause, the policy's history, the log of its changes.

One file, written whole beside its place and moved there, so it is the old one or the new one. It is some
250 KiB at most (`domain.harvest.history.ENTRIES_MAX` entries) and is written when something changed, which a
quiet machine does some ten times a day. A file that nobody can read any more is set aside, with a warning:
without it a machine that should rest a while is looked at afresh.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import msgspec
import trio

from domain.harvest.history import Entry
from domain.harvest.policy import History

log = logging.getLogger(__name__)

RECORD_SIZE_MAX: Final = 4 << 20  # bytes; far above what a log of its greatest length takes


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`paused_until_ms` in unix ms; 0: not paused."""

    paused_until_ms: int = 0
    history: History = History()
    entries: list[Entry] = []


class RecordFile:
    """Reads block; there is one, before anything runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = trio.Lock()

    def read(self) -> Record:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(RECORD_SIZE_MAX), type=Record)
        except FileNotFoundError:
            return Record()
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read, beginning anew: %s", self._path, error)
            return Record()

    async def write(self, record: Record) -> None:
        """Durable on return. A disk that is full keeps the old one: this is no reason to stop a node."""
        async with self._writing:
            try:
                await trio.to_thread.run_sync(self._replace, msgspec.json.encode(record))
            except OSError as error:
                log.warning("%s is not written: %s", self._path, error)

    def _replace(self, data: bytes) -> None:
        part = self._path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)

    def __repr__(self) -> str:
        return f"<RecordFile {self._path}>"
