"""Payments at a steady rate from several nodes at once, and then: is each that was acknowledged final, once?

    with Load(nodes, per_s=20, seed=1) as load:
        …                                  # kill, cut, heal
    load.check(nodes)

Acknowledged means that the node's answer came back: the event is on its disk. When a node is killed while it
is asked, nobody knows whether it was: such a payment may be final or not, but not twice.

What must always hold: a payer is asked by one thread, so a node gets no more than what was meant for it.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self

from ledger.errors import FogError
from tests.nodes.cluster import Node, eventually

FINAL_S_MAX: Final = 60.0  # for everything to be final once nobody disturbs the nodes any more
AMOUNT_MAX: Final = 1_000  # micro-credits: nobody runs out


@dataclass(frozen=True, slots=True)
class Payment:
    """One that was acknowledged; `at` is in seconds of time.monotonic."""

    event: str
    payer: str
    payee: str
    amount: int
    at: float


class Load:
    """`per_s` payments a second in all, spread over `nodes`; amounts and payees follow from `seed`."""

    def __init__(self, nodes: Sequence[Node], *, per_s: float, seed: int) -> None:
        self._nodes = list(nodes)
        self._pause_s = len(nodes) / per_s
        self._seed = seed
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._payers = ThreadPoolExecutor(len(nodes), thread_name_prefix="payer")
        self._running: list[Future[None]] = []
        self.acknowledged: list[Payment] = []
        self.refused: Counter[str] = Counter()  # by code: mostly nodes that are down

    def __enter__(self) -> Self:
        for number, node in enumerate(self._nodes):
            self._running.append(self._payers.submit(self._pay, node, number))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._payers.shutdown()
        for payer in self._running:
            payer.result()  # raises what ended it before its time

    def _pay(self, node: Node, number: int) -> None:
        chance = random.Random(f"{self._seed} {node.name}")
        due = time.monotonic() + self._pause_s * number / len(self._nodes)
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pause_s, time.monotonic() - self._pause_s)
            payee = chance.choice([other.account for other in self._nodes if other is not node])
            amount = chance.randint(1, AMOUNT_MAX)
            try:
                event = node.ask("wallet.send", to=payee, amount=amount, memo="", wait=False)["event"]
            except (FogError, OSError) as error:
                with self._lock:
                    self.refused[getattr(error, "code", type(error).__name__)] += 1
                continue
            with self._lock:
                self.acknowledged.append(Payment(event, node.account, payee, amount, time.monotonic()))

    def check(self, nodes: Sequence[Node]) -> int:
        """Every acknowledged payment is effective once at each of `nodes`, and their books balance.

        Returns how many payments are final in all: some were made and never acknowledged.
        """
        assert len({payment.event for payment in self.acknowledged}) == len(self.acknowledged)
        counts = {self._check_one(node) for node in nodes}
        assert len(counts) == 1, f"nodes disagree on how many payments there are: {counts}"
        return counts.pop()

    def _check_one(self, node: Node) -> int:
        wanted = {payment.event for payment in self.acknowledged}

        def all_final() -> list[dict[str, str]] | None:
            transfers = [one for one in node.items("/v1/transfers") if one["event"] is not None]
            missing = wanted - {one["event"] for one in transfers}
            if missing:
                raise FogError(
                    f"{len(missing)} of {len(wanted)} are not final at {node.name}: {min(missing)}"
                )
            return transfers

        transfers = eventually(all_final, f"all is final at {node.name}", within_s=FINAL_S_MAX)
        seen = Counter(one["event"] for one in transfers)
        assert max(seen.values()) == 1, f"effective twice: {seen.most_common(3)}"
        by_event = {one["event"]: one for one in transfers}
        for payment in self.acknowledged:
            found = by_event[payment.event]
            assert (found["source"], found["target"]) == (payment.payer, payment.payee)
            assert int(found["amount"]) == payment.amount
        self._check_books(node, transfers)
        return len(seen)

    def _check_books(self, node: Node, transfers: Sequence[dict[str, str]]) -> None:
        """First balances and what was paid since add up to what everybody has."""
        owed = {one.account.hex(): one.amount for one in node.home.read_genesis().accounts}
        for one in transfers:
            owed[one["source"]] -= int(one["amount"])
            owed[one["target"]] = owed.get(one["target"], 0) + int(one["amount"])
        shown = {row["account"]: int(row["free"]["value"]) for row in node.items("/v1/balances")}
        assert {account: free for account, free in shown.items() if free} == owed
