"""The log as static files: the path arithmetic and the formats of C2SP `tlog-tiles`.

A tile is up to 256 hashes of the tree, eight levels apart: the hashes of level L are those of the full tiles of level
L - 1, at level 0 they are leaf hashes. An entry bundle has the entries of a tile of level 0. Only the last one of each
level may have fewer than 256: a partial tile, under a name of its own, for it is another file when the log has grown.
"""

from collections.abc import Iterator, Sequence

from gateway.evidence import merkle
from gateway.evidence.errors import ProofInvalid

WIDTH = 256
HEIGHT = 8
"""Levels of the tree from one level of tiles to the next."""


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Return the path of a tile below the log's prefix.

    >>> tile_path(0, 1234067), tile_path(2, 0, 17)
    ('tile/0/x001/x234/067', 'tile/2/000.p/17')
    """
    return f"tile/{level}/{_number(index)}{_partial(width)}"


def entries_path(index: int, width: int = WIDTH) -> str:
    """Return the path of an entry bundle.

    >>> entries_path(5)
    'tile/entries/005'
    """
    return f"tile/entries/{_number(index)}{_partial(width)}"


def _number(index: int) -> str:
    digits = f"{index:0{-(-len(str(index)) // 3) * 3}}"
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])


def _partial(width: int) -> str:
    return "" if width == WIDTH else f".p/{width}"


def tiles_of(size: int, begin: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield (level, index, width) of every tile of a tree of *size* leaves that one of *begin* leaves has not in full.

    >>> list(tiles_of(70_000, 69_900))
    [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    """
    level = 0
    while size:
        for index in range(begin // WIDTH, -(-size // WIDTH)):
            yield level, index, min(WIDTH, size - index * WIDTH)
        size, begin, level = size // WIDTH, begin // WIDTH, level + 1


def tile_root(hashes: Sequence[bytes]) -> bytes:
    """Return the hash that a full tile stands for in the level above."""
    if len(hashes) != WIDTH:
        raise ProofInvalid(f"a tile of {len(hashes)} hashes is not full")
    level = list(hashes)
    while len(level) > 1:
        level = [merkle.node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def write_bundle(entries: Sequence[bytes]) -> bytes:
    """Return an entry bundle: each entry behind its length in two bytes, the greater first."""
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)
