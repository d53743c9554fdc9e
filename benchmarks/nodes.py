"""A small network of real nodes on loopback for the benchmarks that need one. Not a benchmark itself."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fog.methods import WalletSend
from fog.paths import DataDir
from fog.players import Player, fog, node

BUDGET = 100_000_000  # micro-credits for the one who submits
NOBODY = "00" * 32


@contextlib.contextmanager
def network(workers: Sequence[str], others: Sequence[str] = ()) -> Iterator[dict[str, Player]]:
    """Running nodes by name; the first worker is the anchor. All of `others` have credits."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        anchor = DataDir(Path(folder) / workers[0])
        fog(anchor, "init", "--name", "bench")
        players = {workers[0]: stack.enter_context(node(anchor, {}))}
        invite = players[workers[0]].ask("invite")["line"]
        for name in (*workers[1:], *others):
            home = DataDir(Path(folder) / name)
            fog(home, "join", invite)
            lends = {} if name in workers else {"FOG_WORKER_ENABLED": "false"}
            players[name] = stack.enter_context(node(home, lends))
        for name in others:
            account = players[name].ask("status")["account"]
            sent = players[workers[0]].ask("wallet.send", WalletSend(to=account, amount=BUDGET))
            players[name].wait_for_height(sent["height"])
        yield players


@contextlib.contextmanager
def validators(names: Sequence[str]) -> Iterator[dict[str, Player]]:
    """Running nodes by name that decide together, with equal stakes and credits; none lends compute."""
    quiet = {"FOG_WORKER_ENABLED": "false"}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        homes = {name: DataDir(Path(folder) / name) for name in names}
        first, *others = names
        keys = [fog(homes[name], "key")["account"] for name in others]
        fog(homes[first], "init", "--name", "bench", *(word for key in keys for word in ("--founder", key)))
        players = {first: stack.enter_context(node(homes[first], quiet))}
        invite = players[first].ask("invite")["line"]
        for name in others:
            fog(homes[name], "join", invite)
            players[name] = stack.enter_context(node(homes[name], quiet))
        # Each has learnt where its lane ends once it paid something; that is not what is measured.
        paid = [player.ask("wallet.send", WalletSend(to=NOBODY, amount=1)) for player in players.values()]
        for player in players.values():
            player.wait_for_height(paid[-1]["height"])
        yield players
