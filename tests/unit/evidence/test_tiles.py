"""Paths and shapes of tiles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evidence.errors import ProofInvalid
from gateway.evidence.tiles import entries_path, tile_path, tile_root, tiles_of, write_bundle
from tests.vectors import second_reader


@pytest.mark.parametrize(
    ("index", "path"),
    [
        (0, "000"),
        (7, "007"),
        (999, "999"),
        (1_000, "x001/000"),
        (1_234_067, "x001/x234/067"),
        (10**9, "x001/x000/x000/000"),
    ],
)
def test_a_number_becomes_a_path(index: int, path: str) -> None:
    assert tile_path(3, index) == f"tile/3/{path}" and entries_path(index) == f"tile/entries/{path}"
    assert tile_path(0, index, 17) == f"tile/0/{path}.p/17" and entries_path(index, 1) == f"tile/entries/{path}.p/1"
    assert second_reader.numbered(index) == path


def test_the_specification_s_example() -> None:
    """A tree of 70,000 entries (tlog-tiles, Partial Tiles)."""
    tiles = list(tiles_of(70_000))
    assert [tile for tile in tiles if tile[2] < 256] == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert sum(level == 0 for level, _, width in tiles if width == 256) == 273
    assert sum(level == 1 for level, _, width in tiles if width == 256) == 1
    assert list(tiles_of(256)) == [(0, 0, 256), (1, 0, 1)]
    assert list(tiles_of(0)) == []


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_what_a_smaller_tree_has_in_full_is_not_named_again(one: int, other: int) -> None:
    begin, size = sorted((one, other))
    before = {tile for tile in tiles_of(begin) if tile[2] == 256}
    assert set(tiles_of(size)) - before == set(tiles_of(size, begin))
    assert all(0 < width <= 256 for _, _, width in tiles_of(size, begin))


def test_a_tile_that_is_not_full_has_no_hash_above() -> None:
    hashes = [bytes([number]) * 32 for number in range(256)]
    assert tile_root(hashes) == second_reader.tree_hash(hashes)
    with pytest.raises(ProofInvalid, match="not full"):
        tile_root(hashes[:255])


def test_entries_stand_behind_their_lengths() -> None:
    assert write_bundle([b"ab", b"", b"c" * 300]) == b"\x00\x02ab\x00\x00\x01\x2c" + b"c" * 300
    assert write_bundle([b"x" * 65_535])[:2] == b"\xff\xff"
