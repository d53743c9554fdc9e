"""The state: a value that can be tried and thrown away, under a root that tells only what is in it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ledger import merkle_map
from ledger.state import State

tables = st.sampled_from(["account", "job", "lane"])
keys = st.binary(max_size=2)
values = st.binary(max_size=4)
contents = st.dictionaries(st.tuples(tables, keys), values, max_size=40)


def filled(content: dict[tuple[str, bytes], bytes]) -> State:
    state = State()
    for (table, key), value in content.items():
        state = state.put(table, key, value)
    return state


@given(contents, st.randoms(use_true_random=False))
def test_the_root_does_not_depend_on_the_order_of_writes(
    content: dict[tuple[str, bytes], bytes], shuffler: random.Random
):
    """Two nodes that came to the same contents by different ways have the same root."""
    rows = list(content.items())
    shuffler.shuffle(rows)
    other = State()
    for n, ((table, key), value) in enumerate(rows):
        other = other.put(table, key, b"first something else").put(table, key, value)
        if n % 3 == 0:
            other = other.seal()
    assert other.seal().root == filled(content).seal().root


@given(contents, contents)
def test_what_was_deleted_leaves_no_trace(
    kept: dict[tuple[str, bytes], bytes], passing: dict[tuple[str, bytes], bytes]
):
    """Not in the root, not in `items`, not in `tables`."""
    state = filled({**passing, **kept}).seal()
    for table, key in passing.keys() - kept.keys():
        state = state.delete(table, key)
    expected = filled(kept).seal()
    assert state.seal().root == expected.root
    assert state.tables() == expected.tables()
    assert all(state.items(table) == expected.items(table) for table in expected.tables())


def test_a_state_never_changes():
    """`put` and `delete` answer with another one."""
    before = State().put("account", b"alice", b"100")
    after = before.put("account", b"alice", b"40").put("account", b"bob", b"60")
    assert before.get("account", b"alice") == b"100"
    assert before.get("account", b"bob") is None
    assert after.delete("account", b"bob").get("account", b"bob") is None
    assert after.get("account", b"bob") == b"60"


def test_rows_are_listed_in_the_order_of_their_keys():
    """However they were written; tables too, and none that is empty."""
    state = State().put("b", b"2", b"x").put("b", b"1", b"y").put("a", b"3", b"z").put("c", b"4", b"w")
    state = state.delete("c", b"4")
    assert state.tables() == ["a", "b"]
    assert state.items("b") == [(b"1", b"y"), (b"2", b"x")]
    assert state.items("nothing here") == []


def test_changes_are_what_differs_since_the_seal():
    """Puts and deletes, the last word on each row; nothing for a write that changes nothing."""
    sealed = State().put("t", b"a", b"1").put("t", b"b", b"2").seal()
    assert not sealed.changes
    assert sealed.put("t", b"a", b"1").delete("t", b"absent").changes == sealed.changes
    changed = sealed.put("t", b"a", b"3").put("t", b"a", b"4").delete("t", b"b").put("u", b"c", b"")
    assert dict(changed.changes) == {("t", b"a"): b"4", ("t", b"b"): None, ("u", b"c"): b""}
    assert "rows=2 changes=3" in repr(changed)


def test_an_empty_value_is_not_an_absent_one():
    """`b""` is a row; None is none."""
    state = State().put("t", b"a", b"").seal()
    assert state.get("t", b"a") == b""
    assert state.root != State().seal().root
    assert merkle_map.verify_proof(state.root, "t", b"a", b"", state.merkle_map.prove("t", b"a"))


def test_only_a_sealed_state_has_a_root_and_proofs():
    """An unsealed root would be that of the past."""
    state = State().put("t", b"a", b"1")
    with pytest.raises(AssertionError, match="not sealed"):
        _ = state.root
    with pytest.raises(AssertionError, match="not sealed"):
        _ = state.merkle_map
    assert state.seal().root == state.seal().root


def test_a_row_of_one_table_is_not_a_row_of_another():
    """Same key, same value, another root."""
    assert State().put("a", b"k", b"v").seal().root != State().put("b", b"k", b"v").seal().root


class StateAgainstDictionary(RuleBasedStateMachine):
    """Random puts, deletes and seals: a plain dictionary and a map built afresh must agree at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.model: dict[tuple[str, bytes], bytes] = {}

    @rule(table=tables, key=keys, value=values)
    def put(self, table: str, key: bytes, value: bytes) -> None:
        self.state = self.state.put(table, key, value)
        self.model[table, key] = value

    @rule(table=tables, key=keys)
    def delete(self, table: str, key: bytes) -> None:
        self.state = self.state.delete(table, key)
        self.model.pop((table, key), None)

    @rule()
    def seal(self) -> None:
        self.state = self.state.seal()
        assert self.state.root == merkle_map.MerkleMap().update(self.model).root

    @invariant()
    def holds_what_the_dictionary_holds(self) -> None:
        rows = {
            (table, key): value for table in self.state.tables() for key, value in self.state.items(table)
        }
        assert rows == self.model


TestStateAgainstDictionary = StateAgainstDictionary.TestCase
TestStateAgainstDictionary.settings = hypothesis_settings(max_examples=40, stateful_step_count=25)
