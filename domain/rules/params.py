"""The numbers that a network's genesis may choose, their defaults and their ranges.

What must always hold: every parameter has a range, and the genesis of a network names only parameters that
this version of the rules knows. A parameter cannot switch a rule off.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from domain.payloads import LEASE_MAX_MS, LEASE_MIN_MS
from ledger.errors import UsageError
from ledger.genesis import Genesis

DAY_MS = 24 * 3_600_000


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fixed for the life of a network.

    lease_min_ms     shortest lease that a job may ask for
    offer_max_ms     longest that an offer may stand without being renewed: a machine that went away for good
                     is not leased shards for longer than this
    attempts_max     runs of one shard before it is given up
    deadline_max_ms  furthest that a job's deadline may lie ahead: escrow is never locked for longer
    epoch_checkpoints  checkpoints of one epoch: what is to be slow takes at least one
    grace_checkpoints  checkpoints after an escrow's expiry in which its vouchers can still be redeemed
    grace_ms         the same in ledger time: the grace is over when both are
    recovery_ms      how long an account can still cancel a recovery that its guardians agreed on
    bond_min         smallest bond in micro-credits: what it costs to be counted among validators
    unbond_ms        how long a bond stays within reach of evidence after its owner has left
    jail_ms          how long a validator that was proven at fault may not be counted again
    appeal_ms        how long the bonds of paid runs stay within reach of an appeal,
                     and how often it is looked whether a run with a bond waits for a checker in vain
    slash_ppm        the part of its stake, in millionths, that an offender loses for an offence of its own
    """

    lease_min_ms: Annotated[int, Meta(ge=LEASE_MIN_MS, le=LEASE_MAX_MS)] = LEASE_MIN_MS
    offer_max_ms: Annotated[int, Meta(ge=60_000, le=30 * DAY_MS)] = DAY_MS
    attempts_max: Annotated[int, Meta(ge=3, le=64)] = 10
    deadline_max_ms: Annotated[int, Meta(ge=60_000, le=365 * DAY_MS)] = 30 * DAY_MS
    epoch_checkpoints: Annotated[int, Meta(ge=1, le=1_000_000)] = 600
    grace_checkpoints: Annotated[int, Meta(ge=1, le=1_000_000)] = 600
    grace_ms: Annotated[int, Meta(ge=1_000, le=365 * DAY_MS)] = 36_000_000
    recovery_ms: Annotated[int, Meta(ge=60_000, le=365 * DAY_MS)] = 2 * DAY_MS
    bond_min: Annotated[int, Meta(ge=1, le=2**53)] = 1_000_000_000
    unbond_ms: Annotated[int, Meta(ge=60_000, le=365 * DAY_MS)] = 14 * DAY_MS
    jail_ms: Annotated[int, Meta(ge=60_000, le=365 * DAY_MS)] = 7 * DAY_MS
    slash_ppm: Annotated[int, Meta(ge=1_000, le=1_000_000)] = 50_000
    appeal_ms: Annotated[int, Meta(ge=1_000, le=30 * DAY_MS)] = 600_000


def of(genesis: Genesis) -> Params:
    """The parameters of a network. Raises UsageError (`bad_params`) for a name or value outside of these."""
    try:
        return msgspec.convert(genesis.params, Params, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"the genesis of {genesis.name!r} has parameters that these rules do not know: {error}",
            code="bad_params",
            next_step="use a version of fog as new as the network, or correct the genesis",
        ) from error
