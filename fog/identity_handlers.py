"""What the control socket answers about identities: who acts for an account, and changing that.

Holds no state and repeats no rule: what may be changed, the receipt says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from domain import payloads
from domain.rules import identity
from domain.rules.acting import acts_in
from fog import identity_methods as methods
from fog.control import Emit
from fog.escrow_handlers import Record
from fog.methods import Message, Nothing, Recorded
from fog.replica_thread import ReplicaThread


class IdentityHandlers:
    def __init__(self, ledger: ReplicaThread, record: Record) -> None:
        self._ledger = ledger
        self._record = record

    def table(self) -> dict[str, Callable[[Any, Emit], Awaitable[Message]]]:
        """Method -> handler."""
        return {
            "identity.show": self.show,
            "identity.delegate": self.delegate,
            "identity.revoke": self.revoke,
            "identity.guard": self.guard,
            "identity.recover": self.recover,
            "identity.cancel": self.cancel,
        }

    async def show(self, request: methods.IdentityShow, emit: Emit) -> methods.Identity:
        account = self._ledger.account if request.account is None else bytes.fromhex(request.account)
        return await self._ledger.call(self._identity_of, account)

    def _identity_of(self, account: bytes) -> methods.Identity:
        """In the replica's thread."""
        replica = self._ledger.replica
        found, recovery = identity.look(replica.state, account)
        devices = identity.keys_of(found.devices)
        return methods.Identity(
            account=account.hex(),
            devices=[key.hex() for key in devices],
            guardians=[key.hex() for key in identity.keys_of(found.guardians)],
            threshold=found.threshold,
            retired=bool(found.retired),
            recovery=_recovery(recovery) if recovery.asked else None,
            device=self._ledger.device.hex(),
            acts=acts_in(replica.state, account, self._ledger.device),
            height=replica.height,
        )

    async def delegate(self, request: methods.DeviceName, emit: Emit) -> Recorded:
        return await self._record(payloads.IdentityDelegate(bytes.fromhex(request.device)), wait=True)

    async def revoke(self, request: methods.DeviceName, emit: Emit) -> Recorded:
        return await self._record(payloads.IdentityRevoke(bytes.fromhex(request.device)), wait=True)

    async def guard(self, request: methods.IdentityGuard, emit: Emit) -> Recorded:
        guardians = tuple(sorted(map(bytes.fromhex, request.guardians)))
        return await self._record(payloads.IdentityGuard(guardians, request.threshold), wait=True)

    async def recover(self, request: methods.IdentityRecover, emit: Emit) -> Recorded:
        account, device = bytes.fromhex(request.account), bytes.fromhex(request.device)
        return await self._record(payloads.IdentityRecover(account, device), wait=True)

    async def cancel(self, request: Nothing, emit: Emit) -> Recorded:
        return await self._record(payloads.IdentityCancel(), wait=True)


def _recovery(recovery: identity.Recovery) -> methods.Recovery:
    asked = identity.asked_in(recovery)
    return methods.Recovery(
        asked=[methods.Ask(guardian=who.hex(), device=device.hex()) for who, device in asked],
        device=recovery.device.hex() or None,
        height=recovery.height,
        time=recovery.time,
    )
