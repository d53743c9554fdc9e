"""Network namespaces that a test makes and removes: machines of their own, whose cables it holds.

    with Lan() as lan:
        one, other = lan.machine("one"), lan.machine("other")
        lan.part({"one"}, {"other"})          # silence: packets vanish, no link goes down, nobody is told
        lan.heal()
        lan.unplug("one"); lan.plug("one")    # the cable is out: the machine sees that it has no carrier

Each machine is a namespace with one interface, `eth0`. The other end of its cable is a port of a bridge in a
namespace that is the switch; nothing is made in the namespace the tests run in. Groups that are parted have a
bridge each. Machines know each other's hardware addresses from the beginning, as they would if a router stood
between them: so a partition is silent at every level, and not an "host unreachable" after three seconds.

Needs root, and says so. What must always hold: whatever a test does, every namespace made here is removed, by
the name it was given here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self, TypeVar

T = TypeVar("T")

NET: Final = "10.77.0"  # of no importance outside: no namespace has a way out
MACHINES_MAX: Final = 100
GROUPS_MAX: Final = 8
COMMAND_S_MAX: Final = 20.0
CLONE_NEWNET: Final = 0x40000000  # sched.h
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Machine:
    """A namespace and its only address."""

    name: str
    namespace: str
    number: int

    @property
    def ip(self) -> str:
        return f"{NET}.{self.number}"

    @property
    def mac(self) -> str:
        return f"02:00:00:00:00:{self.number:02x}"

    @property
    def port(self) -> str:
        """The switch's end of its cable."""
        return f"port{self.number}"

    def enter(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` inside; files and Unix sockets stay those of everybody."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def inside(self, work: Callable[[], T]) -> T:
        """`work` done by a thread of ours that is inside: sockets that it makes belong there."""

        def enter_and_work() -> T:
            with open(f"/run/netns/{self.namespace}") as namespace:
                if _LIBC.setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter {self.namespace}")
            return work()

        with ThreadPoolExecutor(1) as thread:  # it enters for good, so it is used once
            return thread.submit(enter_and_work).result()


class Lan:
    """A switch and the machines on it."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise AssertionError("tests with network namespaces need root: run them as root, as CI does")
        self._tag = f"fog-{secrets.token_hex(3)}"
        self._made: list[str] = []
        self._machines: dict[str, Machine] = {}
        self._switch = ""

    def __enter__(self) -> Self:
        try:
            self._switch = self._namespace("switch")
            for number in range(GROUPS_MAX):
                self._ip("-n", self._switch, "link", "add", f"group{number}", "type", "bridge")
                self._ip("-n", self._switch, "link", "set", f"group{number}", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        while self._made:
            self._ip("netns", "del", self._made.pop())

    def machine(self, name: str) -> Machine:
        """One more, connected to all that are not parted from the first group."""
        assert name not in self._machines, f"there is a machine {name}"
        number = len(self._machines) + 1
        assert number <= MACHINES_MAX
        machine = Machine(name, self._namespace(name), number)
        inside = ("-n", machine.namespace)
        self._ip(
            *("-n", self._switch, "link", "add", machine.port, "type", "veth"),
            *("peer", "name", "eth0", "address", machine.mac, "netns", machine.namespace),
        )
        self._ip("-n", self._switch, "link", "set", machine.port, "master", "group0", "up")
        self._ip(*inside, "link", "set", "lo", "up")
        self._ip(*inside, "addr", "add", f"{machine.ip}/24", "dev", "eth0")
        self._ip(*inside, "link", "set", "eth0", "up")
        for other in self._machines.values():
            self._introduce(machine, other)
            self._introduce(other, machine)
        self._machines[name] = machine
        return machine

    def part(self, *groups: set[str]) -> None:
        """Only machines of one group reach each other; everything else is dropped without a word.

        Who is in no group is in the first.
        """
        assert len(groups) <= GROUPS_MAX
        assert sum(map(len, groups)) == len(set().union(*groups)), "a machine is in two groups"
        for name, machine in self._machines.items():
            group = next((number for number, names in enumerate(groups) if name in names), 0)
            self._ip("-n", self._switch, "link", "set", machine.port, "master", f"group{group}")

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self.part(set(self._machines))

    @contextlib.contextmanager
    def parted(self, *groups: set[str]) -> Iterator[None]:
        self.part(*groups)
        try:
            yield
        finally:
            self.heal()

    def unplug(self, *names: str) -> None:
        """Pull the cables out: the machines lose their carrier."""
        for name in names:
            self._ip("-n", self._switch, "link", "set", self._machines[name].port, "down")

    def plug(self, *names: str) -> None:
        for name in names:
            self._ip("-n", self._switch, "link", "set", self._machines[name].port, "up")

    def _introduce(self, machine: Machine, other: Machine) -> None:
        self._ip(
            *("-n", machine.namespace, "neigh", "replace", other.ip, "lladdr", other.mac),
            *("dev", "eth0", "nud", "permanent"),
        )

    def _namespace(self, name: str) -> str:
        full = f"{self._tag}-{name}"
        self._ip("netns", "add", full)
        self._made.append(full)
        return full

    def _ip(self, *words: str) -> None:
        try:
            done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=COMMAND_S_MAX)
        except FileNotFoundError:
            raise AssertionError("there is no `ip`: apt-get install iproute2") from None
        if done.returncode:
            raise AssertionError(
                f"`ip {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()}"
            )

    def __repr__(self) -> str:
        return f"<Lan {self._tag} {', '.join(self._machines)}>"
