"""A real dbus-daemon of the test's own, and services on it that answer as they were recorded.

The daemon is the distribution's; nothing of it is replaced. A service is jeepney on the other end of it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from jeepney import (
    DBusAddress,
    HeaderFields,
    MessageType,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney.bus_messages import message_bus
from jeepney.io.trio import DBusConnection, DBusRouter, open_dbus_connection

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""

Answers = Mapping[tuple[str, str], tuple[str, tuple[Any, ...]]]
"""(path, method or interface asked for all its properties) -> (signature, body)"""


LOGIN1 = "org.freedesktop.login1"
MANAGER = "/org/freedesktop/login1"


def session(
    kind: str, *, idle: bool, since_us: int, locked: bool = False, state: str = "active", of: str = "user"
) -> dict[str, tuple[str, Any]]:
    """What matters of a session's properties, among some that do not."""
    return {
        "Type": ("s", kind),
        "Class": ("s", of),
        "State": ("s", state),
        "Remote": ("b", False),
        "Seat": ("(so)", ("seat0", "/org/freedesktop/login1/seat/seat0")),
        "IdleHint": ("b", idle),
        "IdleSinceHint": ("t", 1_700_000_000_000_000),
        "IdleSinceHintMonotonic": ("t", since_us),
        "LockedHint": ("b", locked),
    }


def logind(*sessions: dict[str, tuple[str, Any]], inhibited: str = "shutdown:sleep") -> Answers:
    paths = [f"/org/freedesktop/login1/session/_3{number}" for number in range(len(sessions))]
    rows = [(f"{number}", 1000, "ada", "seat0", path) for number, path in enumerate(paths)]
    manager = {"IdleHint": ("b", False), "BlockInhibited": ("s", inhibited), "Docked": ("b", False)}
    answers: dict[tuple[str, str], tuple[str, tuple[Any, ...]]] = {
        (MANAGER, f"{LOGIN1}.Manager"): ("a{sv}", (manager,)),
        (MANAGER, "ListSessions"): ("a(susso)", (rows,)),
    }
    for path, properties in zip(paths, sessions, strict=True):
        answers[path, f"{LOGIN1}.Session"] = ("a{sv}", (properties,))
    return answers


class Daemon:
    """`address` is what a client is given."""

    def __init__(self, folder: Path) -> None:
        self._config = folder / "bus.conf"
        self._config.write_text(CONFIG.format(path=folder / "bus"))
        self.address = f"unix:path={folder / 'bus'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if shutil.which("dbus-daemon") is None:
            raise AssertionError("there is no `dbus-daemon`: apt-get install dbus")
        self._process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={self._config}", "--nofork", "--nopidfile", "--print-address=1"],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip(), "the daemon did not start"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@asynccontextmanager
async def daemon(folder: Path) -> AsyncIterator[Daemon]:
    """Started, and gone afterwards."""
    bus = Daemon(folder)
    await trio.to_thread.run_sync(bus.start)
    try:
        yield bus
    finally:
        bus.stop()


class Service:
    """Answers by a table that the test may change; silent for what is in `silent`."""

    def __init__(self, connection: DBusConnection, answers: Answers) -> None:
        self.answers = dict(answers)
        self.silent = False
        self._connection = connection

    async def serve(self) -> None:
        while True:
            message = await self._connection.receive()
            if message.header.message_type is not MessageType.method_call or self.silent:
                continue
            path = message.header.fields[HeaderFields.path]
            member = message.header.fields[HeaderFields.member]
            asked = message.body[0] if member == "GetAll" else member
            if (path, asked) in self.answers:
                signature, body = self.answers[path, asked]
                await self._connection.send(new_method_return(message, signature, body))
            else:
                await self._connection.send(
                    new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "s", ("unknown",))
                )

    async def changed(self, path: str, interface: str, **values: tuple[str, Any]) -> None:
        """`PropertiesChanged`, as services send it."""
        emitter = DBusAddress(path, interface="org.freedesktop.DBus.Properties")
        await self._connection.send(
            new_signal(emitter, "PropertiesChanged", "sa{sv}as", (interface, values, []))
        )


@asynccontextmanager
async def service(bus: Daemon, name: str, answers: Answers) -> AsyncIterator[Service]:
    """One that owns `name` on the bus."""
    connection = await open_dbus_connection(bus.address)
    async with connection, trio.open_nursery() as nursery:
        async with connection.router() as router:
            await _own(router, name)
        served = Service(connection, answers)
        nursery.start_soon(served.serve)
        yield served
        nursery.cancel_scope.cancel()


async def _own(router: DBusRouter, name: str) -> None:
    reply = await router.send_and_get_reply(message_bus.RequestName(name))
    assert reply.body[0] == 1, f"somebody else is {name}"
