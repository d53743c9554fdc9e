"""A network whose validators hand over to others, epoch by epoch, until none of the first is left."""

from __future__ import annotations

from ledger.execution import Context, Receipt
from ledger.state import State
from ledger.validators import TABLE, ValidatorSet, epoch_of, row_key
from tests.ledger.histories import CountingRules, History, seated


class Turning(CountingRules):
    """Four validators with a stake each, of whom some go and as many come in every epoch."""

    def __init__(self, by: int) -> None:
        self._by = by

    def seats(self, epoch: int) -> list[str]:
        first = self._by * max(0, epoch - 1)
        return [f"seat {number}" for number in range(first, first + 4)]

    def close(self, state: State, context: Context) -> tuple[State, Receipt]:
        state, receipt = super().close(state, context)
        epoch = epoch_of(context.height, 2)
        if context.height % 2 == 0:
            members = ValidatorSet.of(seated(self.seats(epoch + 2)))
            state = state.put(TABLE, row_key(epoch + 2), members.encode())
        return state, receipt


def turning(epochs: int, by: int = 1) -> History:
    """In epochs of two heights: from epoch 2 on `by` of the four validators are others than in the last."""
    history = History(rules=Turning(by), params={"epoch_checkpoints": 2}, seats=Turning(by).seats)
    for _ in range(2 * epochs):
        history.finalize()
    return history
