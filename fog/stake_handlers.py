"""What the control socket answers about stake: what there is, and moving one's own.

And the word of an operator whose validator lost what it had voted. Holds no state and repeats no rule:
what may be bonded or taken out, the receipt says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from domain.payloads import StakeBond, StakeUnbond, StakeUnjail
from domain.rules.bonds import bond_in
from fog import stake_methods as methods
from fog.control import Emit
from fog.escrow_handlers import Record
from fog.methods import Message, Nothing, Recorded
from fog.replica_thread import ReplicaThread
from ledger.validators import epoch_length, epoch_of, validators_of


class StakeHandlers:
    def __init__(self, ledger: ReplicaThread, account: bytes, record: Record) -> None:
        self._ledger = ledger
        self._account = account
        self._record = record

    def table(self) -> dict[str, Callable[[Any, Emit], Awaitable[Message]]]:
        """Method -> handler."""
        return {
            "stake.show": self.show,
            "stake.bond": self.bond,
            "stake.unbond": self.unbond,
            "stake.unjail": self.unjail,
            "stake.forget": self.forget,
        }

    async def show(self, request: methods.StakeShow, emit: Emit) -> methods.StakeState:
        account = self._account if request.account is None else bytes.fromhex(request.account)
        return await self._ledger.call(self._state_of, account)

    def _state_of(self, account: bytes) -> methods.StakeState:
        """In the replica's thread."""
        replica = self._ledger.replica
        bond = bond_in(replica.state, account)
        epoch = epoch_of(replica.height + 1, epoch_length(replica.genesis))
        present, following = (validators_of(replica.state, number) for number in (epoch, epoch + 1))
        return methods.StakeState(
            account=account.hex(),
            bonded=bond.bonded,
            leaving=[methods.Leaving(time=time, amount=amount) for time, amount in bond.leaving],
            jailed=bond.jailed,
            epoch=epoch,
            votes=present.stakes.get(account, 0),
            votes_next=following.stakes.get(account, 0),
            height=replica.height,
        )

    async def bond(self, request: methods.StakeMove, emit: Emit) -> Recorded:
        return await self._record(StakeBond(request.amount), wait=request.wait)

    async def unbond(self, request: methods.StakeMove, emit: Emit) -> Recorded:
        return await self._record(StakeUnbond(request.amount), wait=request.wait)

    async def forget(self, request: Nothing, emit: Emit) -> Nothing:
        """The operator knows that nobody holds votes of ours but those who said so."""
        await self._ledger.call(self._ledger.replica.forget_votes)
        return Nothing()

    async def unjail(self, request: methods.Wait, emit: Emit) -> Recorded:
        return await self._record(StakeUnjail(), wait=request.wait)
