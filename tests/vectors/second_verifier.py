"""A second implementation of the evidence format, written from docs/evidence-format.md and sharing no code.

It uses the standard library, and `cryptography` for the bare Ed25519 signature. Short rather than helpful:
every lie is an `AssertionError`. Run it on a file: `python second_verifier.py BUNDLE log.pub`.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def spell(value: Any) -> bytes:
    """RFC 8785 for what entries hold: members sorted by UTF-16 code units, no floats."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return b"{" + b",".join(spell(name) + b":" + spell(value[name]) for name in names) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(spell, value)) + b"]"
    assert value is None or isinstance(value, bool | int | str)
    return json.dumps(value, ensure_ascii=False).encode()


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1 over leaf hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256()
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\x01", tree_hash(leaves[:half]), tree_hash(leaves[half:]))


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162 section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < half:
        return [*path(index, leaves[:half]), tree_hash(leaves[half:])]
    return [*path(index - half, leaves[half:]), tree_hash(leaves[:half])]


def root_from_path(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """The same recursion backwards: the last hash of the proof joins the two halves of the whole tree."""
    if size == 1:
        assert not proof and index == 0
        return leaf
    half = 1 << ((size - 1).bit_length() - 1)
    if index < half:
        return sha256(b"\x01", root_from_path(leaf, index, half, proof[:-1]), proof[-1])
    return sha256(b"\x01", proof[-1], root_from_path(leaf, index - half, size - half, proof[:-1]))


def read_key(line: str) -> tuple[str, bytes, Ed25519PublicKey]:
    name, shown, encoded = line.strip().split("+", 2)
    key = base64.b64decode(encoded)
    assert key[0] == 1 and len(key) == 33
    key_id = sha256(name.encode(), b"\n", key)[:4]
    assert key_id.hex() == shown
    return name, key_id, Ed25519PublicKey.from_public_bytes(key[1:])


def read_checkpoint(note: str, key: tuple[str, bytes, Ed25519PublicKey]) -> tuple[int, bytes]:
    text, signatures = note.rsplit("\n\n", 1)
    origin, size, root = (text + "\n").splitlines()[:3]
    assert origin == key[0]
    found = 0
    for line in signatures.splitlines():
        dash, name, blob = line.split(" ")
        assert dash == "\u2014"
        signature = base64.b64decode(blob)
        if (name, signature[:4]) == (key[0], key[1]):
            key[2].verify(signature[4:], (text + "\n").encode())
            found += 1
    assert found
    return int(size), base64.b64decode(root)


def verify(data: bytes, key_line: str) -> int:
    """Return the number of proven entries."""
    key = read_key(key_line)
    body = json.loads(data)
    assert spell(body) + b"\n" == data
    assert (body["format"], body["version"]) == ("consent-gateway-bundle", 1)
    assert body["entries"] and body["parties"] and body["count"] == len(body["entries"])
    size, root = read_checkpoint(body["checkpoint"], key)
    prev = None
    for seq, item in enumerate(body["entries"]):
        entry = item["entry"]
        assert (entry["seq"], entry["prev"], entry["call"], entry["origin"]) == (seq, prev, body["call"], key[0])
        leaf = sha256(b"\x00", spell(entry))
        prev = leaf.hex()
        assert root_from_path(leaf, item["index"], size, list(map(base64.b64decode, item["proof"]))) == root
    for opening in body["openings"]:
        committed = body["entries"][opening["entry"]]["entry"]["commitments"][opening["name"]]
        assert sha256(bytes.fromhex(opening["salt"]), opening["value"].encode()).hex() == committed
    signature = body.pop("signature")
    assert signature["key"] == f"{key[0]}+{key[1].hex()}"
    key[2].verify(base64.b64decode(signature["value"]), b"consent-gateway-bundle/1\n" + spell(body))
    return len(body["entries"])


if __name__ == "__main__":
    print(verify(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_text()), "entries verified")
