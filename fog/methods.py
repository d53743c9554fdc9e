"""What a running node can be asked over its control socket: for each method, its parameters and its reply.

    method          parameters       progress       reply
    status          Nothing          -              Status
    peers           Nothing          -              Peers
    invite          Nothing          -              Invitation
    job.submit      JobSubmit        JobProgress    JobResult
    job.list        JobList          -              Jobs
    job.show        JobName          -              JobDetail
    job.cancel      JobName          -              Recorded
    job.fetch       JobName          -              JobResult
    job.appeal      Appeal           -              Recorded
    wallet.balance  WalletBalance    -              Balance
    wallet.send     WalletSend       -              Recorded
    export          Export           Exported       Exported
    stop            Nothing          -              Nothing

Other subjects have files of their own, `fog.…_methods`: blob, collect, escrow, fleet, harvest, identity,
stake, watching, workflow.

The structs are the contract between `fog.cli` and `fog.handlers`; a handler shapes what it was sent with
`shape`, and replies with `plain(struct)`. On the socket they are JSON (`fog.control`), so:

    accounts     hex text of the 32-byte public key        money    integers of micro-credits
    identifiers  base32 text of the Cid                    times    integers of unix milliseconds
    paths        absolute; the node runs as the same person, perhaps in another folder

`standing` is how sure a value is: `pending` (signed here, not ordered), `tentative` (executed on top of the
last checkpoint, may still change), `final`.

A method refuses by raising: `fog.exits.Refused` with the receipt's code when the rules of the network say
no, `UsageError` when the request makes no sense, `RemoteError` when another node is to blame.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from domain.compute.spec import ARGUMENTS_MAX, MEMORY_MAX, MEMORY_MIN, OUTPUT_MAX
from domain.payloads import LEASE_MAX_MS, LEASE_MIN_MS, SHARDS_MAX
from ledger.errors import UsageError
from ledger.types import Micro, Millis, Positive, Uint

T = TypeVar("T")

JOBS_LISTED_MAX = 1_000  # one reply must fit into one frame of the control socket
DEADLINE_MAX_MS = 3_653 * 86_400_000
"""Ten years: what is paid for is held back until then, and now and this together are a time in any event."""
STDOUT_MAX = 256 * 1024  # bytes of a program's output carried in a reply; the whole is in the files

Account = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
CidText = Annotated[str, Meta(pattern=r"^b[a-z2-7]{58}\Z")]
AbsolutePath = Annotated[str, Meta(pattern=r"^/[^\x00]*\Z", max_length=4096)]
Standing = Literal["pending", "tentative", "final"]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all parameters and replies: closed, immutable."""


class Nothing(Message, frozen=True, kw_only=True):
    """No parameters, or a reply that only says that it happened."""


# -- the node ------------------------------------------------------------------------------------------


class ValidatorSeat(Message, frozen=True, kw_only=True):
    account: Account
    stake: Positive
    here: bool


class Standstill(Message, frozen=True, kw_only=True):
    """Nothing becomes final, though something waits. `heard`: validators whose words came lately."""

    since: Millis
    heard: list[Account]
    weight: Uint
    total: Uint


class FinalityState(Message, frozen=True, kw_only=True):
    """Who decides what is final, and what may go wrong before nobody can.

    kind       `solo`: one validator; `anchored`: one holds more than two thirds; `shared`: neither
    tolerates  how many validators, whichever they are, may be down (f)
    needed     accounts without any one of which nothing becomes final
    standstill null while things become final, or nothing waits to
    abstains   this validator leaves the present slot to others: `asking` until enough have said what they
               hold of its votes; `lost` where it may have voted before it lost what its disk held
    """

    kind: Literal["solo", "anchored", "shared"]
    tolerates: Uint
    needed: list[Account]
    validators: list[ValidatorSeat]
    standstill: Standstill | None = None
    abstains: Literal["", "asking", "lost"] = ""


class WorkerState(Message, frozen=True, kw_only=True):
    """`price` in micro-credits per Gfuel; `doing` one line a run, `why` what `action` is, both for people.

    Since the start, measured from outside of the runs: `shards` begun, `cpu_ms` of processor time,
    `memory_peak` bytes of the largest. `walls`: what stood around the last (docs/sandbox.md).

    bond     most micro-credits set aside for a run;  streak: compared runs that agreed in a row
    check_ppm  how many in a million of its runs are checked by its history; a small bond calls for more
    """

    enabled: bool
    slots: Uint
    busy: Uint
    price: Micro
    doing: list[str] = []
    action: Literal["run", "suspend", "evict"] = "run"
    why: str = ""
    shards: Uint = 0
    cpu_ms: Uint = 0
    memory_peak: Uint = 0
    walls: list[str] = []
    bond: Micro = 0
    streak: Uint = 0
    check_ppm: Uint = 1_000_000


class Status(Message, frozen=True, kw_only=True):
    """height: of the last final checkpoint; ledger_time: its T; unordered: events not yet in one.

    `device` is the node's own key; `account` whom it acts for, mostly the same. `mode` is what it keeps of
    the history, and `since` the height at which that begins here.
    """

    version: str
    name: str
    net: CidText
    account: Account
    peer_id: str
    addresses: list[str]
    api: str | None
    uptime_ms: Millis
    peers: Uint
    height: Uint
    ledger_time: Millis
    events: Uint
    unordered: Uint
    finality: FinalityState
    worker: WorkerState
    device: Account | None = None
    counters: dict[str, int] = {}
    mode: str = "archive"
    since: Uint = 0


class Peer(Message, frozen=True, kw_only=True):
    """One link; `connected_ms` is its age."""

    peer_id: str
    address: str
    direction: Literal["inbound", "outbound"]
    connected_ms: Millis


class Peers(Message, frozen=True, kw_only=True):
    peers: list[Peer]


class Invitation(Message, frozen=True, kw_only=True):
    """`line` is for `fog join`; `carries_genesis` false means the file must be given along."""

    line: str
    net: CidText
    addresses: list[str]
    carries_genesis: bool


# -- jobs ----------------------------------------------------------------------------------------------


class JobSubmit(Message, frozen=True, kw_only=True):
    """Run one program.

    files     empty: `shards` runs of the program without an input file; else one shard for each file, or
              `shards` shards that share them out in order
    output    folder for the results (`a.txt.out` for an input `a.txt`); null: only what the reply carries
    shards    null: one for each file, or 1
    price     most to pay, micro-credits per Gfuel;  fuel: limit of one shard, in units
    memory    bytes the program may use;  lease_ms: how long one run may take
    output_max   bytes that a shard may print and store
    deadline_ms  from now; what is not settled by then is refunded
    checks    1: another account runs each shard too, before it is paid; 0: trust the first; 2: so often as
              the worker's history and its bond call for
    bond      micro-credits that every account sets aside for each run; null: what the offers that stand make
              possible
    wait      false: reply as soon as the job is durable here, with state `pending`
    """

    program: AbsolutePath
    args: Annotated[list[str], Meta(max_length=ARGUMENTS_MAX)]
    files: Annotated[list[AbsolutePath], Meta(max_length=SHARDS_MAX)]
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    output: AbsolutePath | None
    shards: Annotated[int, Meta(ge=1, le=SHARDS_MAX)] | None
    price: Micro
    fuel: Positive
    memory: Annotated[int, Meta(ge=MEMORY_MIN, le=MEMORY_MAX)]
    lease_ms: Annotated[int, Meta(ge=LEASE_MIN_MS, le=LEASE_MAX_MS)]
    deadline_ms: Annotated[int, Meta(ge=1, le=DEADLINE_MAX_MS)]
    checks: Annotated[int, Meta(ge=0, le=2)]
    wait: bool
    bond: Micro | None = None
    output_max: Annotated[int, Meta(ge=0, le=OUTPUT_MAX)] = OUTPUT_MAX


class JobProgress(Message, frozen=True, kw_only=True):
    """How many of `shards` are in each state; `fetched`: results that are here; `lost`: that are not waited
    for any more; `note`: why it waits."""

    job: CidText
    shards: Uint
    settled: Uint
    leased: Uint
    checking: Uint
    failed: Uint
    fetched: Uint
    note: str = ""
    lost: Uint = 0


class ShardLine(Message, frozen=True, kw_only=True):
    """One shard: a `domain.effects.ShardState`, who was paid, and its files as paths below `output`.

    inputs     names of its input files, in order
    exit_code  the largest of its runs;  statuses  how they ended (`domain.compute.spec.Status`), each once
               (null and empty while the result is not here; `bad_result` alone when it is none, one of
               `fog.bringing.LOSSES` when it is not waited for any more);  details: why, for those that say
    """

    shard: Uint
    state: str
    inputs: list[str] = []
    result: CidText | None = None
    fuel: Uint = 0
    exit_code: int | None = None
    statuses: list[str] = []
    details: list[str] = []
    workers: list[Account] = []
    files: list[str] = []


class JobLine(Message, frozen=True, kw_only=True):
    """One job: `state` a `domain.effects.JobState`; or `pending` before it is ordered, `refused` after.

    `lost`: results that were settled, and are not waited for any more.
    """

    job: CidText
    name: str
    state: str
    standing: Standing
    shards: Uint
    settled: Uint
    failed: Uint
    escrow: Micro
    spent: Micro
    submitted: Millis
    deadline: Millis
    lost: Uint = 0


class JobResult(Message, frozen=True, kw_only=True):
    """`stdout` is the text of shard 0 (at most 256 KiB) when there is one shard; null when there are more."""

    job: JobLine
    output: str | None
    results: Annotated[list[ShardLine], Meta(max_length=SHARDS_MAX)]
    stdout: str | None = None
    stdout_cut: bool = False


class JobList(Message, frozen=True, kw_only=True):
    """Newest first. `everyone` also lists the jobs of other accounts."""

    limit: Annotated[int, Meta(ge=1, le=JOBS_LISTED_MAX)] = 50
    everyone: bool = False


class Jobs(Message, frozen=True, kw_only=True):
    jobs: list[JobLine]


class JobName(Message, frozen=True, kw_only=True):
    """`job`: the id, or its last characters (at least 6) when they name one job of this node."""

    job: Annotated[str, Meta(min_length=6, max_length=59, pattern=r"^[a-z2-7]+\Z")]


class Appeal(JobName, frozen=True, kw_only=True):
    """Which shard of it settled on something that is doubted."""

    shard: Annotated[int, Meta(ge=0, lt=SHARDS_MAX)]


class RunLine(Message, frozen=True, kw_only=True):
    """One lease, as `domain.effects.RunIs` tells it."""

    shard: Uint
    attempt: Uint
    worker: Account
    role: str
    state: str
    fuel: Uint
    paid: Micro
    reason: str = ""


class JobDetail(Message, frozen=True, kw_only=True):
    job: JobLine
    shards: list[ShardLine]
    runs: list[RunLine]


# -- money and the ledger ------------------------------------------------------------------------------


class WalletBalance(Message, frozen=True, kw_only=True):
    """null: this node's own account."""

    account: Account | None = None


class Balance(Message, frozen=True, kw_only=True):
    """`tentative_free`: what `free` becomes if everything known here becomes final."""

    account: Account
    free: Micro
    escrow: Micro
    pledged: Micro
    tentative_free: Micro
    height: Uint


class WalletSend(Message, frozen=True, kw_only=True):
    """`amount` in micro-credits. `wait`: until it is final."""

    to: Account
    amount: Positive
    memo: Annotated[str, Meta(max_length=255)] = ""
    wait: bool = True


class Recorded(Message, frozen=True, kw_only=True):
    """An event that this node signed. `height` and `code` (`ok`) once it is final."""

    event: CidText
    standing: Standing
    height: Uint | None = None
    code: str | None = None


class Export(Message, frozen=True, kw_only=True):
    """`path` is a new file; `.car` or `.ndjson` says which format."""

    path: AbsolutePath


class Exported(Message, frozen=True, kw_only=True):
    """Progress while it runs, and the reply. `bytes`: size of the file so far."""

    path: str
    events: Uint
    height: Uint
    bytes: Uint


PARAMS: dict[str, type[Message]] = {
    "status": Nothing,
    "peers": Nothing,
    "invite": Nothing,
    "job.submit": JobSubmit,
    "job.list": JobList,
    "job.show": JobName,
    "job.cancel": JobName,
    "job.fetch": JobName,
    "job.appeal": Appeal,
    "wallet.balance": WalletBalance,
    "wallet.send": WalletSend,
    "export": Export,
    "stop": Nothing,
}
"""Every method and what it takes."""


def shape(kind: type[T], value: Any) -> T:
    """What came over the socket -> struct. Raises UsageError (`bad_request`) that names the field."""
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"not a valid {kind.__name__}: {error}",
            code="bad_request",
            next_step="see --help for what may be given; or command and node differ in version: compare "
            "`fog --version` and `fog status`",
        ) from error


def plain(message: Message) -> dict[str, Any]:
    """Struct -> what goes over the socket."""
    value: dict[str, Any] = msgspec.to_builtins(message)
    return value
