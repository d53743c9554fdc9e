"""What a receipt says has changed: the only thing that read models fold.

Rules write effects, projections read them; so no projection repeats a rule, and a table can be rebuilt from
receipts alone. Each effect states the value *after* the change, so folding one twice is harmless.

What must always hold: effects are a function of (state before, event, context); they carry no reason to look
anything up elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ledger import canonical
from ledger.cid import Cid
from ledger.types import Digest, Key, Micro, Millis, Name, Uint

EFFECT_SIZE_MAX = 4096

JobState = Literal["running", "done", "cancelled", "expired"]
ShardState = Literal[
    "open", "leased", "checking", "trusted", "disputed", "settled", "failed", "cancelled", "expired"
]
RunState = Literal["leased", "committed", "revealed", "paid", "unpaid", "expired", "released"]
RunRole = Literal["work", "check"]
AppealState = Literal["open", "upheld", "overturned", "void"]
Offence = Literal["votes", "fork", "warrant"]
RecoveryState = Literal["asked", "waiting", "done", "cancelled"]
EscrowState = Literal["open", "closed", "expired"]


class Effect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", omit_defaults=True):
    """Base of all effects; `t` names which one."""


class Balance(Effect, frozen=True, tag="balance"):
    """An account's free micro-credits after the change, how many it has in escrow, and how many it has
    pledged for runs of its own."""

    account: Key
    free: Micro
    escrow: Micro
    pledged: Micro = 0


class Transferred(Effect, frozen=True, tag="transfer"):
    source: Key
    to: Key
    amount: Micro


class OfferStands(Effect, frozen=True, tag="offer"):
    """The offer of a device as it now stands; `slots` 0 means withdrawn or expired.

    bond  most that its account pledges for one run
    """

    account: Key
    device: Key
    slots: Uint
    busy: Uint
    price: Micro
    until: Millis
    engine: Digest
    bond: Micro = 0


class JobIs(Effect, frozen=True, tag="job"):
    """A job as it now stands. Of `escrow`, taken at its start, `spent` was paid out; each shard's rest
    returns when that shard ends."""

    job: Cid
    submitter: Key
    state: JobState
    spec: Cid
    shards: Uint
    settled: Uint
    failed: Uint
    escrow: Micro
    spent: Micro
    price: Micro
    fuel: Uint
    submitted: Millis
    deadline: Millis
    checks: Uint
    bond: Micro = 0


class ShardIs(Effect, frozen=True, tag="shard"):
    """A shard as it now stands; `result` and `fuel` once two runs agreed (or one, when unchecked).

    trusted   its one run has committed, and the draw spared it a check: it may reveal
    Told from its first lease on: a shard that was never leased is open while its job runs, and ends with it.
    """

    job: Cid
    shard: Uint
    state: ShardState
    result: Cid | None = None
    fuel: Uint = 0


class RunIs(Effect, frozen=True, tag="run"):
    """One lease of one shard. `until` is the ledger time by which its next step must be made; 0 once over.

    bond  pledged for it, while it is at stake
    """

    job: Cid
    shard: Uint
    attempt: Uint
    worker: Key
    device: Key
    role: RunRole
    state: RunState
    leased: Millis
    until: Millis
    result: Cid | None = None
    fuel: Uint = 0
    paid: Micro = 0
    reason: Annotated[str, Meta(max_length=255)] = ""
    bond: Micro = 0


class Contribution(Effect, frozen=True, tag="contribution"):
    """A run that was verified and paid: the receipt of work done by a device, for its account."""

    account: Key
    device: Key
    job: Cid
    shard: Uint
    attempt: Uint
    role: RunRole
    fuel: Uint
    amount: Micro
    time: Millis


class Reputation(Effect, frozen=True, tag="reputation"):
    """Counts after the change: runs that agreed, runs that were wrong, leases let go or lost.

    streak  compared runs that agreed since the last one that was wrong or was hidden
    """

    account: Key
    agreed: Uint
    wrong: Uint
    lost: Uint
    streak: Uint = 0


class EscrowIs(Effect, frozen=True, tag="escrow"):
    """An escrow for vouchers as it now stands: `redeemed` of `amount` has gone to the payee.

    key     signs its vouchers
    expiry, expiry_time  height and ledger time: the payer vouches until both have passed
    until, until_time    height and ledger time: a voucher can be redeemed until both have passed
    closed  by the payee, or redeemed in full;  expired  its time was over. Both: the rest went back
    """

    escrow: Cid
    payer: Key
    payee: Key
    key: Key
    amount: Micro
    redeemed: Micro
    expiry: Uint
    until: Uint
    expiry_time: Millis
    until_time: Millis
    state: EscrowState


class BondIs(Effect, frozen=True, tag="bond"):
    """An account's bond after the change. `jailed`: in jail until then (ledger time), 0 when it is not."""

    account: Key
    bonded: Micro
    unbonding: Micro
    jailed: Millis = 0


class Slashed(Effect, frozen=True, tag="slashed"):
    """An account was punished: of `amount`, `bounty` went to who brought the evidence; the rest is burned.

    share  how much of its stake that was, in millionths, rounded down
    """

    account: Key
    offence: Offence
    reporter: Key
    amount: Micro
    bounty: Micro
    share: Uint


class Forfeited(Effect, frozen=True, tag="forfeited"):
    """A run's bond is lost. Of `amount`, `refund` goes to the submitter and `bounty` to `finder`, whom the
    run contradicted; the rest is burned. `reason` as in `RunIs`."""

    account: Key
    job: Cid
    shard: Uint
    attempt: Uint
    reason: Name
    amount: Micro
    submitter: Key
    refund: Micro = 0
    finder: Key | None = None
    bounty: Micro = 0


class AppealIs(Effect, frozen=True, tag="appeal"):
    """An appeal against what a shard of `job` settled on: a job of its own, with the id `appeal`."""

    appeal: Cid
    job: Cid
    shard: Uint
    author: Key
    state: AppealState


class LaneClosed(Effect, frozen=True, tag="lane_closed"):
    """A lane has had its last event, because its author forked it."""

    author: Key
    lane: Uint


class Seat(Effect, frozen=True, tag="seat"):
    """A validator of a coming epoch. All of an epoch are told in the close that decides it."""

    epoch: Uint
    account: Key
    stake: Micro


class IdentityIs(Effect, frozen=True, tag="identity"):
    """Who may act for an account beside its own key (not it, when `retired`), and who may recover it."""

    account: Key
    devices: tuple[Key, ...]
    guardians: tuple[Key, ...]
    threshold: Uint
    retired: bool = False


class RecoveryIs(Effect, frozen=True, tag="recovery"):
    """Guardians would have `device` act for `account`; `agreed` of them, where `needed` are enough.

    waiting    enough agreed; it takes effect at `height` or later, and not before ledger time `time`
    done       it did, or found that the device may act already;  cancelled  by the account, or in vain
    """

    account: Key
    device: Key
    state: RecoveryState
    agreed: Uint
    needed: Uint
    height: Uint = 0
    time: Millis = 0


class Refusal(Effect, frozen=True, tag="refusal"):
    """Why an event had no effect, for people; the receipt's code is the public word."""

    code: Name
    message: Annotated[str, Meta(max_length=255)]


AnyEffect = (
    Balance
    | Transferred
    | OfferStands
    | JobIs
    | ShardIs
    | RunIs
    | Contribution
    | Reputation
    | EscrowIs
    | IdentityIs
    | RecoveryIs
    | BondIs
    | Slashed
    | Forfeited
    | AppealIs
    | LaneClosed
    | Seat
    | Refusal
)


def encode(effect: Effect) -> bytes:
    return canonical.encode(effect)


def encode_all(given: Sequence[Effect]) -> tuple[bytes, ...]:
    return canonical.encode_all(given)


def decode(data: bytes) -> AnyEffect:
    """Raises RemoteError when the bytes are not an effect this version knows."""
    return canonical.decode_own(AnyEffect, data, size_max=EFFECT_SIZE_MAX)  # type: ignore[arg-type]


def decode_all(all_data: Sequence[bytes]) -> list[AnyEffect]:
    """`decode` of each, in a quarter of the time; the error does not say which one is at fault."""
    return canonical.decode_all_own(AnyEffect, all_data, size_max=EFFECT_SIZE_MAX)  # type: ignore[arg-type]
