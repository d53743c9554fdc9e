"""Where others were reached is remembered, and a file that is damaged or missing costs nothing but that."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from fog import acquaintances
from network.discovery import Reunion
from network.host import open_host

LOOPBACK = "/ip4/127.0.0.1/tcp/0"


@pytest.mark.trio
async def test_who_was_dialled_is_in_the_file_and_found_again_after_a_start(tmp_path: Path) -> None:
    file = tmp_path / "peers"
    async with open_host(b"a" * 32, [LOOPBACK]) as alice:
        async with open_host(b"b" * 32, [LOOPBACK]) as bob, trio.open_nursery() as nursery:
            reunion = Reunion(bob)
            nursery.start_soon(reunion.run)
            nursery.start_soon(acquaintances.keep, file, bob, reunion)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await bob.dial(alice.addresses()[0])
            with trio.fail_after(10):
                while not file.exists():
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        assert acquaintances.read(file) == alice.addresses()
        async with open_host(b"b" * 32, [LOOPBACK]) as bob, trio.open_nursery() as nursery:
            links = bob.watch_links()
            nursery.start_soon(Reunion(bob, acquaintances.read(file)).run)
            with trio.fail_after(10):
                assert (await links.receive()).peer == alice.peer_id
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\n", b"/ip4/1.2.3.4\n" * 9_999, b"x" * 1_000_000])
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "peers"
    file.write_bytes(content)
    assert acquaintances.read(file) == []


def test_a_missing_file_is_an_empty_one_and_a_long_one_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "peers"
    assert acquaintances.read(file) == []
    file.write_text("/mem/alice/p2p/12D3KooW\n" * 10_000)
    assert len(acquaintances.read(file)) == acquaintances.ADDRESSES_MAX
