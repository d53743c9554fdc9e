"""The first start of a node that joined with `--fast`: from a snapshot of its peers, and not from genesis.

`fog join` leaves a note in the data directory (`DataDir.start`): the checkpoint that somebody vouches for, or
nothing when genesis has to do. Everything is proven before it is stored, and the store appears whole or not
at all. A start that was broken off goes on with the parts that it had (`DataDir.half`), if they are not too
old. Once there is a store, the note and the parts are taken away, at any start that finds them.

What must always hold: nothing of ours is signed or announced before the store is there.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

import trio

from domain.rules import params
from fog.paths import DataDir
from fog.settings import Settings
from ledger import light
from ledger.errors import UsageError
from ledger.genesis import Genesis
from ledger.light import Anchor
from ledger.signing import SigningKey
from ledger.snapshot import Snapshot
from ledger.snapshot_folder import SnapshotFolder
from ledger.state import State
from ledger.store import Store
from network.discovery import Bootstrap
from network.host import open_host
from network.mdns import Mdns
from network.snapshot_io import Fetcher

log = logging.getLogger(__name__)

HALF_MS_MAX: Final = 24 * 3_600_000
"""Age of a snapshot that is gone on with. Peers give one for hours at most."""

TELL_EVERY: Final = 20
"""Parts between two words on how far it is: 5 MiB."""


async def open_store(
    home: DataDir, settings: Settings, key: SigningKey, now: int
) -> tuple[Store, State | None]:
    """The network's store, made on the first start; with its state, if that is at hand. `now` in unix ms.

    Raises UsageError (also `no_snapshot`, `needs_checkpoint`, `bad_checkpoint`), StoreCorrupt, StoreFull.
    """
    genesis = home.read_genesis()
    url = settings.store.url or home.store_url
    try:
        store, state = await trio.to_thread.run_sync(Store.open, url, genesis.net), None
    except UsageError as error:
        if error.code != "no_store":
            raise
        store, state = await _first(home, settings, key, genesis, url, now)
    await trio.to_thread.run_sync(_clear, home)
    return store, state


def _clear(home: DataDir) -> None:
    """There is a store: made now, or by a start that was killed before it came to this."""
    home.start.unlink(missing_ok=True)
    SnapshotFolder(home.half).clear()


async def _first(
    home: DataDir, settings: Settings, key: SigningKey, genesis: Genesis, url: str, now: int
) -> tuple[Store, State | None]:
    if not home.start.exists():
        return await trio.to_thread.run_sync(Store.create, url, genesis), None
    note = home.start.read_text().strip()
    anchor = Anchor.parse(note) if note else None
    snapshot = await _fetch(settings, key, genesis, anchor, now, SnapshotFolder(home.half))
    store = await trio.to_thread.run_sync(Store.begin, url, genesis, snapshot)
    log.info("begun at height %d, on what its peers proved", snapshot.checkpoint.height)
    return store, snapshot.state


async def _fetch(
    settings: Settings,
    key: SigningKey,
    genesis: Genesis,
    anchor: Anchor | None,
    now: int,
    folder: SnapshotFolder,
) -> Snapshot:
    age = partial(_check_age, genesis, now)
    found: Snapshot | None = None
    refused: UsageError | None = None
    halves = await trio.to_thread.run_sync(partial(folder.load, genesis, oldest=now - HALF_MS_MAX))
    for half in halves:
        log.info(
            "%d of %d parts of the snapshot of height %d are here",
            half.here,
            half.parts,
            half.checkpoint.height,
        )
    async with open_host(key.seed, ["/ip4/127.0.0.1/tcp/0"]) as host, trio.open_nursery() as nursery:
        nursery.start_soon(Bootstrap(host, settings.network.bootstrap).run)
        if settings.network.mdns:
            nursery.start_soon(Mdns(host, genesis.net).run)
        log.info("asking for a snapshot, trusting %s", anchor or "the validators of genesis")
        try:
            patience_s = settings.network.snapshot_patience_ms / 1000
            fetcher = Fetcher(host, genesis, anchor, age, _tell, folder, halves, patience_s=patience_s)
            found = await fetcher.run()
        except UsageError as error:
            refused = error  # raised in here, it would leave as a group
        nursery.cancel_scope.cancel()
    if refused is not None:
        raise refused
    assert found is not None
    return found


def _check_age(genesis: Genesis, now: int, anchored: int | None) -> None:
    light.check_age(genesis, anchored, unbond_ms=params.of(genesis).unbond_ms, now=now)


def _tell(here: int, of: int) -> None:
    if here == of or here % TELL_EVERY == 0:
        log.info("%d of %d parts of the snapshot", here, of)
