"""Rules small enough to see through: accounts that pay each other, and alarms that ring at a time.

Real rules, as `domain` has them, without what the ledger does not care about.

    pay    {to, amount}   refused: insufficient_funds
    alarm  {at}           rings in the first close with time >= at: table "rung" gets a row
"""

from __future__ import annotations

from ledger import canonical
from ledger.event import Event
from ledger.execution import OK, Context, Receipt
from ledger.genesis import Genesis
from ledger.state import State

BALANCE, ALARM, RUNG = "balance", "alarm", "rung"


def _bytes(amount: int) -> bytes:
    return amount.to_bytes(8, "big")


def balance(state: State, account: bytes) -> int:
    return int.from_bytes(state.get(BALANCE, account) or b"", "big")


class PayingRules:
    """`bias` makes a second, disagreeing version: what each payment silently adds."""

    def __init__(self, bias: int = 0) -> None:
        self.bias = bias

    def genesis(self, genesis: Genesis) -> State:
        state = State()
        for allocation in genesis.accounts:
            state = state.put(BALANCE, allocation.account, _bytes(allocation.amount))
        return state.seal()

    def execute(self, state: State, event: Event, context: Context) -> tuple[State, Receipt]:
        assert event.body is not None
        body = canonical.decode(event.body, size_max=1024)
        if event.header.k == "alarm":
            return state.put(ALARM, _bytes(body["at"]) + event.id, b""), Receipt(event.id, OK)
        if event.header.k != "pay":
            return state, Receipt(event.id, "unknown_kind")
        held = balance(state, event.account)
        if held < body["amount"]:
            return state, Receipt(event.id, "insufficient_funds")
        state = state.put(BALANCE, event.account, _bytes(held - body["amount"]))
        got = balance(state, body["to"]) + body["amount"] + self.bias
        return state.put(BALANCE, body["to"], _bytes(got)), Receipt(event.id, OK, (canonical.encode(body),))

    def close(self, state: State, context: Context) -> tuple[State, Receipt]:
        for key, _ in state.items(ALARM):
            if int.from_bytes(key[:8], "big") <= context.time:
                state = state.delete(ALARM, key).put(RUNG, key[8:], _bytes(context.time))
        return state, Receipt(None, OK)

    def due(self, state: State) -> int | None:
        return min((int.from_bytes(key[:8], "big") for key, _ in state.items(ALARM)), default=None)
