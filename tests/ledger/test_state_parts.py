"""A state cut into parts: together they are the state, and no part can be doctored."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import canonical
from ledger.cid import Cid
from ledger.errors import RemoteError
from ledger.merkle_map import path_of
from ledger.state import State
from ledger.state_parts import CutState, RowParts

ROWS = st.dictionaries(
    st.tuples(st.sampled_from(["account", "bond", "lane"]), st.binary(max_size=6)),
    st.binary(max_size=12),
    max_size=60,
)
ROWS_MAX = 120  # bytes: a few rows in each part


def state_of(rows: dict[tuple[str, bytes], bytes]) -> State:
    return State().change(rows.items()).seal()


def many(count: int = 40) -> State:
    return state_of({("account", b"\x00%02d" % at): b"value %d" % at for at in range(count)})


def contents(state: State) -> dict[str, list[tuple[bytes, bytes]]]:
    return {table: state.items(table) for table in state.tables()}


@given(ROWS, st.sampled_from([1, ROWS_MAX, 10_000]))
def test_all_parts_together_are_the_state(rows: dict[tuple[str, bytes], bytes], rows_max: int):
    state = state_of(rows)
    cut = CutState(state, rows_max)
    parts = RowParts(cut.cuts, state.root)
    for index in reversed(range(len(parts))):
        data = cut.part(index)
        assert data is not None
        parts.take(index, data)
    assert parts.here == len(parts)
    assert contents(parts.state()) == contents(state)
    assert parts.state().root == state.root
    assert (
        parts.state().put("account", b"x", b"y").seal().root == state.put("account", b"x", b"y").seal().root
    )


def test_a_key_that_is_a_cid_is_bytes_on_the_way():
    state = state_of({("job", Cid.of(b"a job")): b"1", ("job", b"other"): b"2"})
    cut = CutState(state)
    parts = RowParts(cut.cuts, state.root)
    parts.take(0, cut.part(0) or b"")
    assert contents(parts.state()) == contents(state)


def test_a_part_holds_no_more_than_its_bound_unless_it_is_one_row():
    cut = CutState(many(200), ROWS_MAX)
    sizes = [len(canonical.decode(cut.part(index) or b"", size_max=10_000)) for index in range(len(cut.cuts))]
    assert sum(sizes) == 200
    assert max(sizes) <= ROWS_MAX // 30
    assert cut.part(len(cut.cuts)) is None


Doctor = Callable[[list[list[object]]], object]
DOCTORED: dict[str, Doctor] = {
    "a_row_missing": lambda rows: rows[1:],
    "no_rows": lambda rows: [],
    "a_value_changed": lambda rows: [[*rows[0][:2], b"more"], *rows[1:]],
    "a_row_added": lambda rows: sorted([*rows, ["account", b"mallory", b"1"]], key=_path),
    # Its path is the same: a zero parts the name of the table from the key, and the key begins with one.
    "a_row_in_another_table": lambda rows: [_in_another_table(rows[0]), *rows[1:]],
    "a_row_twice": lambda rows: [rows[0], *rows],
    "another_order": lambda rows: rows[::-1],
    "no_list": lambda rows: {"rows": rows},
    "a_float": lambda rows: [[rows[0][0], rows[0][1], 1.5]],
}


def _in_another_table(row: list[object]) -> list[object]:
    table, key, value = row
    assert isinstance(key, bytes)
    assert key[0] == 0
    moved = [f"{table}\x00", key[1:], value]
    assert _path(moved) == _path(row)
    return moved


def _path(row: list[object]) -> bytes:
    table, key = row[0], row[1]
    assert isinstance(table, str)
    assert isinstance(key, bytes)
    return path_of(table, key)


@pytest.mark.parametrize("how", sorted(DOCTORED))
def test_a_doctored_part_is_refused(how: str):
    state = many()
    cut = CutState(state, ROWS_MAX)
    parts = RowParts(cut.cuts, state.root)
    for index in range(len(parts)):
        rows = canonical.decode(cut.part(index) or b"", size_max=10_000)
        if len(rows) < 2:
            continue
        with pytest.raises(RemoteError):
            parts.take(index, encoded(DOCTORED[how](rows)))
        assert index not in parts


def encoded(value: object) -> bytes:
    import cbrrr

    return cbrrr.encode_dag_cbor(value)


@settings(max_examples=300)
@given(st.data())
def test_bytes_that_are_not_the_part_are_refused(data: st.DataObject):
    state = many()
    cut = CutState(state, ROWS_MAX)
    index = data.draw(st.integers(0, len(cut.cuts) - 1))
    true = cut.part(index)
    assert true is not None
    at = data.draw(st.integers(0, len(true) - 1))
    other = true[:at] + data.draw(st.binary(max_size=3)) + true[at + data.draw(st.integers(0, 3)) :]
    if other != true:
        with pytest.raises(RemoteError):
            RowParts(cut.cuts, state.root).take(index, other)


def test_a_part_is_refused_in_the_place_of_another():
    state = many()
    cut = CutState(state, ROWS_MAX)
    parts = RowParts(cut.cuts, state.root)
    for index in range(1, len(parts)):
        with pytest.raises(RemoteError):
            parts.take(index, cut.part(index - 1) or b"")


@given(st.data())
def test_other_cuts_do_not_fold_into_the_root(data: st.DataObject):
    """What still folds into it is a list of commitments that some part can never come to."""
    state = many(12)
    cut = CutState(state, ROWS_MAX)
    index = data.draw(st.integers(0, len(cut.cuts) - 1))
    depth, commitment = cut.cuts[index]
    instead = data.draw(
        st.sampled_from(
            [
                [],
                [(depth, b"")],
                [(depth, bytes(32))],
                [(depth + 1, commitment)],
                [(depth + 1, commitment), (depth + 1, b"")],
                [(depth + 1, b""), (depth + 1, commitment)],
                [(depth, commitment), (depth, b"")],
                [(max(0, depth - 1), commitment)],
                [(depth, commitment[:-1])],
            ]
        )
    )
    lied = [*cut.cuts[:index], *instead, *cut.cuts[index + 1 :]]
    if lied == cut.cuts:
        return
    try:
        parts = RowParts(lied, state.root)
    except RemoteError:
        return
    refused = 0
    for at in range(len(parts)):
        try:
            parts.take(at, cut.part(at if at <= index else at - len(instead) + 1) or b"\x80")
        except RemoteError:
            refused += 1
    if parts.here == len(parts):
        assert contents(parts.state()) == contents(state)
    else:
        assert refused


def test_the_only_row_of_a_part_cannot_be_moved_to_another_part():
    """Its commitment is the row itself, with its path: the part that has it cannot be made to look empty."""
    state = state_of({("account", b"alone"): b"1"})
    entry = CutState(state).cuts[0][1]
    path = int.from_bytes(path_of("account", b"alone")[:1], "big") >> 6
    for place in range(4):
        cuts = [(2, entry if at == place else b"") for at in range(4)]
        if place == path:
            assert len(RowParts(cuts, state.root)) == 4
        else:
            with pytest.raises(RemoteError):
                RowParts(cuts, state.root)
