"""A store made from an archive is the one that a node would have; or there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from ledger import proving
from ledger.audit import audit
from ledger.database import sqlite_path
from ledger.errors import RemoteError, UsageError
from ledger.importing import import_archive
from ledger.opening import get
from ledger.replica import Replica
from ledger.shelf import Shelf
from ledger.store import Store
from ledger.tables import LEDGER
from tests.ledger.histories import CountingRules, History, talk
from tests.ledger.test_archive import archive_of, written
from tests.ledger.turning import turning


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.car"
    path.write_bytes(archive_of(talk()))
    return path


def imported(log: Path, url: str) -> Store:
    import_archive(log, url, CountingRules())
    return Store.open(url)


def test_the_store_is_that_of_a_node_which_took_the_same_events(
    log: Path, database_url: Callable[[], str]
) -> None:
    """History, state, event tree, proofs of subtrees; a fork's chain is the one that is first in order."""
    history = talk()
    theirs = history.write_to(Store.create(database_url(), history.genesis))
    ours = imported(log, database_url())
    assert ours.finalized(0, 100) == theirs.finalized(0, 100)
    assert list(ours.state_rows()) == list(theirs.state_rows())
    assert ours.last() == theirs.last()
    assert ours.run(1, 100) == theirs.run(1, 100)
    assert ours.frontier() == theirs.frontier() == history.frontier.encode()
    assert written(ours) == written(theirs) == log.read_bytes()
    assert ours.counts()["rivals"] == theirs.counts()["rivals"] == 2
    [proof] = ours.fork_proofs()
    [(first, rival)] = [(step.events[0], step.rivals[0]) for step in history.steps if step.rivals]
    assert set(proof.ids) == {first.id, rival.id}
    ours.close()
    theirs.close()


def test_what_was_imported_long_after_genesis_proves_exports_and_is_begun_from(tmp_path: Path) -> None:
    """It knows the validators of all epochs, and gives runs of checkpoints from wherever somebody stands."""
    history = turning(10)
    theirs = history.write_to(Store.create("sqlite://", history.genesis))
    log = tmp_path / "log.car"
    log.write_bytes(written(theirs))
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    import_archive(log, url, history.rules)
    with Store.open(url) as ours:
        last = ours.last()
        assert last is not None
        epochs = range(last.checkpoint.epoch + 2)
        assert [ours.validators(n) for n in epochs] == [theirs.validators(n) for n in epochs]
        assert proving.certified(ours, last) == proving.certified(theirs, last)
        assert written(ours) == log.read_bytes()
        assert Shelf(Replica.open(ours, history.rules, None, validator=False)).offer(0) is not None
        assert [ours.run(height, 3) for height in range(1, 21)] == [
            theirs.run(height, 3) for height in range(1, 21)
        ]


def test_the_log_of_a_store_that_was_there_before_is_not_taken_for_its_own(log: Path, tmp_path: Path) -> None:
    """A damaged store was moved away, and what SQLite keeps beside it was not."""
    other = History(name="another")
    place = tmp_path / "ledger.sqlite"
    other.write_to(Store.create(f"sqlite:///{place}", other.genesis))  # and never closed
    assert (tmp_path / "ledger.sqlite-wal").stat().st_size
    place.rename(tmp_path / "damaged")
    with imported(log, f"sqlite:///{place}") as store:
        assert (store.genesis.name, store.counts()["height"]) == (talk().genesis.name, 3)


def test_a_node_goes_on_from_it(log: Path, tmp_path: Path) -> None:
    """Opened as any store: the checks of a start pass, and the state has the root of the last checkpoint."""
    history = talk()
    with imported(log, f"sqlite:///{tmp_path}/ledger.sqlite") as store:
        replica = Replica.open(store, CountingRules(), history.voter, validator=True)
        assert (replica.height, replica.state.root) == (3, history.state.root)
        event = replica.append("say", 1, {"text": "on we go"}, now=replica.genesis.created + 60_000)
        assert replica.unordered() == [event.id]


def test_it_has_the_tables_and_indexes_of_any_store(log: Path, tmp_path: Path) -> None:
    def schema(store: Store) -> list[tuple[str, str]]:
        with store.engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
            return sorted((row.name, row.sql.strip()) for row in rows)

    with imported(log, f"sqlite:///{tmp_path}/made.sqlite") as made:
        with Store.create(f"sqlite:///{tmp_path}/new.sqlite", made.genesis) as new:
            assert schema(made) == schema(new)
        with made.engine.connect() as connection:
            assert get(connection, "state") == b"1", "left in order"
            assert set(LEDGER.tables) <= set(sa.inspect(connection).get_table_names())


def test_a_store_that_is_there_is_not_touched(log: Path, database_url: Callable[[], str]) -> None:
    url = database_url()
    Store.create(url, History(name="another").genesis).close()
    with pytest.raises(UsageError) as caught:
        import_archive(log, url, CountingRules())
    assert caught.value.code == "store_exists"
    assert Store.open(url).genesis.name == "another"


def test_what_an_interrupted_import_left_is_thrown_away(log: Path, tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite.building").write_bytes(b"half a store")
    with imported(log, f"sqlite:///{tmp_path}/ledger.sqlite") as store:
        assert store.counts()["height"] == 3
    assert not list(tmp_path.glob("*.building*"))


@pytest.mark.parametrize("field", ["sroot", "rroot", "eroot"])
def test_a_log_that_gives_other_roots_leaves_no_store(
    field: str, tmp_path: Path, database_url: Callable[[], str]
) -> None:
    """It was said to be audited, and was not."""
    history = History()
    event = history.say("alice")
    history.finalize_so([event], [event], **{field: bytes(32)})
    log = tmp_path / "lies.car"
    log.write_bytes(archive_of(history))
    assert not audit(log, CountingRules(), net=None).ok
    url = database_url()
    with pytest.raises(RemoteError) as caught:
        import_archive(log, url, CountingRules())
    assert caught.value.code == "wrong_roots"
    place = sqlite_path(url)
    assert place is None or not place.exists()
    with pytest.raises(UsageError, match=r"no store|store at"):
        Store.open(url)


def test_of_the_network_that_was_asked_for_or_not_at_all(log: Path, tmp_path: Path) -> None:
    net = History(name="another").net
    with pytest.raises(RemoteError) as caught:
        import_archive(log, f"sqlite:///{tmp_path}/s.sqlite", CountingRules(), net=net)
    assert caught.value.code == "wrong_network"
    with pytest.raises(UsageError) as unread:
        import_archive(tmp_path / "none.car", f"sqlite:///{tmp_path}/s.sqlite", CountingRules())
    assert unread.value.code == "no_archive"
    assert not list(tmp_path.glob("s.sqlite*"))
