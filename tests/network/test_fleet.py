"""Machines of one account tell each other what they do; nobody else learns anything."""

from __future__ import annotations

import pytest
import trio

from ledger import canonical
from ledger.errors import RemoteError
from network.fleet import DOING_MAX, LABELS_MAX, PROTOCOL, Fleet, Report, decode
from network.identity import key_of, peer_of
from network.stream import Stream
from tests.network.conftest import tcp_host

REPORT = Report(
    "attic",
    (("room", "attic"),),
    "0.1",
    "Linux x86_64",
    8,
    16 << 30,
    "laptop",
    2,
    "suspend",
    "suspended: somebody is at the keyboard",
    ("qm3f2a7x/0.0: stopped",),
    1_764_000_000_000,
)


def test_a_peer_id_is_a_device_key() -> None:
    key = bytes(range(32))
    assert key_of(peer_of(key)) == key


async def test_a_device_of_the_account_is_told_everything() -> None:
    async with tcp_host(1) as one, tcp_host(2) as other:
        key = key_of(other.peer_id)
        Fleet(one, lambda: REPORT, lambda device: device == key)
        asking = Fleet(other, lambda: REPORT, lambda device: False)
        here = key_of(one.peer_id)
        assert here is not None
        assert await asking.ask(here) is None, "no link yet"
        await other.dial(one.addresses()[0])
        assert await asking.ask(here) == REPORT


async def test_a_stranger_is_told_nothing() -> None:
    asked: list[bytes] = []

    def nobody(device: bytes) -> bool:
        asked.append(device)
        return False

    async with tcp_host(1) as one, tcp_host(2) as other:
        Fleet(one, lambda: REPORT, nobody)
        await other.dial(one.addresses()[0])
        here = key_of(one.peer_id)
        assert here is not None
        assert await Fleet(other, lambda: REPORT, nobody).ask(here) is None
        assert asked == [key_of(other.peer_id)]


async def test_a_device_that_says_nonsense_is_one_that_does_not_answer() -> None:
    async def nonsense(stream: Stream, peer: str) -> None:
        await stream.write_frame(b"\xff" * 100)

    async with tcp_host(1) as one, tcp_host(2) as other:
        one.handle(PROTOCOL, nonsense)
        await other.dial(one.addresses()[0])
        here = key_of(one.peer_id)
        assert here is not None
        with trio.fail_after(10):
            assert await Fleet(other, lambda: REPORT, lambda device: True).ask(here) is None
        assert sum(count for name, count in other.counts.items() if name.startswith("fleet.")) == 1


def test_the_longest_report_fits_its_frame() -> None:
    word, line, most = "🌫" * 64, "🌫" * 512, 2**63 - 1
    longest = Report(
        name=word,
        labels=((word, word),) * LABELS_MAX,
        version=word,
        system=word,
        cores=most,
        memory=most,
        profile=word,
        slots=most,
        action=word,
        why=line,
        doing=(line,) * DOING_MAX,
        since=most,
    )
    assert decode(canonical.encode(longest)) == longest


def test_a_frame_that_is_no_report_is_their_fault() -> None:
    for frame in (b"", b"\xf4", canonical.encode({}), canonical.encode(["attic"])):
        with pytest.raises(RemoteError):
            decode(frame)
