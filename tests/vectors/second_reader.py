"""A second reader of proofs and tiles, written from the C2SP specifications and sharing no code with the gateway.

Every lie is an `AssertionError`. Run it: `python -m tests.vectors.second_reader FOLDER log.pub`.
"""

import base64
import sys
from pathlib import Path

from tests.vectors.second_verifier import read_checkpoint, read_key, root_from_path, sha256, tree_hash


def verify_proof(text: str, entry: bytes, key_line: str) -> tuple[int, int]:
    """tlog-proof: return index and tree size."""
    lines = text.split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    at = 2 if lines[1].startswith("extra ") else 1
    word, number = lines[at].split(" ")
    assert word == "index" and str(int(number)) == number
    empty = lines.index("", at)
    hashes = [base64.b64decode(line, validate=True) for line in lines[at + 1 : empty]]
    size, root = read_checkpoint("\n".join(lines[empty + 1 :]), read_key(key_line))
    assert int(number) < size and all(len(item) == 32 for item in hashes)
    assert root_from_path(sha256(b"\x00", entry), int(number), size, hashes) == root
    return int(number), size


def numbered(index: int) -> str:
    """1234067 -> x001/x234/067."""
    parts = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        parts.insert(0, f"x{index % 1000:03}")
    return "/".join(parts)


def get(folder: Path, prefix: str, index: int, width: int) -> bytes:
    """Fetch a tile as a client does: partial, or the full one in its place."""
    full = folder / prefix / numbered(index)
    if width == 256:
        return full.read_bytes()
    partial = full.with_name(full.name + ".p") / str(width)
    return partial.read_bytes() if partial.exists() else full.read_bytes()


def read_tiles(folder: Path, key_line: str, note: str = "") -> list[bytes]:
    """tlog-tiles: rebuild the whole tree from entries, compare every tile; return the entries."""
    size, root = read_checkpoint(note or (folder / "checkpoint").read_text(), read_key(key_line))
    entries: list[bytes] = []
    for index in range(-(-size // 256)):
        width = min(256, size - index * 256)
        data = get(folder, "tile/entries", index, width)
        found = 0
        while data and found < width:
            length = int.from_bytes(data[:2], "big")
            assert len(data) >= 2 + length
            entries.append(data[2 : 2 + length])
            data, found = data[2 + length :], found + 1
        assert found == width
    hashes = [sha256(b"\x00", entry) for entry in entries]
    assert len(hashes) == size and tree_hash(hashes) == root
    level = 0
    while hashes:
        for index in range(-(-len(hashes) // 256)):
            part = hashes[index * 256 : index * 256 + 256]
            assert get(folder, f"tile/{level}", index, len(part))[: 32 * len(part)] == b"".join(part)
        hashes = [tree_hash(hashes[at : at + 256]) for at in range(0, len(hashes) - 255, 256)]
        level += 1
    return entries


if __name__ == "__main__":
    print(len(read_tiles(Path(sys.argv[1]), Path(sys.argv[2]).read_text())), "entries read")
