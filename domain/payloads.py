"""The bodies of events: one struct for each kind, with every field's range.

What must always hold: a payload that decoded is within its ranges, so rules only ask about the state. A kind
is the public word under `KINDS`; a kind that is not there gets the receipt `unknown_kind`.

Money is in micro-credits. Prices are micro-credits for one billion units of fuel (`Gfuel`); fuel is what the
sandbox counts, bit-equal on every machine, so the price of a run can be checked by running it again.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from domain.limits import SHARDS_MAX as SHARDS_MAX
from ledger.cid import Cid
from ledger.forks import ForkProof
from ledger.types import Digest, Key, Micro, Millis, Name, Positive, Signature, Uint
from ledger.votes import SignedVote
from ledger.warrants import Warrant

SLOTS_MAX: Final = 256
LEASE_MIN_MS: Final = 1_000
LEASE_MAX_MS: Final = 24 * 3_600_000
GUARDIANS_MAX: Final = 8

Shard = Annotated[int, Meta(ge=0, lt=SHARDS_MAX)]
ATTEMPTS_MAX: Final = 64
Attempt = Annotated[int, Meta(ge=0, lt=ATTEMPTS_MAX)]
"""Which run of a shard: 0 for the first lease, then 1, 2 … in the order they were leased."""


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all bodies: closed, immutable."""


class Transfer(Payload, frozen=True):
    """Move `amount` from the author's account to `to`."""

    to: Key
    amount: Positive
    memo: Annotated[str, Meta(max_length=255)] = ""


class Offer(Payload, frozen=True):
    """The author's standing offer to run shards; replaces its earlier one.

    slots   leases to hold at once, of which it may run fewer; 0 withdraws the offer
    price   micro-credits per Gfuel, at least this much
    until   ledger time (unix ms) after which the offer no longer stands
    engine  digest of the sandbox's engine and configuration: results are comparable only within one
    """

    slots: Annotated[int, Meta(ge=0, le=SLOTS_MAX)]
    price: Micro
    until: Millis
    engine: Digest


class BondedOffer(Payload, frozen=True):
    """An offer as `Offer` is, of an account that answers for its runs.

    bond  most micro-credits that it sets aside for one run; it loses them if the run is proven wrong
    """

    slots: Annotated[int, Meta(ge=0, le=SLOTS_MAX)]
    price: Micro
    until: Millis
    engine: Digest
    bond: Micro


class JobSubmit(Payload, frozen=True):
    """A job: one program over `shards` sets of inputs. Its id is this event's id.

    spec      blob with the program, arguments, limits and inputs (`domain.compute.spec.JobSpec`)
    fuel      limit for each shard;  price  highest micro-credits per Gfuel
    lease     ms from a lease to its commitment, and again from when it may be revealed to the reveal (with a
              bond, at least a minute)
    deadline  ledger time (unix ms) at which shards without a committed run are refunded; what had committed
              has twice that time more to be checked and revealed
    checks    1: each result is re-executed by another account before it is paid; 0: the submitter trusts
    """

    spec: Cid
    shards: Annotated[int, Meta(ge=1, le=SHARDS_MAX)]
    fuel: Positive
    price: Micro
    lease: Annotated[int, Meta(ge=LEASE_MIN_MS, le=LEASE_MAX_MS)]
    deadline: Millis
    engine: Digest
    checks: Annotated[int, Meta(ge=0, le=1)] = 1


class BondedJob(Payload, frozen=True):
    """A job as `JobSubmit` is, whose runs each set a bond aside (`domain.rules.checking`).

    checks  0: the submitter trusts; 1: every result is re-executed by another account before it is paid;
            2: so often as the worker's history and the bond call for, drawn after it committed
    bond    micro-credits that every account sets aside for each run of this job
    """

    spec: Cid
    shards: Annotated[int, Meta(ge=1, le=SHARDS_MAX)]
    fuel: Positive
    price: Micro
    lease: Annotated[int, Meta(ge=LEASE_MIN_MS, le=LEASE_MAX_MS)]
    deadline: Millis
    engine: Digest
    checks: Annotated[int, Meta(ge=0, le=2)]
    bond: Micro


class JobCancel(Payload, frozen=True):
    """By the submitter: unsettled shards are refunded; runs already committed are paid."""

    job: Cid


class JobAppeal(Payload, frozen=True):
    """By anybody: the result that a shard with bonds settled on is doubted, and the author pays for others to
    run it again (`domain.rules.appeals`). The appeal's id is this event's id."""

    job: Cid
    shard: Shard


class LeaseCommit(Payload, frozen=True):
    """A run is done: `commitment` = sha256(result Cid || fuel as 8 bytes big endian || salt)."""

    job: Cid
    shard: Shard
    attempt: Attempt
    commitment: Digest


class SealedCommit(Payload, frozen=True):
    """A run is done: `commitment` = sha256(result Cid || fuel as 8 bytes big endian || salt || account ||
    job Cid || shard as 2 bytes || attempt as 1 byte), which is worth nothing to anybody who repeats it."""

    job: Cid
    shard: Shard
    attempt: Attempt
    commitment: Digest


class LeaseReveal(Payload, frozen=True):
    """Opens the commitment. Valid once every run that must be independent of it has committed."""

    job: Cid
    shard: Shard
    attempt: Attempt
    result: Cid
    fuel: Uint
    salt: Digest


class LeaseRelease(Payload, frozen=True):
    """Gives a lease back undone, without blame beyond a count; `reason` is a public word."""

    job: Cid
    shard: Shard
    attempt: Attempt
    reason: Name


class EscrowOpen(Payload, frozen=True):
    """Set `amount` aside for one payee, who is paid from it by vouchers (`domain.vouchers`).

    The escrow's id is this event's id; vouchers are signed with the key that signed this event.

    The payer vouches until both have passed, and the network adds a grace of either kind for redeeming:

    expiry       last checkpoint height, which a busy network reaches soon
    expiry_time  ledger time, which jumps when a network that stood still goes on
    """

    payee: Key
    amount: Positive
    expiry: Uint
    expiry_time: Millis


class EscrowRedeem(Payload, frozen=True):
    """By the payee: what a voucher's `total` is above all that was redeemed before."""

    escrow: Cid
    total: Positive
    signature: Signature


class EscrowClose(Payload, frozen=True):
    """By the payee: no more will be redeemed, and the rest goes back to the payer at once."""

    escrow: Cid


class IdentityDelegate(Payload, frozen=True):
    """From now on `device` may act for the author's account, as the account itself may."""

    device: Key


class IdentityRevoke(Payload, frozen=True):
    """`device` may not act for the author's account any more; it may be the account's own key."""

    device: Key


class IdentityGuard(Payload, frozen=True):
    """Who may recover the author's account: `threshold` of `guardians` together; replaces who could before.

    guardians  accounts, sorted, without repeats; none, with a threshold of 0: nobody
    """

    guardians: Annotated[tuple[Key, ...], Meta(max_length=GUARDIANS_MAX)]
    threshold: Annotated[int, Meta(ge=0, le=GUARDIANS_MAX)]


class IdentityRecover(Payload, frozen=True):
    """By a guardian of `account`: let `device` act for it. Replaces what this guardian asked for before."""

    account: Key
    device: Key


class IdentityCancel(Payload, frozen=True):
    """By the account: it needs no recovery."""


class StakeBond(Payload, frozen=True):
    """Move `amount` of the author's free credits into its bond: the weight of its votes, and their pledge."""

    amount: Positive


class StakeUnbond(Payload, frozen=True):
    """Begin to take `amount` out of the author's bond; free after the network's `unbond_ms`."""

    amount: Positive


class StakeUnjail(Payload, frozen=True):
    """The author's time in jail is over, and it would be counted among validators again."""


class EvidenceVotes(Payload, frozen=True):
    """Two votes of one validator that contradict each other (`ledger.evidence.VoteFault`)."""

    one: SignedVote
    other: SignedVote


class EvidenceFork(Payload, frozen=True):
    """Two events of one author at one place of a lane."""

    proof: ForkProof


class EvidenceWarrant(Payload, frozen=True):
    """An event that its author placed where it cannot stand."""

    warrant: Warrant


KINDS: Final[dict[tuple[str, int], type[Payload]]] = {
    ("transfer", 1): Transfer,
    ("offer", 1): Offer,
    ("offer", 2): BondedOffer,
    ("job.submit", 1): JobSubmit,
    ("job.submit", 2): BondedJob,
    ("job.cancel", 1): JobCancel,
    ("job.appeal", 1): JobAppeal,
    ("lease.commit", 1): LeaseCommit,
    ("lease.commit", 2): SealedCommit,
    ("lease.reveal", 1): LeaseReveal,
    ("lease.release", 1): LeaseRelease,
    ("escrow.open", 2): EscrowOpen,
    ("escrow.redeem", 1): EscrowRedeem,
    ("escrow.close", 1): EscrowClose,
    ("identity.delegate", 1): IdentityDelegate,
    ("identity.revoke", 1): IdentityRevoke,
    ("identity.guard", 1): IdentityGuard,
    ("identity.recover", 1): IdentityRecover,
    ("identity.cancel", 1): IdentityCancel,
    ("stake.bond", 1): StakeBond,
    ("stake.unbond", 1): StakeUnbond,
    ("stake.unjail", 1): StakeUnjail,
    ("evidence.votes", 1): EvidenceVotes,
    ("evidence.fork", 1): EvidenceFork,
    ("evidence.warrant", 1): EvidenceWarrant,
}
"""(kind, schema version) -> payload. Kinds are never reused and versions never change their meaning."""


def kind_of(payload: Payload) -> tuple[str, int]:
    """The (kind, version) under which a payload is signed."""
    return _NAMES[type(payload)]


_NAMES: Final = {payload: kind for kind, payload in KINDS.items()}
