"""Each entry counts exactly once, whatever breaks in between and however the batches fall."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from eventsourcing.persistence import IntegrityError, Tracking

from domain.effects import Transferred
from ledger.database import reading, writing
from ledger.errors import StoreCorrupt
from projections import balances, log, model, reputation, runner
from projections.model import METADATA, Batch, ReadModel
from projections.runner import MODELS, Runner
from tests.projections import history
from tests.projections.history import ALICE, BOB, held
from tests.projections.world import World


@pytest.fixture
def world(any_world: World) -> World:
    """Everything here holds on both kinds of database."""
    return any_world


TABLES = [table for model in MODELS for table in model.tables]


def contents(world: World) -> dict[str, list[tuple[Any, ...]]]:
    with reading(world.store.engine) as conn:
        return {
            t.name: [tuple(row) for row in conn.execute(sa.select(t).order_by(*t.primary_key))]
            for t in TABLES
        }


def free(world: World, account: bytes) -> int:
    with reading(world.store.engine) as conn:
        return int(balances.one(conn, account)["free"])


def breaking(model: ReadModel, at_height: int) -> ReadModel:
    """The same model, whose fold writes everything and then fails when it meets `at_height`."""

    def fold(conn: sa.Connection, batch: Batch) -> None:
        model.fold(conn, batch)
        if any(entry.height == at_height for entry in batch.entries):
            raise OSError("the power went off")

    return replace(model, fold=fold)


def test_genesis_balances_are_there_before_the_first_checkpoint(world: World) -> None:
    """No receipt speaks of what genesis gave, so the runner puts it there."""
    assert Runner(world.store).height == 0
    assert free(world, ALICE) == 1_000


def test_nothing_new_is_no_step(world: World) -> None:
    """With everything folded a step says so and changes nothing."""
    history.tell(world)
    runner = Runner(world.store)
    assert runner.catch_up() == 7
    before = contents(world)
    assert runner.step() is None
    assert contents(world) == before


def test_a_fold_that_fails_leaves_no_trace_and_is_repeated_by_the_next_start(world: World) -> None:
    """A crash in the middle of a batch: nothing of it stays, and the restart counts it exactly once."""
    history.tell(world)
    crashing = [breaking(model, at_height=6) if model is reputation.MODEL else model for model in MODELS]
    first = Runner(world.store, crashing, batch_max=4)
    while first.height < 5:
        first.step()
    before = contents(world)
    with pytest.raises(OSError, match="the power went off"):
        first.step()
    assert contents(world) == before
    assert first.height == 5

    second = Runner(world.store)
    assert second.height == 5
    assert second.catch_up() == 7
    after = contents(world)
    assert after == rebuilt(world)
    assert [row[1] for row in after["rm_contributor"]] == [1, 1], "one paid run each, not two"


def rebuilt(world: World) -> dict[str, list[tuple[Any, ...]]]:
    Runner(world.store).rebuild()
    return contents(world)


@pytest.mark.parametrize("batch_max", [4, 5, 9, 1_000])
def test_tables_do_not_depend_on_how_batches_fall(world: World, batch_max: int) -> None:
    """Folding live after every checkpoint, in lots of any size, or all at once gives the same rows."""
    history.tell(world)
    small = Runner(world.store, batch_max=batch_max)
    assert small.catch_up() == 7
    assert contents(world) == rebuilt(world)


def test_a_step_ends_at_the_end_of_a_checkpoint(world: World) -> None:
    """A reader never sees half a checkpoint, even when a whole one more would nearly fit."""
    for n in range(3):
        world.say("alice", held(ALICE, n))
        world.say("bob", held(BOB, n))
        world.finalize()
    runner = Runner(world.store, batch_max=5)
    folded = runner.step()
    assert folded is not None
    assert (folded.first, folded.last, len(folded.entries)) == (1, 1, 3)
    assert [entry.is_close for entry in folded.entries] == [False, False, True]


def test_a_batch_that_another_runner_folded_is_refused_before_it_touches_a_table(world: World) -> None:
    """Two runners by mistake: the slower one is stopped by the tracking, not by luck."""
    history.tell(world)
    slow, quick = Runner(world.store), Runner(world.store)
    quick.catch_up()
    before = contents(world)
    with pytest.raises(IntegrityError):
        slow.step()
    assert contents(world) == before


def test_tracking_and_tables_that_disagree_stop_the_runner(world: World) -> None:
    """If somebody moved one without the other, every number would be wrong: better none."""
    history.tell(world)
    runner = Runner(world.store)
    runner.step()
    with writing(world.store.engine) as conn:
        conn.execute(sa.delete(log.CHECKPOINT).where(log.CHECKPOINT.c.height == 7))
    with pytest.raises(AssertionError, match="tables are at position"):
        Runner(world.store)


def test_rebuilding_forgets_what_does_not_follow_from_the_ledger(world: World) -> None:
    """A row that was changed by hand is gone after a rebuild."""
    history.tell(world)
    runner = Runner(world.store)
    runner.catch_up()
    honest = contents(world)
    with writing(world.store.engine) as conn:
        conn.execute(sa.update(balances.BALANCE).values(free=10**9))
        conn.execute(sa.delete(log.EVENT).where(log.EVENT.c.height == 1))
    assert runner.rebuild() == 7
    assert contents(world) == honest


def indexes(world: World) -> set[str | None]:
    looked = sa.inspect(world.store.engine)
    return {index["name"] for table in TABLES for index in looked.get_indexes(table.name)}


def test_tables_made_anew_get_their_indexes_when_all_is_folded_by_whichever_start(world: World) -> None:
    """A rebuild that is interrupted leaves none behind; the next start goes on and makes them all."""
    expected = {index.name for table in TABLES for index in table.indexes}
    history.tell(world)
    first = Runner(world.store, batch_max=4)
    first.step()
    assert indexes(world) == set()
    second = Runner(world.store)
    assert second.catch_up() == 7
    assert indexes(world) == expected
    assert Runner(world.store).catch_up() == 7
    second.rebuild()
    assert indexes(world) == expected


def test_another_version_of_the_tables_is_rebuilt_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New code that folds differently must not go on from old rows."""
    history.tell(world)
    Runner(world.store).catch_up()
    honest = contents(world)
    monkeypatch.setattr(runner, "VERSION", runner.VERSION + 1)
    newer = Runner(world.store)
    assert newer.height == 0
    assert newer.catch_up() == 7
    assert contents(world) == honest


def test_an_effect_of_a_newer_program_is_named_not_skipped(world: World) -> None:
    """Skipping would show wrong balances; the message says which receipt and what to do."""
    world.say("alice", Transferred(ALICE, BOB, 1))
    world.finalize()
    with writing(world.store.engine) as conn:
        outcome = sa.table("outcome", sa.column("place"), sa.column("receipt"))
        receipt = conn.execute(sa.select(outcome.c.receipt).where(outcome.c.place == 1)).scalar_one()
        damaged = receipt.replace(b"htransfer", b"htransfex")
        assert damaged != receipt
        conn.execute(sa.update(outcome).where(outcome.c.place == 1).values(receipt=damaged))
    with pytest.raises(StoreCorrupt, match="receipt 0 of checkpoint 1"):
        Runner(world.store).step()


def test_text_that_a_database_refuses_does_not_stop_the_tables(world: World) -> None:
    """An event's kind may hold U+0000; anybody could send one."""
    world.say("alice", kind="odd\x00kind", code="unknown_kind")
    world.finalize()
    Runner(world.store).catch_up()
    with reading(world.store.engine) as conn:
        (row,) = log.events(conn, None, "odd\x00kind", None, None, 5).rows
    assert row["kind"] == "odd\ufffdkind"


def test_statements_are_built_for_the_first_checkpoint_only(world: World) -> None:
    """Building them cost twice what folding did, at every node for every checkpoint."""
    history.tell(world)
    folding = Runner(world.store)
    folding.catch_up()
    built = [cached.cache_info().misses for cached in (model._upsertion, model._insertion)]
    folding.rebuild()
    assert [cached.cache_info().misses for cached in (model._upsertion, model._insertion)] == built
    assert sum(built) > 0


def test_tracking_is_the_recorders(world: World) -> None:
    """The position is in the recorder's own table, under the name of this generation."""
    history.tell(world)
    folding = Runner(world.store)
    folding.catch_up()
    recorder = world.store.recorder("projection")
    position = recorder.max_tracking_id("projections/1")
    assert position == world.store.finalized(0, 1_000)[-1].position
    with pytest.raises(IntegrityError):
        recorder.insert_tracking(Tracking("projections/1", position))


def test_every_table_of_the_models_belongs_to_one_of_them() -> None:
    """A table that no model owned would survive a rebuild."""
    assert {t.name for t in METADATA.sorted_tables} == {t.name for t in TABLES} | {"rm_generation"}
