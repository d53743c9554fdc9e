"""The machines of the tests: what one of them can reach, and that nothing of them stays."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.nodes.namespaces import Lan, Machine

pytestmark = pytest.mark.slow

LISTEN = "import socket; s = socket.create_server(('', 7)); print('up', flush=True); s.accept(); s.accept()"
REACH = "import socket, sys; socket.create_connection((sys.argv[1], 7), timeout=1)"


def reaches(machine: Machine, other: Machine) -> str:
    """`yes`, or the kind of error it got."""
    done = subprocess.run(
        machine.enter([sys.executable, "-c", REACH, other.ip]), capture_output=True, text=True
    )
    return done.stderr.strip().rpartition("\n")[2].partition(":")[0] or "yes"


def namespaces() -> set[str]:
    shown = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in shown.splitlines() if line.strip()}


def test_parted_machines_meet_silence_and_unplugged_ones_too_and_a_healed_lan_is_whole() -> None:
    before = namespaces()
    with Lan() as lan:
        one, two, three = lan.machine("one"), lan.machine("two"), lan.machine("three")
        with subprocess.Popen(
            three.enter([sys.executable, "-c", LISTEN]), stdout=subprocess.PIPE, text=True
        ) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "up\n"
            with lan.parted({"one", "two"}, {"three"}):
                assert reaches(one, three) == "TimeoutError"
                assert reaches(one, two) == "ConnectionRefusedError"  # reached: nobody listens there
            lan.unplug("three")
            assert reaches(one, three) == "TimeoutError"
            assert reaches(one, two) == "ConnectionRefusedError"
            lan.plug("three")
            assert (reaches(one, three), reaches(two, three)) == ("yes", "yes")
    assert namespaces() == before
