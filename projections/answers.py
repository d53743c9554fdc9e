"""The shapes of answers: what a reader of the API can count on, and how each kind of value is written.

    accounts, devices, engines   64 hex digits
    events, jobs, results        CIDs in base32 (`bafy…`)
    amounts, prices, fuel        decimal digits in a string: up to 2^63-1, and JavaScript is exact to 2^53
    moments                      unix milliseconds as a number; what an author wrote may be no calendar date
    heights and counts           numbers

Each value or record says its `status` and the `height` of the checkpoint that set it. Lists and single things
come in an envelope with the `height` and ledger `time` as of which the whole answer holds.

The types turn what is in the tables into these forms, so a shape is built straight from a row.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from domain.effects import EscrowState, JobState, Offence, RunRole, RunState, ShardState
from domain.rules.checking import by_history
from ledger.cid import Cid

T = TypeVar("T")

ACCOUNT = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
EVENT = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"


def _hex(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def link(value: Any) -> Any:
    """A Cid, or its 36 bytes, as text."""
    return str(Cid(value)) if isinstance(value, bytes) else value


def _digits(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


Account = Annotated[str, BeforeValidator(_hex), Field(pattern="^[0-9a-f]{64}$", examples=[ACCOUNT])]
Digest = Annotated[str, BeforeValidator(_hex), Field(pattern="^[0-9a-f]{64}$", examples=["9f" * 32])]
Link = Annotated[str, BeforeValidator(link), Field(pattern="^b[a-z2-7]{58}$", examples=[EVENT])]
Amount = Annotated[str, BeforeValidator(_digits), Field(pattern="^[0-9]{1,19}$", examples=["12400000"])]
Fuel = Annotated[str, BeforeValidator(_digits), Field(pattern="^[0-9]{1,19}$", examples=["1500000000"])]
Moment = Annotated[int, Field(ge=0, examples=[1_795_000_000_000], description="Unix milliseconds.")]
Height = Annotated[
    int, Field(ge=0, examples=[42], description="Of the checkpoint that set it; 0 is genesis.")
]
Count = Annotated[int, Field(ge=0, examples=[3])]
Status = Annotated[
    Literal["pending", "tentative", "final"],
    Field(description="final: in a final checkpoint, for good. tentative: may change. pending: incomplete."),
]


class Shape(BaseModel):
    """Base of all shapes. Of a row it takes what it names and leaves the rest."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Value(Shape):
    """One amount, with how sure it is."""

    value: Amount
    status: Status = "final"
    height: Height


class Record(Shape):
    """Base of whole records: every field of it has this status and was set at this height."""

    status: Status = "final"
    height: Height


class Balance(Shape):
    account: Account
    free: Value
    escrow: Value
    pledged: Annotated[Value, Field(description="Set aside for runs of its own, until each is over.")]

    @classmethod
    def of(cls, row: dict[str, Any], status: str = "final") -> Balance:
        amounts = {
            name: {"value": row[name], "status": status, "height": row["height"]}
            for name in ("free", "escrow", "pledged")
        }
        return cls.model_validate({"account": row["account"], **amounts})


class Supply(Shape):
    """All the money there is: the other amounts add up to `minted`. What was burned is gone for good."""

    minted: Amount
    free: Amount
    escrow: Amount
    pledged: Amount
    bonded: Amount
    unbonding: Amount
    burned: Amount


class Validator(Record):
    """`votes` is its stake in the present epoch, `votes_next` in the next; 0: it does not vote in it."""

    account: Account
    bonded: Amount
    unbonding: Amount = Field(description="On its way out, and still within reach of evidence.")
    jailed: Moment = Field(description="In jail until then, and until it asks to be let out; 0: it is not.")
    votes: Amount
    votes_next: Amount
    slashed: Amount = Field(description="All that it ever lost for faults.")


class Slash(Record):
    """One punishment: of `amount`, `bounty` went to the reporter; the rest was burned."""

    event: Link | None
    account: Account
    offence: Offence
    reporter: Account
    amount: Amount
    bounty: Amount
    share: Annotated[int, Field(ge=0, le=1_000_000, description="Of its stake, in millionths.")]
    time: Moment


class BothBalances(Shape):
    """What is final, and what it becomes if everything this node has seen becomes final."""

    final: Balance
    tentative: Balance | None


class Transfer(Record):
    event: Link | None
    source: Account
    target: Account
    amount: Amount
    time: Moment


class Escrow(Record):
    """Set aside by `payer` for the vouchers of `payee`; `redeemed` of `amount` was paid to it so far.

    What was not redeemed when it ended went back to the payer.
    """

    escrow: Link
    payer: Account
    payee: Account
    key: Account = Field(description="Signs its vouchers.")
    state: EscrowState
    amount: Amount
    redeemed: Amount = Field(description="The highest total among the vouchers redeemed.")
    opened: Height
    expiry: Height = Field(description="Up to which the payer vouches.")
    expiry_time: Moment = Field(description="Up to which it vouches in any case, whatever the height.")
    until: Height = Field(description="The last at which a voucher can be redeemed.")
    until_time: Moment = Field(description="Up to which it can be in any case, whatever the height.")


class Event(Shape):
    """`code` is `ok` or why it had no effect; null while it is not final, like `height` and `index`."""

    status: Status
    height: Height | None
    index: Annotated[int | None, Field(description="Its place within the checkpoint.")]
    event: Link
    kind: str = Field(examples=["transfer"])
    account: Account
    device: Account | None = None
    lane: int | None = None
    seq: int | None = None
    signed: Moment
    time: Moment | None
    code: str | None = Field(examples=["ok"])
    message: str = ""

    @classmethod
    def of(cls, row: dict[str, Any]) -> Event:
        return cls.model_validate(row | {"index": row["idx"], "status": "final"})


class Job(Record):
    """`spent` of `escrow` was paid out; the rest returns when the job ends."""

    job: Link
    submitter: Account
    state: JobState
    spec: Link
    shards: Count
    settled: Count
    failed: Count
    escrow: Amount
    spent: Amount
    price: Amount = Field(description="Highest micro-credits per Gfuel.")
    fuel: Fuel = Field(description="Limit for each shard.")
    submitted: Moment
    deadline: Moment
    checks: Annotated[Count, Field(description="0: none, 1: every result, 2: as history and bond call for.")]
    bond: Amount = Field(description="Set aside by every account for each run.")


class Shard(Record):
    shard: Count
    state: ShardState
    result: Link | None
    fuel: Fuel


class Run(Record):
    """One lease of a shard. `until` is when it must be revealed; 0 once the run is over."""

    job: Link
    shard: Count
    attempt: Count
    worker: Account
    device: Account = Field(description="The machine of the account that has it.")
    role: RunRole
    state: RunState
    leased: Moment
    until: Moment
    result: Link | None
    fuel: Fuel
    paid: Amount
    reason: str
    bond: Amount = Field(description="Set aside for it, while it is at stake.")


class Offer(Record):
    """Of one device, for an account."""

    account: Account
    device: Account
    engine: Digest
    price: Amount = Field(description="Micro-credits per Gfuel.")
    slots: Count
    busy: Count
    until: Moment
    bond: Amount = Field(description="Most that the account sets aside for one run.")


class Price(Record):
    """Lowest and (lower) median ask among the offers of one engine, in micro-credits per Gfuel."""

    engine: Digest
    lowest: Amount | None
    median: Amount | None
    offers: Count
    time: Moment


class Reputation(Record):
    """Counts of runs, and over all paid ones their number, fuel and pay (totals stop at 2^63-1)."""

    account: Account
    agreed: Count
    wrong: Count
    lost: Count
    streak: Count = Field(description="Compared runs that agreed since one was wrong or hidden.")
    check_ppm: Count = Field(
        description="How many in a million of its runs its history has checked, towards a bond no larger "
        "than those in it; a larger one counts fewer of these runs, and any bond may call for more."
    )
    runs: Count
    fuel: Fuel
    amount: Amount

    @classmethod
    def of(cls, row: dict[str, Any]) -> Reputation:
        return cls.model_validate(row | {"check_ppm": by_history(row["streak"])})


class Forfeit(Record):
    """A run's bond that was lost. Of `amount`, `refund` went to the submitter of the job, `bounty` to
    `finder`, whom the run had contradicted; the rest was burned."""

    account: Account
    job: Link
    shard: Count
    attempt: Count
    reason: str = Field(examples=["wrong_result"])
    amount: Amount
    submitter: Account
    refund: Amount
    finder: Account | None
    bounty: Amount
    time: Moment


class Earner(Record):
    """What one device of an account was ever paid for (totals stop at 2^63-1)."""

    account: Account
    device: Account
    runs: Count
    fuel: Fuel
    amount: Amount
    time: Moment = Field(description="Of the last run that was paid.")


class Contribution(Record):
    account: Account
    device: Account
    job: Link
    shard: Count
    attempt: Count
    role: RunRole
    fuel: Fuel
    amount: Amount
    time: Moment


class Checkpoint(Record):
    """The roots by which an auditor compares this node with any other."""

    id: Link
    parent: Link | None
    time: Moment
    events: Count
    refused: Count
    leaves: Count = Field(description="Of the event tree, after this checkpoint.")
    event_root: Digest
    state_root: Digest
    receipt_root: Digest

    @classmethod
    def of(cls, row: dict[str, Any]) -> Checkpoint:
        said = row["checkpoint"]
        return cls.model_validate(
            row
            | {
                "id": said.id,
                "parent": said.parent,
                "leaves": said.n,
                "event_root": said.eroot,
                "state_root": said.sroot,
                "receipt_root": said.rroot,
            }
        )


class Page(BaseModel, Generic[T]):
    """A part of a list, as of `height`. Follow `next` (as `after`) until it is null."""

    height: Height = Field(description="The last final checkpoint that this answer takes into account.")
    time: Moment
    items: list[T]
    next: str | None = Field(examples=["ghghJg"], description="Opaque; null at the end.")


class One(BaseModel, Generic[T]):
    """A single thing, as of `height`."""

    height: Height = Field(description="The last final checkpoint that this answer takes into account.")
    time: Moment
    item: T


class NodeStatus(Shape):
    """One node, now; see `finality` and `must_be_up` for what it takes to go on."""

    version: str = Field(examples=["0.1.0"])
    network: str = Field(examples=["home"])
    net: Link
    account: Account
    device: Account
    height: Height
    folded: Height = Field(description="How far the read models are.")
    mode: str = Field(examples=["archive"], description="What it keeps: archive, full or light.")
    since: Height = Field(description="History is here above it: where this node began; 0 is genesis.")
    time: Moment
    finality: str = Field(examples=["solo"], description="solo, anchored or shared")
    validators: Count
    must_be_up: Count
    is_validator: bool
    peers: Count
    pending: Count
    tentative: Count
    lending: str = Field(examples=["idle"], description="off, idle, running or paused")
    reason: str


class HarvestChange(Shape):
    at: Moment
    action: str = Field(examples=["suspend"], description="run, suspend or evict")
    code: str = Field(examples=["user_active"])
    sentence: str


class Harvest(Shape):
    action: str = Field(
        examples=["run"],
        description="run; suspend: stopped, its memory kept; evict: ended and given back",
    )
    code: str = Field(examples=["idle"], description="Why.")
    sentence: str = Field(description="Why, for people.")
    remedy: str = Field(description="What its owner can do; empty: wait.")
    also: list[str] = Field(description="Codes of what else stands in the way.")
    at: Moment
    until: Moment | None = Field(description="When the answer may change by itself, if anything tells.")
    paused: Moment = Field(description="Until when its owner paused it; 0: not paused.")
    profile: str = Field(
        examples=["laptop"], description="Whose limits hold; empty: the machine is not watched."
    )
    readings: dict[str, int | bool] = Field(description="What is known of the machine.")
    unknown: list[str] = Field(description="What is not.")
    failures: dict[str, str] = Field(description="Why not, by the name of who was asked.")
    changes: list[HarvestChange] = Field(description="The answers before, the newest last.")


class HarvestAnswer(Shape):
    item: Harvest


class Peer(Shape):
    id: str = Field(examples=["12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf"])
    address: str = Field(examples=["/ip4/192.0.2.7/tcp/4001"])
    since: Moment
    direction: Literal["in", "out"]


class Peers(Shape):
    items: list[Peer]


class WaitingEvents(Shape):
    items: list[Event]
