"""One HTTP POST, for the few things that this program asks of servers that are not nodes.

h11 speaks the protocol, trio moves the bytes. One connection for one question: these questions are rare.

What must always hold: at most `size_max` bytes of an answer are held; how long it may take is the caller's
deadline; whatever the server sends, the result is an answer or RemoteError.
"""

from __future__ import annotations

import contextlib
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11
import trio

from ledger.errors import RemoteError, UsageError

PORTS: Final = {"http": 80, "https": 443}
RECEIVE_SIZE: Final = 16 * 1024


def check_url(url: str) -> SplitResult:
    """An http or https URL with a host. Raises UsageError (`bad_url`)."""
    parts = urlsplit(url)
    try:
        good = parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        good = False
    if not good or not url.isascii() or any(character <= " " for character in url):
        raise UsageError(
            f"not an http or https URL: {url[:200]!r}", code="bad_url", next_step="such as http://host:7421"
        )
    return parts


async def post(url: str, body: bytes, *, size_max: int) -> tuple[int, bytes]:
    """(status, body) of the answer.

    Raises RemoteError (`unreachable`, `bad_answer`), UsageError (`bad_url`).
    """
    parts = check_url(url)
    assert parts.hostname is not None
    port = parts.port or PORTS[parts.scheme]
    stream: trio.abc.Stream
    try:
        if parts.scheme == "https":
            stream = await trio.open_ssl_over_tcp_stream(parts.hostname, port, https_compatible=True)
        else:
            stream = await trio.open_tcp_stream(parts.hostname, port)
    except OSError as error:
        raise RemoteError(f"{parts.netloc} does not answer: {error}", code="unreachable") from error
    try:
        return await _ask(stream, parts, body, size_max)
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
        raise RemoteError(f"{parts.netloc} hung up", code="unreachable") from error
    except h11.RemoteProtocolError as error:
        raise RemoteError(f"{parts.netloc} does not speak HTTP: {error}", code="bad_answer") from error
    finally:
        await trio.aclose_forcefully(stream)


async def _ask(stream: trio.abc.Stream, parts: SplitResult, body: bytes, size_max: int) -> tuple[int, bytes]:
    connection = h11.Connection(our_role=h11.CLIENT)
    headers = [
        ("host", parts.netloc.rpartition("@")[2]),
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", str(len(body))),
        ("connection", "close"),
    ]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = connection.send(h11.Request(method="POST", target=target, headers=headers))
    data = connection.send(h11.Data(body))
    connection.send(h11.EndOfMessage())
    with contextlib.suppress(trio.BrokenResourceError):  # it may have answered before it read all
        await stream.send_all((head or b"") + (data or b""))
    status, received = 0, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(RECEIVE_SIZE)))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            received += bytes(event.data)
            if len(received) > size_max:
                raise RemoteError(f"{parts.netloc} answers more than {size_max} bytes", code="bad_answer")
        elif isinstance(event, h11.EndOfMessage):
            return status, received
        elif isinstance(event, h11.ConnectionClosed):
            raise RemoteError(f"{parts.netloc} hung up", code="unreachable")
