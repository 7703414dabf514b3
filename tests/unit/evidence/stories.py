"""Calls as lists of (kind, facts, personal), and their bundles without any database."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.evidence import canonical, merkle
from gateway.evidence.bundle import Logged, Opening, build_bundle
from gateway.evidence.canonical import Entry
from gateway.evidence.checkpoint import Checkpoint, Signer, sign_checkpoint

ORIGIN = "gateway.example/log"
CALL = "01JDEMOCALL0000000000000000"
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"the log's key in tests").digest()))
KEY = str(SIGNER.verifier)

Step = tuple[str, dict[str, Any]]


def arrived(**facts: Any) -> Step:
    parties = [{"role": "caller", "kind": "customer"}, {"role": "agent", "kind": "employee"}]
    policy = {"name": "default", "version": 1, "sha256": "ab" * 32}
    defaults = {"parties": parties, "policy": policy, "basis": "consent", "purposes": ["recording"]}
    return "call.arrived", {**defaults, "fail_mode": "connect_unrecorded", **facts}


def verdict(verdict: str = "granted", party: str = "caller", recording: bool | None = None) -> Step:
    allows = verdict in ("granted", "not_required") if recording is None else recording
    return "verdict", {"party": party, "verdict": verdict, "basis": "consent", "purposes": {"recording": allows}}


def command(command: str, recording: str = "r1") -> Step:
    return "recorder.command", {"recording": recording, "command": command, "cause": "test"}


def observed(state: str, at_frame: int = 0, recording: str = "r1") -> Step:
    facts = {"recording": recording, "state": state, "at_frame": at_frame, "cause": "test", "how": "heard"}
    return "recorder.observed", facts


def hold(reason: str = "agent_key", **more: str) -> Step:
    return "hold.set", {"reason": reason, "actor": "agent", "expires_in_ms": 60_000, **more}


def unhold(reason: str = "agent_key", **more: str) -> Step:
    return "hold.cleared", {"reason": reason, "actor": "agent", **more}


def closed(*spans: tuple[str, int, int], recording: str = "r1", failed: str = "") -> Step:
    listed = [{"state": state, "from_frame": begin, "to_frame": end, "cause": "test"} for state, begin, end in spans]
    frames = spans[-1][2] if spans else 0
    facts = {"recording": recording, "sha256": "cd" * 32, "size": 4_096, "frames": frames, "spans": listed}
    return "recording.closed", {**facts, "failed": failed, "checked": "sample-exact"}


def ended(entries: int) -> Step:
    return "call.ended", {"cause": "bye", "entries": entries}


def whole_call() -> list[Step]:
    """Asked, granted, recorded, paused, resumed, ended."""
    prompt = {"prompt": "ask", "attempt": 1, "language": "en", "text": "May we record?", "sha256": "ef" * 32}
    digit = {"leg": "caller", "transport": "rfc4733", "duration_ms": 80, "counted": True, "because": "accept key"}
    steps = [
        arrived(),
        ("prompt.played", {**prompt, "played_ms": 2_000, "length_ms": 2_000, "completed": True}),
        ("answer.digit", digit),
        verdict(),
        verdict("not_required", "agent"),
        command("open"),
        observed("on"),
        hold(),
        command("pause"),
        observed("paused", 50),
        unhold(),
        command("resume"),
        observed("on", 100),
        command("close"),
        closed(("on", 0, 50), ("paused", 50, 100), ("on", 100, 180)),
    ]
    return [*steps, ended(len(steps) + 1)]


def entries_of(
    steps: Sequence[Step],
    *,
    personal: Sequence[str] = ("sip_call_id", "caller_number"),
    values: Mapping[str, str] | None = None,
    heard: Mapping[int, Mapping[str, str]] | None = None,
) -> list[Entry]:
    """Chain *steps* as the log would. The first entry commits to *personal* values, which are those of *values* or
    texts that name them; others to what was *heard* in them."""
    chain: list[Entry] = []
    prev = None
    for seq, (kind, facts) in enumerate(steps):
        known = {name: (values or {}).get(name, value_of(name)) for name in (personal if seq == 0 else ())}
        known |= (heard or {}).get(seq, {})
        commitments = {name: canonical.commit(salt_of(name), value) for name, value in known.items()}
        at = f"2026-11-24T16:00:{seq:02}.000Z"
        chain.append(Entry(ORIGIN, CALL, kind, seq, prev, at, facts, commitments))
        prev = merkle.leaf_hash(canonical.encode(chain[-1])).hex()
    return chain


def salt_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[: canonical.SALT_BYTES]


def value_of(name: str) -> str:
    return f"the value of {name}"


def bundle_of(
    steps: Sequence[Step] | None = None,
    *,
    others: int = 5,
    personal: Sequence[str] = ("sip_call_id", "caller_number"),
    opened: Sequence[str] | None = None,
    note: Callable[[str], str] = lambda note: note,
    values: Mapping[str, str] | None = None,
    heard: Mapping[int, Mapping[str, str]] | None = None,
) -> bytes:
    """Return the bundle of *steps* in a log where *others* entries of other calls lie before, between and after.

    *opened* are the names of the values that still exist; all by default.
    """
    steps = whole_call() if steps is None else steps
    entries = entries_of(steps, personal=personal, values=values, heard=heard)
    leaves: list[bytes] = []
    places = []
    for number, entry in enumerate(entries):
        leaves += [hashlib.sha256(b"another call %d %d" % (number, other)).digest() for other in range(others)]
        places.append(len(leaves))
        leaves.append(merkle.leaf_hash(canonical.encode(entry)))
    node = node_of(leaves)
    logged = [
        Logged(place, canonical.encode(entry), merkle.inclusion_proof(place, len(leaves), node))
        for place, entry in zip(places, entries, strict=True)
    ]
    names = personal if opened is None else opened
    openings = [Opening(0, name, salt_of(name), (values or {}).get(name, value_of(name))) for name in names]
    if opened is None:
        openings += [
            Opening(seq, name, salt_of(name), value)
            for seq, words in (heard or {}).items()
            for name, value in words.items()
        ]
    head = sign_checkpoint(Checkpoint(ORIGIN, len(leaves), merkle.root_at(len(leaves), node)), SIGNER)
    return build_bundle(CALL, logged, note(head), openings, SIGNER)


def node_of(leaves: Sequence[bytes]) -> merkle.Node:
    def node(level: int, index: int) -> bytes:
        if level == 0:
            return leaves[index]
        return merkle.node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    return node


def edited(data: bytes, edit: Callable[[dict[str, Any]], None]) -> bytes:
    """Return the bundle with *edit* applied to its parsed form, spelled canonically again."""
    body = json.loads(data)
    edit(body)
    return canonical.dump(body) + b"\n"
