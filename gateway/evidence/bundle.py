"""The bundle: everything one call left in the log, with its proofs, in one signed file that needs no database.

The file is RFC 8785 JSON and a newline, so each of its bytes is either right or detectably wrong.
Format, and what is proven: docs/evidence-format.md.
"""

import base64
import binascii
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.evidence import canonical, merkle
from gateway.evidence.canonical import Entry
from gateway.evidence.checkpoint import Checkpoint, Signer, Verifier, parse_checkpoint, verify_checkpoint
from gateway.evidence.errors import BundleInvalid, CheckpointInvalid, EntryInvalid, ProofInvalid
from gateway.evidence.semantics import RecordingFacts, Story, read_story, where

FORMAT = "consent-gateway-bundle"
VERSION = 1
MAX_BUNDLE_BYTES = 64 * 1024 * 1024
_CONTEXT = b"consent-gateway-bundle/1\n"
"""Set before the signed bytes: a signature of a bundle can never pass for one of a checkpoint."""
_SIGNED = ("format", "version", "origin", "call", "count", "entries", "parties", "recordings", "openings", "checkpoint")

CLOCK_ONLY = "the times are those of the gateway's own clock; no time stamping authority has confirmed them"
SAME_LOG = "that everybody is shown the same log: compare its checkpoint with one kept elsewhere"
"""What no bundle proves by itself: anchors do (gateway/evidence/anchors.py)."""


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry's bytes, its index in the log and its inclusion proof for the checkpoint's size."""

    index: int
    data: bytes
    proof: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Opening:
    """Salt and value of one commitment of entry *seq*: what the erasure of a person destroys."""

    seq: int
    name: str
    salt: bytes
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a verified bundle holds. *places* are the entries' indices in the log, *leaves* their leaf hashes,
    *values* the opened personal values by entry and name."""

    entries: Sequence[Entry]
    places: Sequence[int]
    leaves: Sequence[bytes]
    values: Mapping[tuple[int, str], str] = field(repr=False)
    story: Story
    checkpoint: Checkpoint
    report: "Report"


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification has shown, in sentences, and what nobody should read into it. All hangs on *checkpoint*."""

    call: str
    origin: str
    entries: int
    tree_size: int
    checkpoint: Checkpoint
    proven: tuple[str, ...]
    not_proven: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(
            [*(f"proven: {line}" for line in self.proven), *(f"NOT proven: {line}" for line in self.not_proven)]
        )


def build_bundle(call: str, logged: Sequence[Logged], note: str, openings: Sequence[Opening], signer: Signer) -> bytes:
    """Return the bundle file of one call: *logged* are all its entries in order, *note* the signed checkpoint.

    Raises `EntryInvalid` for bytes that are no entry; what the entries say is not judged here.
    """
    entries = [canonical.decode(item.data) for item in logged]
    body: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "origin": signer.verifier.name,
        "call": call,
        "count": len(logged),
        "entries": [
            {
                "index": item.index,
                "entry": canonical.to_object(entry),
                "proof": [base64.b64encode(part).decode() for part in item.proof],
            }
            for item, entry in zip(logged, entries, strict=True)
        ],
        "parties": _claimed_parties(entries),
        "recordings": _claimed_recordings(entries),
        "openings": [
            {"entry": item.seq, "name": item.name, "salt": item.salt.hex(), "value": item.value}
            for item in sorted(openings, key=lambda item: (item.seq, item.name))
        ],
        "checkpoint": note,
    }
    signature = base64.b64encode(signer.sign(_CONTEXT + canonical.dump(body))).decode()
    body["signature"] = {"algorithm": "Ed25519", "key": signer.verifier.label, "value": signature}
    return canonical.dump(body) + b"\n"


def _claimed_parties(entries: Sequence[Entry]) -> Any:
    return entries[0].facts.get("parties", []) if entries else []


def _claimed_recordings(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Derive the recordings, or nothing when the entries contradict each other: `verify_bundle` says why."""
    try:
        story = read_story(entries)
    except BundleInvalid:
        return []
    return [story.recordings[name].as_object() for name in sorted(story.recordings)]


def verify_bundle(data: bytes, verifier_key: str) -> Report:
    """Check a bundle against the log's public key line; return what was proven and what was not.

    Raises `BundleInvalid` at the first lie, saying what is wrong, where, and what it means, and `KeyInvalid`
    for a malformed key line. Never returns a verdict as a value: a verification that can be ignored will be.
    """
    return read_bundle(data, verifier_key).report


def read_bundle(data: bytes, verifier_key: str) -> Contents:
    """Return what a bundle holds, after every check of `verify_bundle`. Raises as it does."""
    verifier = Verifier.parse(verifier_key)
    body = _parse(data)
    _check_key(body, verifier)
    logged = _read_entries(body, verifier)
    entries = [item.entry for item in logged]
    checkpoint = _check_inclusion(body, logged, verifier)
    opened, committed = _check_openings(body, entries)
    story = read_story(entries)
    _check_summary(body, story)
    _check_signature(body, verifier)
    report = _report(body, entries, checkpoint, story, verifier, opened=opened, committed=committed)
    values = {(item["entry"], item["name"]): item["value"] for item in body["openings"]}
    places, leaves = [item.index for item in logged], [item.leaf for item in logged]
    return Contents(entries, places, leaves, values, story, checkpoint, report)


# --- the steps, in their order --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Item:
    index: int
    entry: Entry
    leaf: bytes
    proof: tuple[bytes, ...]


def _parse(data: bytes) -> dict[str, Any]:
    """Check that the file is one canonical JSON object with the members of a bundle, none of them empty."""
    if not data:
        raise BundleInvalid("the bundle is empty: it has no bytes")
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleInvalid(f"the bundle has over {MAX_BUNDLE_BYTES} bytes")
    if not data.endswith(b"\n"):
        raise BundleInvalid("the bundle does not end with a newline: its end was cut off or changed")
    try:
        body = canonical.load(data[:-1])
    except EntryInvalid as error:
        raise BundleInvalid(f"the file is not as the gateway wrote it: {error}; a byte was changed") from None
    if not isinstance(body, dict):
        raise BundleInvalid("the bundle is not a JSON object")
    if body.get("format") != FORMAT:
        raise BundleInvalid(f"this is no bundle: its format is not '{FORMAT}'")
    if body.get("version") != VERSION or body["version"] is True:
        raise BundleInvalid(f"the bundle's version is not {VERSION}: this program cannot read it")
    if "signature" not in body:
        raise BundleInvalid("the bundle is not signed")
    _members(body, {*_SIGNED, "signature"}, "the bundle")
    for name, kind in (("entries", list), ("parties", list), ("recordings", list), ("openings", list)):
        _typed(body[name], kind, f"the bundle's '{name}'")
    if not body["entries"]:
        raise BundleInvalid("the bundle is empty: it has no entries, so it proves nothing")
    if not body["parties"]:
        raise BundleInvalid("the bundle names no parties, so it proves nothing about anybody")
    for name in ("origin", "call", "checkpoint"):
        _typed(body[name], str, f"the bundle's '{name}'")
    return body


def _check_key(body: dict[str, Any], verifier: Verifier) -> None:
    signature = _members(body["signature"], {"algorithm", "key", "value"}, "the bundle's signature")
    if signature["algorithm"] != "Ed25519":
        raise BundleInvalid("the bundle's signature is not of the algorithm Ed25519")
    if signature["key"] != verifier.label:
        raise BundleInvalid(f"the bundle names another key than {verifier.label}: a wrong key, or a changed name")
    if body["origin"] != verifier.name:
        raise BundleInvalid(f"the bundle is of another log than that of {verifier.label}, or its origin was changed")


def _read_entries(body: dict[str, Any], verifier: Verifier) -> list[_Item]:
    """Check that the entries are this call's, numbered without a gap, each naming the one before it."""
    items = [_read_item(number, item) for number, item in enumerate(body["entries"])]
    for item in items:
        if item.entry.call != body["call"]:
            raise BundleInvalid(f"{where(item.entry)} is of another call than the bundle's")
        if item.entry.origin != verifier.name:
            raise BundleInvalid(f"{where(item.entry)} is of another log than the bundle's")
    _check_order(items)
    if body["count"] != len(items) or isinstance(body["count"], bool):
        raise BundleInvalid(f"the bundle holds {len(items)} entries, but counts otherwise: the last was removed")
    for before, item in itertools.pairwise(items):
        if item.entry.prev != before.leaf.hex():
            raise BundleInvalid(_explain_broken_chain(before, item, body, verifier))
        if item.index <= before.index:
            raise BundleInvalid(
                f"{where(item.entry)} lies in the log before entry {before.entry.seq}: an index was changed"
            )
    return items


def _read_item(number: int, item: Any) -> _Item:
    place = f"item {number} of the bundle's entries"
    fields = _members(item, {"index", "entry", "proof"}, place)
    try:
        entry = canonical.from_object(fields["entry"])
        data = canonical.encode(entry)
    except EntryInvalid as error:
        raise BundleInvalid(f"{place} is no entry of a log: {error}; it was changed") from None
    index = _typed(fields["index"], int, f"{where(entry)}: its index")
    proof = _typed(fields["proof"], list, f"{where(entry)}: its proof")
    return _Item(index, entry, merkle.leaf_hash(data), tuple(_hash(part, entry) for part in proof))


def _hash(text: Any, entry: Entry) -> bytes:
    value = _base64(text)
    if value is None or len(value) != merkle.HASH_BYTES:
        raise BundleInvalid(f"{where(entry)}: a hash of its inclusion proof is malformed; the proof was changed")
    return value


def _check_order(items: Sequence[_Item]) -> None:
    """Tell a missing, a doubled and a swapped entry apart by their numbers."""
    numbers = [item.entry.seq for item in items]
    if numbers == list(range(len(items))):
        return
    place = next(place for place, number in enumerate(numbers) if place != number)
    found = where(items[place].entry)
    if sorted(numbers) == list(range(len(items))):
        raise BundleInvalid(f"entries were swapped: {found} stands where entry {place} belongs")
    if len(set(numbers)) < len(numbers):
        raise BundleInvalid(f"{found} stands where entry {place} belongs: an entry was doubled or its number changed")
    raise BundleInvalid(f"entry {place} is missing: it was removed, {found} follows instead")


def _explain_broken_chain(before: _Item, item: _Item, body: dict[str, Any], verifier: Verifier) -> str:
    """Find out which of two neighbours was changed, by asking their inclusion proofs."""
    broken = f"{where(item.entry)} does not follow {where(before.entry)}"
    try:
        head = verify_checkpoint(body["checkpoint"], verifier)
    except CheckpointInvalid:
        return f"{broken}: one of them was changed, and the checkpoint too"
    for suspect in (before, item):
        try:
            merkle.verify_inclusion(suspect.leaf, suspect.index, head.size, suspect.proof, head.root)
        except ProofInvalid:
            return f"{where(suspect.entry)} was changed after it was logged: {broken}, and it is not in the log"
    return f"{broken}, although both are in the log: entries of the same number were exchanged"


def _check_inclusion(body: dict[str, Any], items: Sequence[_Item], verifier: Verifier) -> Checkpoint:
    """Check every inclusion proof, then the signature of the checkpoint that they lead to."""
    try:
        claimed, _ = parse_checkpoint(body["checkpoint"])
    except CheckpointInvalid as error:
        raise BundleInvalid(f"the checkpoint cannot be read: {error}; it was changed") from None
    for item in items:
        try:
            if item.index >= claimed.size:
                raise ProofInvalid(
                    f"its index {item.index} lies beyond the checkpoint's tree of {claimed.size}, which was truncated"
                )
            merkle.verify_inclusion(item.leaf, item.index, claimed.size, item.proof, claimed.root)
        except ProofInvalid as error:
            raise BundleInvalid(f"{where(item.entry)}: {error}; {_blame(body, verifier)}") from None
    try:
        return verify_checkpoint(body["checkpoint"], verifier)
    except CheckpointInvalid as error:
        raise BundleInvalid(f"{error}: the checkpoint's signature, or what it signs, was changed") from None


def _blame(body: dict[str, Any], verifier: Verifier) -> str:
    try:
        verify_checkpoint(body["checkpoint"], verifier)
    except CheckpointInvalid:
        return "the checkpoint is not what the log signed: its size or root was changed, as when a tree is truncated"
    return "the checkpoint is genuine, so the entry, its index or its proof was changed after it was logged"


def _check_openings(body: dict[str, Any], entries: Sequence[Entry]) -> tuple[int, int]:
    """Check the openings against the commitments; return how many of how many values were opened."""
    seen: set[tuple[int, str]] = set()
    for number, item in enumerate(body["openings"]):
        fields = _members(item, {"entry", "name", "salt", "value"}, f"opening {number}")
        seq = _typed(fields["entry"], int, f"opening {number}: its entry")
        name, value = (_typed(fields[part], str, f"opening {number}: its {part}") for part in ("name", "value"))
        if not 0 <= seq < len(entries) or name not in entries[seq].commitments:
            raise BundleInvalid(f"opening {number} belongs to no commitment: it was added or changed")
        if (seq, name) in seen:
            raise BundleInvalid(f"{where(entries[seq])}: its commitment '{name}' is opened twice")
        seen.add((seq, name))
        if canonical.commit(_salt(fields["salt"], number), value) != entries[seq].commitments[name]:
            raise BundleInvalid(f"{where(entries[seq])}: the value opened for '{name}' is not the one committed to")
    return len(seen), sum(len(entry.commitments) for entry in entries)


def _salt(text: Any, number: int) -> bytes:
    try:
        salt = bytes.fromhex(_typed(text, str, f"opening {number}: its salt"))
    except ValueError:
        salt = b""
    if len(salt) != canonical.SALT_BYTES or salt.hex() != text:
        raise BundleInvalid(f"opening {number}: its salt is not {canonical.SALT_BYTES} bytes in hexadecimal")
    return salt


def _check_summary(body: dict[str, Any], story: Story) -> None:
    """Check that the parts repeated for readers say what the entries say."""
    if body["parties"] != story.parties:
        raise BundleInvalid("the bundle's parties are not those of entry 0 (call.arrived)")
    if body["recordings"] != [story.recordings[name].as_object() for name in sorted(story.recordings)]:
        raise BundleInvalid("the bundle's recordings are not those of its entries")


def _check_signature(body: dict[str, Any], verifier: Verifier) -> None:
    value = _base64(body["signature"]["value"])
    if value is None:
        raise BundleInvalid("the bundle's signature is not base64: it was changed")
    try:
        verifier.check(_CONTEXT + canonical.dump({name: body[name] for name in _SIGNED}), value)
    except CheckpointInvalid:
        raise BundleInvalid(
            "the bundle's signature does not fit: every entry is genuine, but something was added, removed or changed "
            "after the export (a last entry, an opening, the checkpoint's further lines), or the signature itself"
        ) from None


# --- the report -----------------------------------------------------------------------------------------


def _report(
    body: dict[str, Any],
    entries: Sequence[Entry],
    checkpoint: Checkpoint,
    story: Story,
    verifier: Verifier,
    *,
    opened: int,
    committed: int,
) -> Report:
    proven = [
        f"the bundle is as the holder of {verifier.label} signed it: nothing was added, removed or changed since",
        f"the {len(entries)} entries are numbered without a gap and each names the one before it",
        f"each of them lies in the log's tree of {checkpoint.size} entries, whose root the log has signed",
        _recorder_sentence(story),
    ]
    if committed:
        proven.append(f"{opened} of {committed} personal values are included and are the ones committed to")
    if story.ended_at is not None:
        proven.append(f"the call is over: it ended with entry {story.ended_at}, which counts the entries up to it")
    proven += story.late_effects
    return Report(
        call=body["call"],
        origin=body["origin"],
        entries=len(entries),
        tree_size=checkpoint.size,
        checkpoint=checkpoint,
        proven=tuple(proven),
        not_proven=tuple(_not_proven(body, story, missing=committed - opened)),
    )


def _recorder_sentence(story: Story) -> str:
    if not story.observed_on:
        return "the recorder was never seen on in these entries"
    return "whenever the recorder was told or seen to run, an earlier entry holds the verdict that allows it"


def _not_proven(body: dict[str, Any], story: Story, *, missing: int) -> list[str]:
    lines = []
    if story.ended_at is None:
        lines.append("the call is still open: later entries are not covered")
    if missing:
        lines.append(f"the values of {missing} commitments are not included: they were destroyed or are withheld")
    if story.silent_parties:
        lines.append(f"no verdict is on record for: {', '.join(story.silent_parties)}")
    lines += story.unexpected
    if story.recovered_at:
        lines.append(f"what happened between the crash and the recovery in entry {story.recovered_at[0]}")
    for facts in story.recordings.values():
        lines.append(_recording_sentence(facts))
    if story.unknown:
        names = ", ".join(f"{kind} ({count})" for kind, count in sorted(story.unknown.items()))
        lines.append(f"entries of kinds unknown to this program are in the log, but were not interpreted: {names}")
    lines.append(CLOCK_ONLY)
    _, signatures = parse_checkpoint(body["checkpoint"])
    others = len(signatures) - 1
    if others:
        lines.append(f"{others} further signature lines of the checkpoint are of signers unknown here and were ignored")
    lines.append(SAME_LOG)
    return lines


def _recording_sentence(facts: RecordingFacts) -> str:
    name = f"recording {facts.recording}"
    if facts.state == "destroyed":
        return f"{name} was destroyed: its sound can no longer be compared"
    if facts.state == "open":
        return f"{name} was not closed in these entries: its content is not covered"
    failed = f" (it failed: {facts.failed})" if facts.failed else ""
    if not facts.sha256:
        return f"{name} left no file to compare{failed}"
    return f"the sound of {name} itself{failed}: compare the file's SHA-256 with {facts.sha256}"


# --- small things ---------------------------------------------------------------------------------------


def _members(value: Any, names: set[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BundleInvalid(f"{what} is not an object")
    if value.keys() != names:
        missing = sorted(names - value.keys())
        text = f"'{missing[0]}' is missing" if missing else "it has members that do not belong there"
        raise BundleInvalid(f"{what}: {text}; a byte was changed or a part removed")
    return value


def _typed(value: Any, kind: type[Any], what: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BundleInvalid(f"{what} is of the wrong type; it was changed")
    return value


def _base64(text: Any) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if base64.b64encode(value).decode() == text else None
