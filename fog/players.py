"""Nodes as processes of their own, run from outside: for the demonstration and the benchmarks.

A `Player` is a running `fog node` with a data directory of its own on loopback. Whoever starts one sees what
anybody could: its control socket, its HTTP API, its log. Nothing in a node knows that it is watched.

What must always hold: a process that was started here is stopped here, by its own id, whatever happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fog import control, methods
from fog.methods import Message, Nothing
from fog.paths import DataDir
from ledger.errors import FogError, UsageError

START_S_MAX: Final = 30.0
STOP_S_MAX: Final = 10.0
REACH_S_MAX: Final = 30.0
LOOK_S: Final = 0.02
"""Between two looks at another process, which gives no event for what is waited for."""

LOOPBACK: Final = {
    "FOG_NETWORK_LISTEN": "/ip4/127.0.0.1/tcp/0",
    "FOG_NETWORK_MDNS": "false",
    "FOG_API_PORT": "0",
    "FOG_HARVEST_ENABLED": "false",  # they are there to work for whoever watches
}


@dataclass(frozen=True, slots=True)
class Player:
    """One running node."""

    name: str
    home: DataDir
    process: subprocess.Popen[bytes]

    def ask(
        self,
        method: str,
        params: Message | None = None,
        on_progress: Callable[[dict[str, Any]], None] = lambda progress: None,
    ) -> dict[str, Any]:
        """Over its control socket. Raises like `fog.control.call`."""
        return control.call(self.home.control, method, methods.plain(params or Nothing()), on_progress)

    def read(self, path: str) -> Any:
        """GET from its HTTP API."""
        with urllib.request.urlopen(self.ask("status")["api"] + path, timeout=10) as answer:
            return json.load(answer)

    def wait_for_height(self, height: int) -> None:
        """Raises UsageError (`too_slow`) when it does not get there."""
        deadline = time.monotonic() + REACH_S_MAX
        while self.ask("status")["height"] < height:
            if time.monotonic() > deadline:
                raise UsageError(f"{self.name} did not reach height {height}", code="too_slow")
            time.sleep(LOOK_S)


@contextlib.contextmanager
def node(home: DataDir, settings: Mapping[str, str]) -> Iterator[Player]:
    """A running `fog node`, answering. `settings` are FOG_* variables; its words go to `node.log`."""
    with (home.root / "node.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fog", "--data-dir", str(home.root), "node"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **LOOPBACK, **settings},
        )
    try:
        player = Player(home.root.name, home, process)
        _wait_until_up(player)
        yield player
    finally:
        _stop(process)


def fog(home: DataDir, *arguments: str) -> dict[str, Any]:
    """One `fog` command in a process of its own; its JSON answer. Raises UsageError with what it printed."""
    command = [sys.executable, "-m", "fog", "--data-dir", str(home.root), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr or done.stdout
        raise UsageError(f"`fog {arguments[0]}` ended with {done.returncode}:\n{said}", code="command_failed")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _wait_until_up(player: Player) -> None:
    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            player.ask("status")
            return
        except FogError as error:
            if player.process.poll() is not None or time.monotonic() > deadline:
                said = (player.home.root / "node.log").read_text(errors="replace")[-2000:]
                raise UsageError(
                    f"the node {player.name} did not come up:\n{said}", code="no_start"
                ) from error
        time.sleep(LOOK_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """First asked, then made to."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
