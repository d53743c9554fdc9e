"""The data directory of one node: which file is where, and that only its owner can read it.

One directory, one node, one key. The place comes from `--data-dir`, then `FOG_DATA_DIR`, then the
platform's own convention (XDG on Linux: `~/.local/share/fog`).

What must always hold: the directory has mode 0700, and at most one node holds its lock. The lock is the
kernel's (flock), so a crash leaves nothing to clean up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ledger import genesis
from ledger.errors import RemoteError, StoreCorrupt, UsageError
from ledger.genesis import Genesis

DATA_DIR_VARIABLE = "FOG_DATA_DIR"


@dataclass(frozen=True, slots=True)
class DataDir:
    """Names of the files below `root`. Making one touches nothing on the disk."""

    root: Path

    @classmethod
    def find(cls, given: Path | None, environ: Mapping[str, str]) -> DataDir:
        """The command line's word, else the environment's, else the platform's."""
        chosen = given or environ.get(DATA_DIR_VARIABLE) or platformdirs.user_data_dir("fog")
        return cls(Path(chosen).expanduser().absolute())

    @property
    def key(self) -> Path:
        """The device key, PEM, mode 0600."""
        return self.root / "key.pem"

    @property
    def genesis(self) -> Path:
        """The genesis object's canonical bytes: which network this is."""
        return self.root / "genesis.cbor"

    @property
    def start(self) -> Path:
        """There until the first start, if that shall be from a snapshot: the checkpoint to trust, if any."""
        return self.root / "start"

    @property
    def half(self) -> Path:
        """Parts of a snapshot, until the first start has them all."""
        return self.root / "half"

    @property
    def config(self) -> Path:
        return self.root / "fog.toml"

    @property
    def store(self) -> Path:
        """The SQLite database, unless `store.url` names another."""
        return self.root / "ledger.sqlite"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def work(self) -> Path:
        """Where the sandbox makes its fresh folders, one for each run."""
        return self.root / "work"

    @property
    def harvest(self) -> Path:
        """A pause, and what harvesting remembers of this machine."""
        return self.root / "harvest.json"

    @property
    def programs(self) -> Path:
        """Programs that were compiled to be submitted."""
        return self.root / "programs"

    @property
    def modules(self) -> Path:
        """Native code of programs that this node runs; made here, never taken from anyone."""
        return self.root / "modules"

    @property
    def cosigned(self) -> Path:
        """The newest checkpoint note that enough witnesses cosigned."""
        return self.root / "cosigned.note"

    @property
    def witness(self) -> DataDir:
        """Where `fog witness` keeps its own key and what it cosigned; no part of a node."""
        return DataDir(self.root / "witness")

    @property
    def peers(self) -> Path:
        """Addresses of nodes that were connected, one a line. Hints, and made again when lost."""
        return self.root / "peers"

    @property
    def control(self) -> Path:
        """The Unix socket that the command line talks to a running node through."""
        return self.root / "control.sock"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the default store."""
        return f"sqlite:///{self.store}"

    def make(self) -> None:
        """Create the directory, for the owner alone; tighten it when it is there already."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.chmod(0o700)

    def is_set_up(self) -> bool:
        return self.key.exists() and self.genesis.exists()

    def require_set_up(self) -> None:
        """Raises UsageError (`not_set_up`) when there is no key or no network here yet."""
        if not self.is_set_up():
            raise UsageError(
                f"there is no node in {self.root}",
                code="not_set_up",
                next_step="fog init    (a network of your own), or: fog join INVITE",
            )

    def require_no_network(self) -> None:
        """Raises UsageError (`already_set_up`) rather than put a second node over a first."""
        if self.genesis.exists():
            raise UsageError(
                f"{self.root} already holds a node",
                code="already_set_up",
                next_step="fog node    (to run it), or choose another place with --data-dir",
            )

    def read_genesis(self) -> Genesis:
        """Raises UsageError (`not_set_up`) or StoreCorrupt."""
        self.require_set_up()
        try:
            return genesis.parse(self.genesis.read_bytes())
        except RemoteError as error:
            raise StoreCorrupt(f"{self.genesis} is damaged: {error}", next_step="fog join INVITE") from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one node. Raises UsageError (`already_running`)."""
        with self.lock.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"a node is already running on {self.root}",
                    code="already_running",
                    next_step="fog status    (to see it), or: fog stop",
                ) from error
            yield

    def __repr__(self) -> str:
        return f"<DataDir {self.root} {'set up' if self.is_set_up() else 'empty'}>"


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read, durable on return. Refuses to replace one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
