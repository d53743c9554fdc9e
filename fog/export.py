"""Exporting the log: everything final, as a CAR to audit or as lines of JSON to read.

The file appears under its name only when it is whole. Reading the store for it does not stop the node, and a
node that stops, or a person who no longer wants it, does not wait for the end of it.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, Final, cast

import trio

from fog.methods import Exported
from ledger import archive
from ledger.checkpoint import parse_checkpoint
from ledger.errors import UsageError
from ledger.store import Store

TELL_EVERY_S: Final = 0.5

Tell = Callable[[Exported], Awaitable[None]]


async def export(store: Store, path: Path, tell: Tell) -> Exported:
    """Write `path`, a new file ending in `.car` or `.ndjson`.

    Raises UsageError: `file_exists`, `bad_format`, `unwritable`.
    """
    if path.suffix not in (".car", ".ndjson"):
        raise UsageError(
            f"{path.name} says no format", code="bad_format", next_step="end it in .car or .ndjson"
        )
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # two may export at once
    refused: UsageError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, path, part, tell)
        try:
            done = await trio.to_thread.run_sync(_write, store, path, part)
        except UsageError as error:
            refused = error  # raised in here, it would leave as a group
        nursery.cancel_scope.cancel()
    if refused is not None:
        raise refused
    return done


def _write(store: Store, path: Path, part: Path) -> Exported:
    try:
        if path.exists():  # looked at again by `link`; this spares the work
            raise FileExistsError(path)
        with part.open("xb") as target:
            os.fchmod(target.fileno(), 0o600)
            write = _write_car if path.suffix == ".car" else _write_lines
            height = write(store, target)
            target.flush()
            os.fsync(target.fileno())
        os.link(part, path)  # unlike a rename, this refuses to replace what is there
    except FileExistsError as error:
        raise UsageError(f"{path} exists", code="file_exists", next_step="choose a new name") from error
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}",
            code="unwritable",
            next_step="choose a folder that exists, is yours and has space",
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return Exported(
        path=str(path), events=_events_up_to(store, height), height=height, bytes=path.stat().st_size
    )


def _events_up_to(store: Store, height: int) -> int:
    """Leaves of the event tree, without the one that each checkpoint adds."""
    if not height:
        return 0
    [(checkpoint, _)] = store.checkpoints(height, 1)
    return parse_checkpoint(checkpoint, net=store.net).n - height


class _Cancellable:
    """A file to write to from a thread; whoever waits for the thread may stop waiting at any write."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target

    def write(self, data: bytes) -> int:
        trio.from_thread.check_cancelled()
        return self._target.write(data)


def _write_car(store: Store, target: BinaryIO) -> int:
    return archive.write(store, cast("BinaryIO", _Cancellable(target)))


def _write_lines(store: Store, target: BinaryIO) -> int:
    with tempfile.TemporaryFile() as car:
        height = _write_car(store, car)
        car.seek(0)
        for line in archive.lines(car):
            trio.from_thread.check_cancelled()
            target.write(line.encode() + b"\n")
    return height


async def _tell(path: Path, part: Path, tell: Tell) -> None:
    """Say how large the file is by now, until cancelled."""
    while True:
        await trio.sleep(TELL_EVERY_S)
        if await trio.Path(part).exists():
            size = (await trio.Path(part).stat()).st_size
            await tell(Exported(path=str(path), events=0, height=0, bytes=size))
