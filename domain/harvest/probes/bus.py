"""D-Bus: one call, one answer, within a deadline. jeepney writes and reads the bytes.

A connection is opened at the first call and kept; whatever goes wrong in a call closes it, and the next one
opens another. So a daemon that restarts, or a call that was cut off in the middle, costs one reading and
nothing more.

Knows calls, properties and signals. Does not know what they mean. The daemon is trusted as the system is: it
checks every message of a service before it passes it on, which jeepney's parser by itself does not (a list of
nothing, announced as long, keeps it busy for good).

What must always hold: whatever the daemon or a service answers, the caller gets a value or ProbeFailed, and
never waits longer than CALL_S_MAX.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import trio
from jeepney import DBusAddress, HeaderFields, MatchRule, Message, MessageType, Properties, new_method_call
from jeepney.auth import BEGIN, AuthenticationError, Authenticator
from jeepney.bus import get_bus
from jeepney.bus_messages import message_bus
from jeepney.io.trio import DBusConnection
from jeepney.low_level import SizeLimitError

from domain.harvest.probes import ProbeFailed

CALL_S_MAX: Final = 1.0
"""A local daemon answers in a millisecond or two; one that is started by the call, within this."""

OTHERS_MAX: Final = 256
"""Messages that may come before the answer; a bus sends one or two."""


class Bus:
    """One bus; `address` as D-Bus writes it (`unix:path=…`), or SYSTEM or SESSION."""

    def __init__(self, address: str = "SYSTEM") -> None:
        self.address = address
        self._connection: DBusConnection | None = None
        self._one_call = trio.Lock()

    async def properties(self, service: str, path: str, interface: str) -> dict[str, Any]:
        """All properties of one object. Raises ProbeFailed."""
        message = Properties(DBusAddress(path, bus_name=service, interface=interface)).get_all()
        body = await self._ask(service, message, "a{sv}")
        return {name: value for name, (_, value) in body[0].items()}

    async def call(
        self, service: str, path: str, interface: str, method: str, signature: str
    ) -> tuple[Any, ...]:
        """A method without arguments, whose answer must have this signature. Raises ProbeFailed."""
        message = new_method_call(DBusAddress(path, bus_name=service, interface=interface), method)
        return await self._ask(service, message, signature)

    @asynccontextmanager
    async def signals(self, **match: str) -> AsyncIterator[DBusConnection]:
        """A connection of its own on which the signals that match arrive. Raises ProbeFailed."""
        rule = MatchRule(type="signal", **match)
        with failures("signals"), trio.fail_after(CALL_S_MAX):
            connection = await _connect(self.address)
            await _answer(connection, message_bus.AddMatch(rule))
        try:
            yield connection
        finally:
            await close(connection)

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await close(connection)

    async def _ask(self, service: str, message: Message, signature: str) -> tuple[Any, ...]:
        async with self._one_call:
            good = False
            try:
                with failures(service), trio.fail_after(CALL_S_MAX):
                    if self._connection is None:
                        self._connection = await _connect(self.address)
                    answer = await _answer(self._connection, message)
                good = True
            finally:
                if not good:
                    await self.aclose()
        if answer.header.message_type is MessageType.error:
            name = answer.header.fields.get(HeaderFields.error_name, "an error")
            raise ProbeFailed(f"{service} answers {name}")
        if answer.header.fields.get(HeaderFields.signature, "") != signature:
            raise ProbeFailed(f"{service} does not answer in its format")
        body: tuple[Any, ...] = answer.body
        return body


async def close(connection: DBusConnection) -> None:
    """Also while being cancelled."""
    with trio.CancelScope(shield=True):
        await connection.aclose()


async def _connect(address: str) -> DBusConnection:
    stream = await trio.open_unix_socket(get_bus(address))
    connection = DBusConnection(stream.socket)
    try:
        authenticator = Authenticator(inc_null_byte=False)
        await stream.send_all(b"\0")
        for data in authenticator:
            await stream.send_all(data)
            received = await stream.receive_some()
            if not received:
                raise trio.EndOfChannel
            authenticator.feed(received)
        await stream.send_all(BEGIN)
        await _answer(connection, message_bus.Hello())
    except BaseException:
        await close(connection)
        raise
    return connection


async def _answer(connection: DBusConnection, message: Message) -> Message:
    serial = next(connection.outgoing_serial)
    await connection.send(message, serial=serial)
    for _ in range(OTHERS_MAX):
        answer: Message = await connection.receive()
        if answer.header.fields.get(HeaderFields.reply_serial) == serial:
            return answer
    raise ProbeFailed("the bus sends everything but an answer")


@contextmanager
def failures(service: str) -> Iterator[None]:
    """Everything that jeepney, trio and the system raise for what a bus does."""
    try:
        yield
    except trio.TooSlowError as error:
        raise ProbeFailed(f"{service}: no answer within {CALL_S_MAX:.0f} s") from error
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel) as error:
        raise ProbeFailed(f"{service}: the bus closed the connection") from error
    except AuthenticationError as error:
        raise ProbeFailed(f"{service}: the bus lets us not in") from error
    except (SizeLimitError, struct.error, ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
        raise ProbeFailed(f"{service}: the bus does not speak D-Bus ({error})") from error
    except OSError as error:
        raise ProbeFailed(f"{service}: no bus ({error.strerror or error})") from error
