"""Identity: which devices act for an account, and how one goes on whose key was lost or whose lane is closed.

An account is a public key. Its own key acts for it, and so does every device that it delegates to; all of
them may do the same, so any of them can manage the others. What a device says for an account stands on the
device's own lane, under `acct` (`ledger.event`), and `ledger.cut` refuses it where no row delegates.

    delegate, revoke    by the account
    guard               by the account: m of n other accounts may recover it
    recover             by guardians: once m ask for the same device, the account has an epoch and
                        `recovery_ms` to cancel; then the device may act for it
    cancel              by the account

When a recovery takes effect, devices that forked (`ledger.cut`: a lane of theirs is closed) lose their
delegation, and so does the account's own key if it forked: it is retired. A retired key says nothing more
that has an effect; its account lives on by its devices.

Two clocks guard the time to cancel, because each alone can run away: heights pass quickly in a busy network,
ledger time jumps when a network that stood still goes on.

What must always hold: the rows of `delegation` are the devices of all identities; a recovery that waits is
booked once, in the calendar until its height, in the agenda from then on; an account whose key is retired has
a device.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import msgspec
from msgspec.structs import replace

from domain.effects import IdentityIs, RecoveryIs, RecoveryState
from domain.payloads import (
    IdentityCancel,
    IdentityDelegate,
    IdentityGuard,
    IdentityRecover,
    IdentityRevoke,
)
from domain.rules import agenda, bonds, calendar, former, offers, packed
from domain.rules.acting import IDENTITY, NOBODY, Identity, acts, identity_in, identity_of
from domain.rules.agenda import Entry
from domain.rules.codes import Refused
from domain.rules.draft import Draft
from domain.rules.evidence import CLOSED
from domain.rules.records import ACCOUNT, DELEGATION, LANE, flat
from ledger import cut
from ledger.event import LANES
from ledger.state import State

DEVICES_MAX: Final = 16
"""Of one account, beside its own key."""

KEY: Final = 32


class Recovery(msgspec.Struct, frozen=True):
    """`asked`: for each guardian that asks, its key and the device it asks for, 64 bytes, sorted.

    Once enough agree on `device`: `height` at which the epoch is over, 0 when it is; and the ledger time
    `time` before which nothing happens.
    """

    asked: bytes = b""
    device: bytes = b""
    height: int = 0
    time: int = 0


RECOVERY: Final = flat("recovery", Recovery)


def require_may_act(draft: Draft) -> None:
    """Whether the author of what is executed may still act for its account: its own key may be retired, and
    a delegation may have ended just before. Refused: `not_delegated`."""
    account, device = draft.author, draft.device
    if acts(draft, account, device):
        return
    if device != account:
        raise Refused("not_delegated", f"{device.hex()} does not act for {account.hex()} any more")
    raise Refused("not_delegated", f"the key {device.hex()} is retired from its account")


# -- by the account -----------------------------------------------------------------------------------------


def delegate(draft: Draft, order: IdentityDelegate) -> None:
    """Refused without effect: `unknown_account`, `own_key`, `already_delegated`, `device_closed`,
    `devices_full`."""
    account = draft.author
    before = _known(draft, account)
    _require_fit(draft, account, before, order.device)
    _require_room(account, keys_of(before.devices))
    if former.is_full(draft, account):
        raise Refused("devices_full", f"{account.hex()} still answers for many devices that it dropped")
    _write(draft, account, replace(before, devices=packed.with_item(before.devices, order.device)))
    draft.put(DELEGATION, account + order.device, b"")


def revoke(draft: Draft, order: IdentityRevoke) -> None:
    """Refused without effect: `unknown_device`, `last_device`."""
    account = draft.author
    before = identity_of(draft, account)
    if order.device == account:
        if before.retired:
            raise Refused("unknown_device", "the account's own key is retired already")
        after = replace(before, retired=1)
    elif packed.contains(before.devices, order.device):
        after = replace(before, devices=packed.without(before.devices, order.device))
    else:
        raise Refused("unknown_device", f"{order.device.hex()} does not act for {account.hex()}")
    if after.retired and not after.devices:
        raise Refused("last_device", f"nothing could act for {account.hex()} any more")
    _dismiss(draft, account, order.device)
    _write(draft, account, after)


def guard(draft: Draft, order: IdentityGuard) -> None:
    """Say who may recover the account, and cancel what others asked for.

    Refused without effect: `unknown_account`, `bad_guardians`.
    """
    account, guardians = draft.author, order.guardians
    before = _known(draft, account)
    in_order = all(one < other for one, other in pairwise(guardians))
    if not in_order or account in guardians or not _is_reachable(order.threshold, len(guardians)):
        raise Refused("bad_guardians", f"{order.threshold} of {len(guardians)} guardians, or their order")
    _drop_recovery(draft, account, before, "cancelled")
    _write(draft, account, replace(before, guardians=b"".join(guardians), threshold=order.threshold))


def cancel(draft: Draft, order: IdentityCancel) -> None:
    """Refused without effect: `no_recovery`."""
    if draft.get(RECOVERY, draft.author) is None:
        raise Refused("no_recovery", f"no guardian has asked to recover {draft.author.hex()}")
    _drop_recovery(draft, draft.author, identity_of(draft, draft.author), "cancelled")


# -- by guardians -------------------------------------------------------------------------------------------


def recover(draft: Draft, order: IdentityRecover) -> None:
    """Ask for a device; when enough guardians ask for the same, begin to wait.

    Refused without effect: `not_guardian`, `recovery_waiting`, `own_key`, `already_delegated`,
    `device_closed`, `devices_full`.
    """
    account, device, guardian = order.account, order.device, draft.author
    identity = identity_of(draft, account)
    if not packed.contains(identity.guardians, guardian):
        raise Refused("not_guardian", f"{guardian.hex()} is not a guardian of {account.hex()}")
    before = draft.get(RECOVERY, account) or Recovery()
    if before.device:
        raise Refused("recovery_waiting", f"guardians agreed on {before.device.hex()} already")
    _require_fit(draft, account, identity, device)
    _require_room(account, _unforked(draft, identity))
    others = b"".join(one for one in _pairs(before.asked) if one[:KEY] != guardian)
    after = replace(before, asked=packed.with_item(others, guardian + device))
    if _agreed(after, device) >= identity.threshold:
        params = draft.params
        after = replace(
            after,
            device=device,
            height=draft.context.height + params.epoch_checkpoints,
            time=draft.time + params.recovery_ms,
        )
        calendar.write(draft, calendar.RECOVERY, after.height, account)
    draft.put(RECOVERY, account, after)
    _tell_recovery(draft, account, identity, after, device, "waiting" if after.device else "asked")


# -- by itself ----------------------------------------------------------------------------------------------


def any_ripens(state: State, height: int) -> bool:
    return calendar.has(state, calendar.RECOVERY, height)


def ripen(draft: Draft) -> None:
    """At the close of a height: recoveries whose epoch is over have their time to wait for, if that is left.

    Those of one height were agreed on by the events of one checkpoint, so they are few enough.
    """
    for account in calendar.at(draft, calendar.RECOVERY, draft.context.height, KEY):
        recovery = draft.row(RECOVERY, account)
        calendar.strike(draft, calendar.RECOVERY, recovery.height, account)
        draft.put(RECOVERY, account, replace(recovery, height=0))
        agenda.write(draft, recovery.time, agenda.RECOVERY, account)


def take_effect(draft: Draft, entry: Entry) -> None:
    """The time to cancel is over: the new device may act, and who forked may not act any more.

    In vain when the device forked meanwhile, or when as many others act for the account as may.
    """
    account = entry.id
    recovery, before = draft.row(RECOVERY, account), identity_of(draft, account)
    device, kept = recovery.device, _unforked(draft, before)
    if has_forked(draft, device) or len(kept) >= DEVICES_MAX:
        return _drop_recovery(draft, account, before, "cancelled")
    for one in keys_of(before.devices):
        if one not in kept:
            _dismiss(draft, account, one)
    draft.put(DELEGATION, account + device, b"")
    devices = b"".join(sorted({*kept, device}))
    after = replace(before, devices=devices, retired=before.retired or int(has_forked(draft, account)))
    if after.retired and not before.retired:
        _dismiss(draft, account, account)
    _write(draft, account, after)
    return _drop_recovery(draft, account, after, "done")


# -- rows ---------------------------------------------------------------------------------------------------


def look(state: State, account: bytes) -> tuple[Identity, Recovery]:
    """An account's identity, and what its guardians ask for, for whoever looks from outside."""
    recovery = state.get(RECOVERY.name, account)
    return identity_in(state, account), Recovery() if recovery is None else RECOVERY.decode(recovery)


def asked_in(recovery: Recovery) -> list[tuple[bytes, bytes]]:
    """(guardian, device) of each that asks."""
    return [(pair[:KEY], pair[KEY:]) for pair in _pairs(recovery.asked)]


def has_forked(draft: Draft, device: bytes) -> bool:
    """Whether a lane of the device is closed."""
    for lane in LANES:
        key = cut.lane_key(device, lane)
        head = draft.get(LANE, key)
        if draft.get(CLOSED, key) is not None or (head is not None and head.closed):
            return True
    return False


def _dismiss(draft: Draft, account: bytes, device: bytes) -> None:
    """A device, or the account's own key, acts for the account no more: nothing it says, and nothing it
    offered. A bond still answers for what the device said before. The identity is the caller's to write."""
    draft.drop(DELEGATION, account + device)
    if bonds.bond_of(draft, account).at_stake:
        former.remember(draft, account, device)
    offers.withdraw_dropped(draft, device, account)


def _known(draft: Draft, account: bytes) -> Identity:
    """Refused: `unknown_account`. So there are never more identities than accounts that were paid."""
    if draft.get(ACCOUNT, account) is None:
        raise Refused("unknown_account", f"{account.hex()} never held a credit")
    return identity_of(draft, account)


def _require_fit(draft: Draft, account: bytes, identity: Identity, device: bytes) -> None:
    if device == account:
        raise Refused("own_key", f"{device.hex()} is the account's own key")
    if packed.contains(identity.devices, device):
        raise Refused("already_delegated", f"{device.hex()} acts for {account.hex()} already")
    if has_forked(draft, device):
        raise Refused("device_closed", f"a lane of {device.hex()} is closed")


def _require_room(account: bytes, devices: Sequence[bytes]) -> None:
    if len(devices) >= DEVICES_MAX:
        raise Refused("devices_full", f"{DEVICES_MAX} devices act for {account.hex()}")


def _unforked(draft: Draft, identity: Identity) -> list[bytes]:
    return [device for device in keys_of(identity.devices) if not has_forked(draft, device)]


def _is_reachable(threshold: int, guardians: int) -> bool:
    return 1 <= threshold <= guardians if guardians else threshold == 0


def _write(draft: Draft, account: bytes, identity: Identity) -> None:
    if identity == NOBODY:
        draft.drop(IDENTITY, account)
    else:
        draft.put(IDENTITY, account, identity)
    is_now = IdentityIs(
        account,
        tuple(keys_of(identity.devices)),
        tuple(keys_of(identity.guardians)),
        identity.threshold,
        bool(identity.retired),
    )
    draft.stands("identity", account, is_now)


def _drop_recovery(draft: Draft, account: bytes, identity: Identity, state: RecoveryState) -> None:
    """No error when there is none."""
    recovery = draft.get(RECOVERY, account)
    if recovery is None:
        return
    if recovery.height:
        calendar.strike(draft, calendar.RECOVERY, recovery.height, account)
    elif recovery.device:
        agenda.strike(draft, recovery.time, agenda.RECOVERY, account)
    draft.drop(RECOVERY, account)
    device = recovery.device or recovery.asked[KEY : 2 * KEY]
    _tell_recovery(draft, account, identity, recovery, device, state)


def _tell_recovery(
    draft: Draft,
    account: bytes,
    identity: Identity,
    recovery: Recovery,
    device: bytes,
    state: RecoveryState,
) -> None:
    told = RecoveryIs(
        account,
        device,
        state,
        _agreed(recovery, device),
        identity.threshold,
        recovery.height,
        recovery.time,
    )
    draft.stands("recovery", account, told)


def _agreed(recovery: Recovery, device: bytes) -> int:
    return sum(pair[KEY:] == device for pair in _pairs(recovery.asked))


def keys_of(row: bytes) -> list[bytes]:
    """The keys of an identity's row of them."""
    return [row[at : at + KEY] for at in range(0, len(row), KEY)]


def _pairs(row: bytes) -> Iterable[bytes]:
    return [row[at : at + 2 * KEY] for at in range(0, len(row), 2 * KEY)]
