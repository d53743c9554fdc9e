"""Every setting of a node: its type, range, default, and a sentence on what it is for.

The schema and nothing else; `fog.config` finds the values. A setting `port` in the section `api` is
`[api] port` in the file and `FOG_API_PORT` in the environment. docs/configuration.md lists them all, and a
test compares.

Units are in the names: `_ms` milliseconds, `_mib` 2^20 bytes, `_kib_s` 2^10 bytes a second, `price`
micro-credits per Gfuel.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from domain.harvest.overrides import Overrides
from domain.payloads import SLOTS_MAX
from ledger.types import INT63_MAX

ADDRESSES_MAX = 64  # of one kind in a configuration; more would be a mistake
RATE_KIB_S_MAX = 2**20  # 1 GiB a second: several times what one node can move, so no bound
WITNESSES_MAX = 16  # each is asked for each note; signed notes need not carry more

Text = Annotated[str, Meta(max_length=1024)]
Addresses = Annotated[tuple[Text, ...], Meta(max_length=ADDRESSES_MAX)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all sections: closed, immutable, every field with a default."""


class Network(Section, frozen=True):
    """How the node is reached and whom it calls."""

    listen: Annotated[Addresses, Meta(description="Multiaddresses to listen on.")] = (
        "/ip4/0.0.0.0/tcp/7419",
    )
    announce: Annotated[
        Addresses,
        Meta(
            description="Multiaddresses to give to others instead of the ones listened on (behind a router)."
        ),
    ] = ()
    bootstrap: Annotated[
        Addresses, Meta(description="Multiaddresses, each ending in /p2p/…, of nodes to call on start.")
    ] = ()
    mdns: Annotated[bool, Meta(description="Find nodes of the same network on the local network.")] = True
    gossip_flush_ms: Annotated[
        int,
        Meta(ge=1, le=10_000, description="How long new events may wait to leave in one message together."),
    ] = 5
    snapshot_patience_ms: Annotated[
        int,
        Meta(
            ge=1_000,
            le=604_800_000,
            description="How long a first start with --fast asks on while nobody gives a part of a snapshot; "
            "longer until all were asked.",
        ),
    ] = 60_000


class Api(Section, frozen=True):
    """The read-only HTTP API and the dashboard."""

    enabled: Annotated[bool, Meta(description="Whether to serve the API at all.")] = True
    host: Annotated[Text, Meta(description="Address to bind; anything but 127.0.0.1 shows it to others.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65_535, description="TCP port; 0 lets the system choose.")] = 7420


class Store(Section, frozen=True):
    """Where events, checkpoints and read models are kept."""

    url: Annotated[
        Text, Meta(description="SQLAlchemy URL (SQLite or PostgreSQL); empty: SQLite in the data directory.")
    ] = ""


class Ledger(Section, frozen=True):
    """How much of the history is kept."""

    mode: Annotated[
        Literal["archive", "full", "light"],
        Meta(
            description="archive: all. full: all but the bodies of bulk events older than 30 days. light: "
            "nor bodies of ledger events that are too old for evidence to reach a bond."
        ),
    ] = "archive"


class Worker(Section, frozen=True):
    """Running other people's jobs."""

    enabled: Annotated[bool, Meta(description="Whether to offer compute.")] = True
    slots: Annotated[int, Meta(ge=1, le=SLOTS_MAX, description="Shards to run at the same time.")] = 1
    price: Annotated[
        int,
        Meta(ge=0, le=INT63_MAX, description="Least pay, in micro-credits per Gfuel (10^9 units of fuel)."),
    ] = 1_000
    bond: Annotated[
        int,
        Meta(
            ge=0,
            le=INT63_MAX,
            description="Most micro-credits to set aside for one run, lost if it is proven wrong; 0: none.",
        ),
    ] = 0
    cpu_percent: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="Most of each slot's core, in percent of every second; 100: all that nobody wants.",
        ),
    ] = 100
    memory_mib: Annotated[
        int,
        Meta(
            ge=0,
            le=2**24,
            description="Most memory for all runs; 0: what is free above harvest.memory_stop_mib.",
        ),
    ] = 0
    scratch_mib: Annotated[
        int,
        Meta(
            ge=0, le=2**24, description="Most disk for inputs and outputs of runs at work; 0: what is free."
        ),
    ] = 0
    offer_ms: Annotated[
        int, Meta(ge=10_000, le=86_400_000, description="How long one offer stands before it is renewed.")
    ] = 3_600_000


class Harvest(Overrides, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When this machine works for others."""

    enabled: Annotated[
        bool,
        Meta(description="Whether to stop for this machine's owner; false: work whenever the node runs."),
    ] = True
    poll_ms: Annotated[
        int,
        Meta(
            ge=10,
            le=30_000,
            description="How often to look at the machine: so long its owner's return may go unnoticed.",
        ),
    ] = 1_000
    source: Annotated[
        Text, Meta(description="File that says what the machine is like, in JSON; empty: ask the machine.")
    ] = ""


class Blobs(Section, frozen=True):
    """Programs, inputs and results."""

    cache_mib: Annotated[
        int,
        Meta(
            ge=16,
            le=2**24,
            description="Most disk for blobs; what was used longest ago makes room for new ones.",
        ),
    ] = 2_048
    upload_kib_s: Annotated[
        int,
        Meta(
            ge=16, le=RATE_KIB_S_MAX, description="Most that all peers together are given of blobs, a second."
        ),
    ] = RATE_KIB_S_MAX
    download_kib_s: Annotated[
        int,
        Meta(
            ge=16,
            le=RATE_KIB_S_MAX,
            description="Most that is taken of blobs from all peers together, a second.",
        ),
    ] = RATE_KIB_S_MAX
    result_patience_ms: Annotated[
        int,
        Meta(
            ge=1_000,
            le=2_592_000_000,
            description="How long nodes are asked for a settled result that none has before it is lost.",
        ),
    ] = 300_000


class Finality(Section, frozen=True):
    """For validators: how often a checkpoint is made."""

    checkpoint_interval_ms: Annotated[
        int, Meta(ge=10, le=600_000, description="Least time between two checkpoints while there is news.")
    ] = 50
    witnesses: Annotated[
        Annotated[tuple[Text, ...], Meta(max_length=WITNESSES_MAX)],
        Meta(description="Witnesses to cosign our checkpoints, each `KEY URL` as `fog witness` prints it."),
    ] = ()
    witnesses_needed: Annotated[
        int, Meta(ge=1, le=WITNESSES_MAX, description="How many must cosign a note for it to be kept.")
    ] = 1
    witness_interval_ms: Annotated[
        int, Meta(ge=100, le=86_400_000, description="Least time between two notes taken to the witnesses.")
    ] = 10_000


class Identity(Section, frozen=True):
    """For whom the node speaks."""

    account: Annotated[
        Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")],
        Meta(description="Account to act for, which delegates to this node's key; empty: the key's own."),
    ] = ""


class Device(Section, frozen=True):
    """What this machine is called among the owner's others. Told to them alone."""

    name: Annotated[str, Meta(max_length=64, description="A name for people; empty: the host's name.")] = ""
    labels: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[a-z0-9_.-]{1,32}=[^=]{0,64}\Z")], ...],
        Meta(max_length=16, description="Words to find machines by, each `name=value`: `room=attic`."),
    ] = ()


class Log(Section, frozen=True):
    """What the node says while it runs."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important message shown.")
    ] = "info"


class Settings(Section, frozen=True):
    """All of them, with every value in its range."""

    network: Network = Network()
    api: Api = Api()
    store: Store = Store()
    ledger: Ledger = Ledger()
    worker: Worker = Worker()
    harvest: Harvest = Harvest()
    blobs: Blobs = Blobs()
    finality: Finality = Finality()
    identity: Identity = Identity()
    device: Device = Device()
    log: Log = Log()
