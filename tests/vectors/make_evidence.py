"""Writes the vectors in `tests/vectors/evidence/`. Deterministic: running it again changes nothing.

.venv/bin/python -m tests.vectors.make_evidence
"""

import base64
import json
from pathlib import Path
from typing import Any

from gateway.evidence import canonical, merkle
from gateway.evidence.canonical import Entry
from gateway.evidence.checkpoint import Checkpoint, sign_checkpoint
from tests.unit.evidence.stories import KEY, ORIGIN, SIGNER, arrived, bundle_of, edited, ended, node_of, verdict

FOLDER = Path(__file__).parent / "evidence"
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 21)


def entries() -> list[dict[str, Any]]:
    """Objects, their canonical bytes and leaf hashes, with names and texts that are easy to get wrong."""
    facts: list[dict[str, canonical.Json]] = [
        {},
        {"text": 'ü € 😀 \u2028 \x7f \x00 \n " \\ /'},
        {"\ufb33": 1, "😀": 2, "é": 3, "a": 4, "": 5, "\r": 6},
        {"numbers": [0, -1, 2**53 - 1, -(2**53) + 1], "nested": {"b": [], "a": {}}, "null": None, "no": False},
    ]
    made = []
    for number, item in enumerate(facts):
        prev = None if number == 0 else f"{number:02x}" * 32
        commitments = {"caller_number": canonical.commit(bytes(range(16)), f"+49{number}")}
        at = f"2026-11-24T16:00:00.{number:03}Z"
        entry = Entry(ORIGIN, "01JVECTOR", "call.arrived", number, prev, at, item, commitments)
        data = canonical.encode(entry)
        made.append(
            {"entry": canonical.to_object(entry), "bytes": data.hex(), "leaf_hash": merkle.leaf_hash(data).hex()}
        )
    return made


def trees() -> list[dict[str, Any]]:
    """Roots, inclusion and consistency proofs of small trees whose leaves are the texts `leaf 0`, `leaf 1`, ..."""
    leaves = [merkle.leaf_hash(f"leaf {number}".encode()) for number in range(max(SIZES))]
    node = node_of(leaves)
    return [
        {
            "size": size,
            "root": merkle.root_at(size, node).hex(),
            "inclusion": [[part.hex() for part in merkle.inclusion_proof(index, size, node)] for index in range(size)],
            "consistency": {
                str(old): [part.hex() for part in merkle.consistency_proof(old, size, node)]
                for old in SIZES
                if old <= size
            },
        }
        for size in SIZES
    ]


def checkpoints() -> dict[str, Any]:
    witness = "\N{EM DASH} witness.example/w " + base64.b64encode(bytes(76)).decode() + "\n"
    note = sign_checkpoint(Checkpoint(ORIGIN, 21, bytes(range(32))), SIGNER)
    return {
        "verifier_key": KEY,
        "good": [note, note + witness, sign_checkpoint(Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT), SIGNER)],
        "bad": [note.replace("\n21\n", "\n22\n"), note[:-1], note.replace(ORIGIN, "x.example/log"), witness],
    }


def bundles() -> dict[str, bytes]:
    """Bundle files: good ones, and one file for each way to lie."""
    whole = bundle_of()

    def swap(body: dict[str, Any]) -> None:
        body["entries"][4], body["entries"][5] = body["entries"][5], body["entries"][4]

    def truncate(body: dict[str, Any]) -> None:
        body["checkpoint"] = body["checkpoint"].replace("\n96\n", "\n90\n")

    return {
        "good-whole-call": whole,
        "good-refused": bundle_of([arrived(), verdict("refused"), ended(3)]),
        "good-open-call": bundle_of([arrived(), verdict()], opened=()),
        "bad-byte-changed": whole.replace(b"accept key", b"accept kez"),
        "bad-entry-removed": edited(whole, lambda body: body["entries"].pop(6)),
        "bad-entries-swapped": edited(whole, swap),
        "bad-tree-truncated": edited(whole, truncate),
        "bad-no-entries": edited(whole, lambda body: body.update(entries=[], count=0)),
        "bad-not-signed": edited(whole, lambda body: body.pop("signature")),
        "bad-value-replaced": edited(whole, lambda body: body["openings"][0].update(value="somebody else")),
        "bad-opening-removed": edited(whole, lambda body: body["openings"].pop()),
    }


def files() -> dict[str, bytes]:
    """Return every vector file's content by name."""
    spelled = {
        name: json.dumps(content, indent=1, ensure_ascii=True).encode() + b"\n"
        for name, content in (("entries", entries()), ("trees", trees()), ("checkpoints", checkpoints()))
    }
    texts = {f"{name}.json": data for name, data in spelled.items()}
    return {**texts, "log.pub": f"{KEY}\n".encode(), **{f"{name}.bundle": data for name, data in bundles().items()}}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, data in files().items():
        (FOLDER / name).write_bytes(data)
