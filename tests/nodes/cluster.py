"""Real nodes for tests: each a `fog node` process of its own, with its own data directory, on loopback.

    with Cluster(folder) as cluster:
        anchor = cluster.found("anchor")                     # a network; it validates and holds all credits
        worker, buyer = cluster.join(worker=LENDS, buyer=BUYS)
        worker.kill()                                        # SIGKILL: no good-bye
        worker.start()                                       # again, on the same directory and port

A node is asked as anybody would ask it: over its control socket (`ask`), its HTTP API (`get`), and the
command line in a process of its own (`command`). Processes give no events, so `eventually` looks again and
again, within a deadline.

What must always hold: whatever a test does, no process it started outlives the `with` block.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import psutil

from fog import cli, control, keys
from fog.paths import DataDir
from ledger.errors import FogError
from tests.nodes.namespaces import Lan, Machine

T = TypeVar("T")

START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 20.0
SETTLE_S_MAX: Final = 60.0  # for anything that nodes do among themselves, on a busy machine
LOOK_EVERY_S: Final = 0.1  # a look costs the node milliseconds that it needs itself

PORT: Final = 7419  # on a machine of its own; on this one a node takes any that is free

CREDIT: Final = 1_000_000  # micro-credits

SETTINGS: Final = {
    "FOG_NETWORK_LISTEN": "/ip4/127.0.0.1/tcp/0",
    "FOG_NETWORK_MDNS": "false",
    "FOG_API_PORT": "0",
    "FOG_FINALITY_CHECKPOINT_INTERVAL_MS": "50",
    "FOG_HARVEST_ENABLED": "false",  # such machines are busy with tests
}

LENDS: Final = {"FOG_WORKER_SLOTS": "1"}
BUYS: Final = {"FOG_WORKER_ENABLED": "false"}


def eventually(found: Callable[[], T | None], what: str, *, within_s: float = SETTLE_S_MAX) -> T:
    """The first result of `found` that is true. Errors of ours mean "not yet": the node may be away."""
    deadline = time.monotonic() + within_s
    seen: object = None
    while time.monotonic() < deadline:
        try:
            if result := found():
                return result
            seen = result
        except (FogError, OSError) as error:
            seen = error
        time.sleep(LOOK_EVERY_S)
    raise AssertionError(f"not within {within_s:g} s: {what} (last: {seen!r})")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it printed."""

    exit: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """With `--json`: the error as it was printed."""
        answer: dict[str, Any] = json.loads(self.err.splitlines()[-1])["error"]
        return answer


class Node:
    """One data directory, and the process that runs on it while there is one."""

    def __init__(self, home: DataDir, settings: Mapping[str, str], machine: Machine | None = None) -> None:
        """On `machine`, or else on this one's loopback interface."""
        self.home = home
        self.machine = machine
        self.name = home.root.name
        self.settings = dict(settings)
        if machine is not None:
            self.settings["FOG_NETWORK_LISTEN"] = f"/ip4/{machine.ip}/tcp/{PORT}"
        self.process: subprocess.Popen[bytes] | None = None
        self.account = self.api = ""  # known once it was up

    # -- its life ----------------------------------------------------------------------------------------

    def launch(self) -> Self:
        """Start the process, without waiting for it to be up."""
        assert self.process is None or self.has_ended, f"{self.name} runs already"
        with self.log_path.open("ab") as log:
            command = self._command("node")
            self.process = subprocess.Popen(
                command if self.machine is None else self.machine.enter(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        return self

    def wait_until_up(self) -> Self:
        eventually(self._is_up, f"{self.name} is up", within_s=START_S_MAX)
        status = self.status()
        self.account, self.api = status["account"], status["api"]
        if self.machine is None:
            port = status["addresses"][0].split("/")[4]
            self.settings["FOG_NETWORK_LISTEN"] = f"/ip4/127.0.0.1/tcp/{port}"  # others remember it
        return self

    def start(self) -> Self:
        return self.launch().wait_until_up()

    def _is_up(self) -> bool:
        if self.has_ended:
            raise AssertionError(f"{self.name} ended with {self.exit_code}:\n{self.log[-3000:]}")
        return bool(self.ask("status"))

    @property
    def exit_code(self) -> int | None:
        """Of a process that ended by itself; None while it runs."""
        return None if self.process is None else self.process.poll()

    @property
    def has_ended(self) -> bool:
        return self.exit_code is not None

    def kill(self) -> list[psutil.Process]:
        """SIGKILL, as when the power fails. Its children, which must end by themselves."""
        assert self.process is not None
        children: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        self.process = None
        return children

    def lose_disk(self) -> None:
        """Of a node that does not run: all but what a person keeps, that is key, genesis and settings."""
        for path in self.home.root.iterdir():
            if path not in (self.home.key, self.home.genesis, self.home.config):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_S_MAX)
        self.process = None
        return code

    def destroy(self) -> None:
        """At the end of a test, in whatever state."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    # -- asking it ---------------------------------------------------------------------------------------

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Over the control socket. Raises the node's own errors."""
        return control.call(self.home.control, method, params)

    def status(self) -> dict[str, Any]:
        return self.ask("status")

    @property
    def height(self) -> int:
        answer: int = self.status()["height"]
        return answer

    def counter(self, name: str) -> int:
        """One of `status`'s counters; 0 before anything was counted."""
        answer: int = self.status()["counters"].get(name, 0)
        return answer

    def get(self, path: str) -> bytes:
        """The body of an answer of the HTTP API, byte for byte."""

        def ask() -> bytes:
            with urllib.request.urlopen(self.api + path, timeout=20) as answer:
                body: bytes = answer.read()
            return body

        return ask() if self.machine is None else self.machine.inside(ask)

    def item(self, path: str) -> dict[str, Any]:
        """A single thing of the API."""
        answer: dict[str, Any] = json.loads(self.get(path))["item"]
        return answer

    def items(self, path: str) -> list[dict[str, Any]]:
        """All pages of a list of the API."""
        return [item for page in self.pages(path) for item in json.loads(page)["items"]]

    def pages(self, path: str) -> Iterator[bytes]:
        """The pages of a list, as bytes."""
        more = f"{'&' if '?' in path else '?'}limit=200"
        while True:
            page = self.get(path + more)
            yield page
            if (following := json.loads(page)["next"]) is None:
                return
            more = f"{'&' if '?' in path else '?'}limit=200&after={following}"

    def command(self, *words: str, as_json: bool = True) -> Ended:
        """`fog WORDS…` on this node's directory, in a process of its own."""
        done = subprocess.run(
            self._command(*words, as_json=as_json), capture_output=True, text=True, env=self._environment
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def screen(self, *words: str, until: str) -> tuple[int, str]:
        """What `fog WORDS…` draws on a terminal until `until` is there, and how it ends after Ctrl-C then."""
        ours, its = pty.openpty()
        with open(ours, "rb", buffering=0) as terminal:
            drawn = subprocess.Popen(
                self._command(*words),
                stdin=subprocess.DEVNULL,
                stdout=its,
                stderr=its,
                env=self._environment | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
                # A shell that runs these tests in the background has them, and so this, ignore Ctrl-C.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
            os.close(its)
            seen = b""
            deadline = time.monotonic() + SETTLE_S_MAX
            while until.encode() not in seen and time.monotonic() < deadline:
                if select.select([terminal], [], [], LOOK_EVERY_S)[0]:
                    seen += terminal.read(65_536)
            drawn.send_signal(signal.SIGINT)
            deadline = time.monotonic() + STOP_S_MAX
            while drawn.poll() is None and time.monotonic() < deadline:  # it cannot end while nobody reads it
                if select.select([terminal], [], [], LOOK_EVERY_S)[0]:
                    with contextlib.suppress(OSError):  # it has let go of the terminal
                        terminal.read(65_536)
            return drawn.wait(1), seen.decode(errors="replace")

    def export(self, path: Path) -> bytes:
        """The archive of everything final here."""
        self.ask("export", path=str(path))
        return path.read_bytes()

    @property
    def log_path(self) -> Path:
        """What the node printed; beside its directory, which a test may fill or damage."""
        return self.home.root.with_name(f"{self.name}.log")

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def _environment(self) -> dict[str, str]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("FOG_")}
        return outside | SETTINGS | self.settings

    def _command(self, *words: str, as_json: bool = False) -> list[str]:
        front = [sys.executable, "-m", "fog", "--data-dir", str(self.home.root)]
        return [*front, *(["--json"] if as_json else []), *words]

    def __repr__(self) -> str:
        return f"<Node {self.name} {'down' if self.process is None else f'pid={self.process.pid}'}>"


class Cluster:
    """Nodes of one network, below one folder. The first is its only validator, or one of its founders.

    With a `lan`, each is on a machine there that has its name.
    """

    def __init__(self, folder: Path, lan: Lan | None = None) -> None:
        self.folder = folder
        self.lan = lan
        self.nodes: dict[str, Node] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes.values():
            node.destroy()

    def found(self, name: str, settings: Mapping[str, str] = BUYS) -> Node:
        """A network of its own, up when this returns."""
        node = self.place(name, settings)
        set_up(node, "init", "--name", "test")
        return node.start()

    def found_together(self, *names: str, settings: Mapping[str, str] = BUYS) -> list[Node]:
        """A network of as many validators, with equal stakes; all up when this returns."""
        first, *others = (self.place(name, settings) for name in names)
        for node in others:
            set_up(node, "key")
        keyed = [keys.load(node.home.key).public.hex() for node in others]
        set_up(first, "init", "--name", "test", *(word for key in keyed for word in ("--founder", key)))
        first.start()
        invite = first.ask("invite")["line"]
        for node in others:
            set_up(node, "join", invite)
            node.launch()
        for node in others:
            node.wait_until_up()
        return [first, *others]

    def join(self, **nodes: Mapping[str, str]) -> list[Node]:
        """More nodes by name and settings, invited by the first; started together, up when this returns."""
        invite = next(iter(self.nodes.values())).ask("invite")["line"]
        joined = [self.place(name, settings) for name, settings in nodes.items()]
        for node in joined:
            set_up(node, "join", invite)
            node.launch()
        for node in joined:
            node.wait_until_up()
        return joined

    def place(self, name: str, settings: Mapping[str, str] = BUYS) -> Node:
        """A node that is not set up and does not run."""
        machine = None if self.lan is None else self.lan.machine(name)
        node = self.nodes[name] = Node(DataDir(self.folder / name), settings, machine)
        return node

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def settle(self) -> int:
        """Wait until every node that runs is at one height with nothing waiting; that height."""

        def alike() -> int | None:
            seen = [node.status() for node in self.nodes.values() if node.process is not None]
            heights = {status["height"] for status in seen}
            waiting = any(status["unordered"] for status in seen)
            return heights.pop() if len(heights) == 1 and not waiting else None

        return eventually(alike, "all nodes at one height")


def set_up(node: Node, *words: str) -> None:
    """`fog init` or `fog join`, in this process, quietly."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = cli.run(["--data-dir", str(node.home.root), "--json", *words])
    assert code == 0, f"fog {words[0]} ended with {code}"
