"""Exporting: the reply tells of the file and not of the node, and nobody has to wait for the end of it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import trio

from fog import export as exporting
from fog.export import export
from fog.methods import Exported
from ledger.audit import audit
from ledger.errors import UsageError
from ledger.replica import Replica
from ledger.store import Store
from tests.ledger.paying import PayingRules
from tests.ledger.world import START, finalize, key_of, make_genesis, pay

pytestmark = pytest.mark.trio


async def silent(progress: Exported) -> None:
    """Nobody watches."""


@pytest.fixture
def node(tmp_path: Path) -> Replica:
    """Three final events and one that waits."""
    genesis = make_genesis(alice=1_000)
    store = Store.create(f"sqlite:///{tmp_path / 'store'}", genesis)
    node = Replica.open(store, PayingRules(), key_of("anchor"), validator=True)
    for number in range(3):
        node.append("pay", 1, pay("alice", number), now=START + number)
    finalize(node, START + 10)
    node.append("pay", 1, pay("alice", 9), now=START + 20)
    return node


async def test_the_reply_counts_what_is_in_the_file(node: Replica, tmp_path: Path):
    """The same number as the audit's; events that wait for an order are not in it."""
    done = await export(node.store, tmp_path / "log.car", silent)
    with (tmp_path / "log.car").open("rb") as log:
        report = audit(log, PayingRules(), net=node.net)
    assert (report.ok, report.events, report.height) == (True, done.events, done.height)
    assert done.events == 3


async def test_two_exports_to_one_name_leave_one_whole_file(node: Replica, tmp_path: Path):
    refused: list[str] = []

    async def one() -> None:
        try:
            await export(node.store, tmp_path / "log.car", silent)
        except UsageError as error:
            refused.append(error.code)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(one)
    assert refused == ["file_exists"] * 3
    with (tmp_path / "log.car").open("rb") as log:
        assert audit(log, PayingRules(), net=node.net).ok
    assert not list(tmp_path.glob(".*.part"))


async def test_a_folder_that_is_not_there_is_told_as_such(node: Replica, tmp_path: Path):
    """As itself and not in a group, which nobody catches: it ended the node."""
    with pytest.raises(UsageError) as refused:
        await export(node.store, tmp_path / "no" / "such" / "log.car", silent)
    assert refused.value.code == "unwritable"


async def test_an_export_without_end_ends_when_nobody_waits_for_it(
    node: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    started = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def endless(store: Store, out: Any) -> int:
        for _ in itertools.count():
            out.write(b"block")
            token.run_sync_soon(started.set)
        raise AssertionError

    monkeypatch.setattr(exporting.archive, "write", endless)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(export, node.store, tmp_path / "log.car", silent)
            await started.wait()
            nursery.cancel_scope.cancel()
    assert not list(tmp_path.glob(".*.part"))
    assert not (tmp_path / "log.car").exists()
