"""The rows of the state: what each table holds, under which key, in which bytes.

    table       key                                   value
    supply      (empty)                               Supply: all the money there is, and where
    params      (empty)                               Params, fixed at genesis
    account     account                               Account
    standing    account                               Standing: what its runs came to
    verdict     job, shard (2)                        Verdict, while it can be appealed
    offer       device                                Offer, while it stands or is still busy
    job         job                                   Job: its terms, which never change
    tally       job                                   Tally: how far it is
    shard       job, shard (2)                        Shard, from its first lease until it ends
    escrow      escrow                                Escrow: set aside for vouchers, until it ends
    escrows     payer; (empty)                        how many escrows it has open (4); and all together
    identity    account                               Identity (`domain.rules.identity`)
    recovery    account                               Recovery, while guardians ask for one
    delegation  account, device                       (nothing): read by `ledger.cut`
    bond        account                               Bond, while it holds anything (`domain.rules.bonds`)
    former      account                               devices that it dropped (`domain.rules.former`)

Indexes, so that closing a checkpoint looks only at what it acts on:

    idle        engine, price (8), device             (nothing): offers with a free slot
    queue       engine, INT63_MAX - price (8), submitted (8), job     bond (8), and who may not run it: jobs
                                                                      with open shards
    draw        engine, job, shard (2)                height (8): shards that wait for a checker since then
    coin        job, shard (2)                        height (8): whether they are checked is to be drawn
    window      job, shard (2)                        (nothing): shards whose time to reveal must begin
    agenda      see `domain.rules.agenda`
    pulse       `stirred`, `ready`                    see `domain.rules.pulse`
    calendar    what (1), height (8)                  see `domain.rules.calendar`

Values are DAG-CBOR lists of the record's fields, in order. What has ended leaves the state: a settled shard,
a job that is over, an offer that nobody keeps. Receipts tell their story, so the state grows with the work in
hand and not with the work ever done.

Knows bytes. Does not know a rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

import cbrrr
import msgspec
from msgspec.structs import astuple, replace

from domain.rules.params import Params
from ledger import canonical, cut
from ledger.cid import Cid
from ledger.cut import LaneHead
from ledger.types import INT63_MAX

OFFERS_MAX: Final = 4096
"""Offers that stand at once: placing sorts them all (some 10 ms), once in a checkpoint that has work."""

JOBS_MAX: Final = 10_000
"""Jobs that run at once, for the same reason."""


POTS: Final = ("free", "escrow", "pledged", "bonded", "unbonding", "burned")
"""Where a micro-credit can be. Burned is for good."""


class Supply(msgspec.Struct, frozen=True):
    """Micro-credits: the pots add up to `minted`, always. Also counts what is bounded network-wide."""

    minted: int
    free: int
    escrow: int
    offers: int = 0
    jobs: int = 0
    bonded: int = 0
    unbonding: int = 0
    burned: int = 0
    bonds: int = 0
    pledged: int = 0


class Account(msgspec.Struct, frozen=True):
    """Micro-credits. `escrow` is what this account's own jobs and its open escrows hold, `pledged` what is
    set aside for runs of its own. `height` is that of the last movement; `old`, of what is free, was there
    before it and stayed."""

    free: int = 0
    escrow: int = 0
    pledged: int = 0
    height: int = 0
    old: int = 0


class Standing(msgspec.Struct, frozen=True):
    """Runs that agreed, runs that were wrong, leases let go or lost; how many agreed in a row, and all the
    bonds that these had at stake (`worth`, micro-credits)."""

    agreed: int = 0
    wrong: int = 0
    lost: int = 0
    streak: int = 0
    worth: int = 0


class Offer(msgspec.Struct, frozen=True):
    """`busy` of `slots` are computing; `slots` 0 is an offer withdrawn or expired with runs still busy.

    `account` is who the device acts for. `since` is the height from which the device has had an offer for it
    without a break, open to no less than now: else whoever knows a draw could step into it. `bond` is the
    most that it pledges for one run.
    """

    account: bytes
    slots: int
    busy: int
    price: int
    until: int
    engine: bytes
    since: int
    bond: int = 0


class Job(msgspec.Struct, frozen=True):
    """The terms of a job, with the moment it was submitted (ledger time, unix ms).

    An appeal is a job of one shard: that of number `first` of the job that it `appeals`.
    """

    submitter: bytes
    spec: Cid
    shards: int
    fuel: int
    price: int
    lease: int
    deadline: int
    engine: bytes
    checks: int
    submitted: int
    bond: int = 0
    first: int = 0
    appeals: Cid | None = None

    @property
    def count(self) -> int:
        """How many shards it has: those from `first` on."""
        return self.shards - self.first


class Checks:
    """What a job asks for: `Job.checks`."""

    NEVER: Final = 0
    ALWAYS: Final = 1
    ADAPTIVE: Final = 2


class JobState:
    """In the last two, only shards with committed runs go on."""

    RUNNING: Final = 0
    CANCELLED: Final = 1
    EXPIRED: Final = 2


class Tally(msgspec.Struct, frozen=True):
    """How far a job is.

    cursor    shards below it were leased at least once; the others are open and have no row
    reopened  shards below the cursor that are open again: 2 bytes each, sorted
    live      shards below the cursor that have not ended
    held      micro-credits still in escrow;  spent  paid out
    """

    state: int = JobState.RUNNING
    cursor: int = 0
    reopened: bytes = b""
    live: int = 0
    settled: int = 0
    failed: int = 0
    held: int = 0
    spent: int = 0


class RunState:
    """See `domain.rules.runs`; up to REVEALED a run is live."""

    LEASED: Final = 0
    COMMITTED: Final = 1
    REVEALED: Final = 2
    PAID: Final = 3
    UNPAID: Final = 4
    EXPIRED: Final = 5
    RELEASED: Final = 6


class Role:
    """WORK opens a shard; CHECK is drawn to be compared with it."""

    WORK: Final = 0
    CHECK: Final = 1


class Run(msgspec.Struct, frozen=True):
    """One lease. `price` is the worker's own, as its offer was; `until` is the first moment too late.

    worker  the account;  device  its machine whose offer was taken
    bond  pledged for it, and at stake while it is live
    late  1 when a result of the shard was public before it was leased, in an appeal the one that is doubted:
          it could have been copied
    opened  height at which its time to reveal began; 0: it did not yet
    hidden  1 when it was to be compared and was not revealed
    """

    worker: bytes
    device: bytes
    role: int
    state: int
    leased: int
    until: int
    price: int
    commitment: bytes | None = None
    result: Cid | None = None
    fuel: int = 0
    bond: int = 0
    late: int = 0
    opened: int = 0
    hidden: int = 0

    @property
    def is_live(self) -> bool:
        return self.state <= RunState.REVEALED

    @property
    def outcome(self) -> tuple[Cid | None, int]:
        """What must be equal for two runs to agree."""
        return self.result, self.fuel


class Fate:
    """What was drawn for the run that opened a shard; forgotten when the shard is open again."""

    UNDRAWN: Final = 0
    CHECKED: Final = 1
    TRUSTED: Final = 2


class Shard(msgspec.Struct, frozen=True):
    """Every run of one shard so far: the attempt is the index.

    waits  ledger time of the next look at whether anybody could check it; 0: there is none
    looks  at it so far
    """

    runs: tuple[Run, ...] = ()
    fate: int = Fate.UNDRAWN
    waits: int = 0
    looks: int = 0

    @property
    def live(self) -> list[Run]:
        return [run for run in self.runs if run.is_live]

    def with_run(self, attempt: int, run: Run) -> Shard:
        return replace(self, runs=(*self.runs[:attempt], run, *self.runs[attempt + 1 :]))


class Escrow(msgspec.Struct, frozen=True):
    """`redeemed` of `amount` has gone to the payee. `key` signs its vouchers.

    Heights: `expiry` as the payer chose it; `until`, the last one at which a voucher can be redeemed, unless
    the ledger time is not `until_time` yet. `expiry_time` is the payer's too.
    """

    payer: bytes
    payee: bytes
    key: bytes
    amount: int
    redeemed: int
    expiry: int
    until: int
    expiry_time: int
    until_time: int

    @property
    def rest(self) -> int:
        return self.amount - self.redeemed


R = TypeVar("R")
S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """A table's name, and how its records are bytes."""

    name: str
    encode: Callable[[R], bytes]
    decode: Callable[[bytes], R]


def as_list(data: bytes) -> list[Any]:
    # Rows were encoded here, and the state's root stands for them: nothing is left to check.
    return cast("list[Any]", cbrrr.decode_dag_cbor(data, cid_ctor=Cid))


def flat(name: str, kind: type[S]) -> Table[S]:
    def encode(record: S) -> bytes:
        return canonical.encode(list(astuple(record)))

    return Table(name, encode, lambda data: kind(*as_list(data)))


def _encode_shard(shard: Shard) -> bytes:
    return canonical.encode(
        [shard.fate, shard.waits, shard.looks, *(list(astuple(run)) for run in shard.runs)]
    )


def _decode_shard(data: bytes) -> Shard:
    fate, waits, looks, *runs = as_list(data)
    return Shard(tuple(Run(*fields) for fields in runs), fate, waits, looks)


def raw(name: str) -> Table[bytes]:
    return Table(name, bytes, bytes)


def _lane_head(data: bytes) -> LaneHead:
    return canonical.decode_own(LaneHead, data, size_max=cut.LANE_HEAD_SIZE_MAX)


SUPPLY: Final = flat("supply", Supply)
PARAMS: Final = flat("params", Params)
ACCOUNT: Final = flat("account", Account)
STANDING: Final = flat("standing", Standing)
OFFER: Final = flat("offer", Offer)
JOB: Final = flat("job", Job)
TALLY: Final = flat("tally", Tally)
SHARD: Final = Table("shard", _encode_shard, _decode_shard)

IDLE: Final = raw("idle")
QUEUE: Final = raw("queue")
DRAW: Final = raw("draw")
COIN: Final = raw("coin")
WINDOW: Final = raw("window")
AGENDA: Final = raw("agenda")
DUE: Final = raw("due")
PULSE: Final = raw("pulse")

DELEGATION: Final = raw(cut.DELEGATION)
LANE: Final[Table[LaneHead]] = Table(cut.LANE, canonical.encode, _lane_head)

ESCROW: Final = flat("escrow", Escrow)
ESCROWS: Final = raw("escrows")
RESTS: Final = raw("rests")
"""Key: an open escrow, or an account with a bond; a row: the height up to which it rests
(`domain.rules.checks`)."""

CALENDAR: Final = raw("calendar")

ONLY: Final = b""
"""The key of a table with one row."""


def shard_key(job: bytes, shard: int) -> bytes:
    return job + shard.to_bytes(2, "big")


def idle_key(offer: Offer, device: bytes) -> bytes:
    """Cheapest first within an engine."""
    return offer.engine + offer.price.to_bytes(8, "big") + device


def queue_key(job: Job, id: bytes) -> bytes:
    """Within an engine: who pays most first, then who waits longest."""
    return job.engine + (INT63_MAX - job.price).to_bytes(8, "big") + job.submitted.to_bytes(8, "big") + id


def queue_row(job: Job) -> bytes:
    """What tells an offer that is none for the job: the bond, and its submitter where results are checked."""
    return job.bond.to_bytes(8, "big") + (job.submitter if job.checks else b"")


def draw_key(job: Job, id: bytes, shard: int) -> bytes:
    return job.engine + shard_key(id, shard)
