"""The damages of the tamper drill: to the log, to what signs it, to a bundle, and histories that a gateway made up."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.cli.drill_log import CALL, OTHER_CALL, Copy, DrillFailed, Steps
from gateway.evidence import canonical, merkle
from gateway.evidence.checkpoint import Checkpoint, Signer, sign_checkpoint

Damage = Callable[[Copy], None]


def _at(copy: Copy, seq: int, call: str = CALL) -> int:
    """Return the index in the log of entry *seq* of a call."""
    query = "SELECT idx FROM entries WHERE call_id = :call AND seq = :seq"
    return int(copy.rows(query, call=call, seq=seq)[0][0])


def _last(copy: Copy) -> int:
    return int(copy.rows("SELECT max(idx) FROM entries")[0][0])


def _sql(*statements: str) -> Damage:
    """A damage in SQL; `:middle`, `:last` are entries of the log, `:sealed`, `:sealed2` ones with personal values."""

    def act(copy: Copy) -> None:
        last = _last(copy)
        copy.change(*statements, middle=last // 2, last=last, sealed=_at(copy, 0), sealed2=_at(copy, 3))

    return act


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


# --- the database ---------------------------------------------------------------------------------------


def _byte(copy: Copy) -> None:
    middle = _last(copy) // 2
    ((data,),) = copy.rows("SELECT data FROM entries WHERE idx = :at", at=middle)
    copy.change("UPDATE entries SET data = :data WHERE idx = :at", data=_flip(data, len(data) // 2), at=middle)


def _swapped(copy: Copy) -> None:
    first, second = _at(copy, 1), _at(copy, 2)
    (one,), (two,) = (copy.rows("SELECT data FROM entries WHERE idx = :at", at=at)[0] for at in (first, second))
    for at, data in ((first, two), (second, one)):
        leaf = merkle.leaf_hash(data)
        copy.change("UPDATE entries SET data = :data, leaf_hash = :leaf WHERE idx = :at", data=data, leaf=leaf, at=at)


def _careful(copy: Copy) -> None:
    """An answer changed by somebody who makes every hash fit, but has no key."""
    at = _at(copy, 3)
    entry = copy.entry(at)
    copy.rewrite(at, replace(entry, facts={**entry.facts, "verdict": "refused"}))


def _careful_end(copy: Copy) -> None:
    """The same with the last entry, which no other entry names: only the signed head is left to tell."""
    last = _last(copy)
    copy.rewrite(last, replace(copy.entry(last), at="2001-01-01T00:00:00.000Z"))


def _two_of_a_number(copy: Copy) -> None:
    """The last entry once more, where the table no longer forbids it, under a head that the log's key signs."""
    copy.change(
        "CREATE TABLE loose (idx INTEGER NOT NULL PRIMARY KEY, call_id TEXT, seq INTEGER, leaf_hash BLOB, data BLOB)",
        "INSERT INTO loose SELECT idx, call_id, seq, leaf_hash, data FROM entries",
        "INSERT INTO loose SELECT idx + 1, call_id, seq, leaf_hash, data FROM entries ORDER BY idx DESC LIMIT 1",
        "DROP TABLE entries",
        "ALTER TABLE loose RENAME TO entries",
    )
    copy.sign(copy.rebuild())


def _chain(copy: Copy) -> None:
    """An entry that names another one before it, under a head that the log's key signs."""
    last = _last(copy)
    copy.sign(copy.rewrite(last, replace(copy.entry(last), prev="00" * 32)))


def _of_another_log(copy: Copy) -> None:
    last = _last(copy)
    copy.sign(copy.rewrite(last, replace(copy.entry(last), origin="drill.invalid/elsewhere")))


def _put_back(copy: Copy) -> None:
    """A value that was erased, back from a backup: it fits its commitment."""
    at = _at(copy, 0, OTHER_CALL)
    salt = b"0123456789abcdef"
    entry = copy.entry(at)
    commitments = {**entry.commitments, "caller_name": canonical.commit(salt, "back again")}
    prev = copy.put(at, replace(entry, commitments=commitments))
    for seq in range(1, copy.rows("SELECT count(*) FROM entries WHERE call_id = :call", call=OTHER_CALL)[0][0]):
        place = _at(copy, seq, OTHER_CALL)
        prev = copy.put(place, replace(copy.entry(place), prev=prev.hex()))
    copy.sign(copy.rebuild())
    copy.change(
        "INSERT INTO personal (idx, name, salt, value) VALUES (:at, 'caller_name', :salt, 'back again')",
        at=at,
        salt=salt,
    )


def _trigger(copy: Copy) -> None:
    copy.change("CREATE TRIGGER tidy AFTER INSERT ON entries BEGIN DELETE FROM personal; END")


def _cut(copy: Copy) -> None:
    data = copy.path.read_bytes()
    copy.path.write_bytes(data[: len(data) // 2])


def _pages(copy: Copy) -> None:
    data = bytearray(copy.path.read_bytes())
    for place in range(8_192, len(data), 4_096):
        data[place : place + 64] = b"\xaa" * 64
    copy.path.write_bytes(data)


DATABASE: Mapping[str, Damage] = {
    "a byte of an entry changed": _byte,
    "an entry spelled another way": _sql(
        "UPDATE entries SET data = CAST(replace(data, ':', ': ') AS BLOB) WHERE idx = :middle"
    ),
    "an entry removed": _sql("DELETE FROM entries WHERE idx = :middle"),
    "the last entry removed": _sql("DELETE FROM entries WHERE idx = :last"),
    "two entries swapped": _swapped,
    "a leaf hash changed": _sql("UPDATE entries SET leaf_hash = zeroblob(32) WHERE idx = :middle"),
    "an entry filed under another call": _sql("UPDATE entries SET call_id = 'another' WHERE idx = :middle"),
    "an entry filed under another number": _sql("UPDATE entries SET seq = 77 WHERE idx = :middle"),
    "a node of the tree changed": _sql("UPDATE nodes SET hash = zeroblob(32) WHERE level = 1 AND idx = 0"),
    "a node of the tree removed": _sql("DELETE FROM nodes WHERE level = 1 AND idx = 0"),
    "a node added to the tree": _sql("INSERT INTO nodes (level, idx, hash) VALUES (60, 0, zeroblob(32))"),
    "the tree's frontier changed": _sql("UPDATE tree SET frontier = zeroblob(length(frontier))"),
    "the tree's size changed": _sql("UPDATE tree SET size = size - 1"),
    "a verdict changed, and every hash above it": _careful,
    "the last entry changed, and every hash above it": _careful_end,
    "a personal value changed": _sql("UPDATE personal SET value = 'somebody else' WHERE idx = :sealed"),
    "a salt changed": _sql("UPDATE personal SET salt = zeroblob(16) WHERE idx = :sealed"),
    "an opening moved to another entry": _sql(
        "UPDATE personal SET idx = :sealed2 WHERE idx = :sealed AND name = 'caller_name'"
    ),
    "an opening moved to no entry": _sql("UPDATE personal SET idx = :last + 1 WHERE idx = :sealed2"),
    "an opening removed in silence": _sql("DELETE FROM personal WHERE idx = :sealed2"),
    "an erased value put back": _put_back,
    "about.origin changed": _sql("UPDATE about SET origin = 'drill.invalid/elsewhere'"),
    "about.verifier_key changed": _sql("UPDATE about SET verifier_key = 'drill.invalid+00000000+AAAA'"),
    "the version of the schema changed": _sql("UPDATE about SET schema_version = schema_version + 1"),
    "two entries of one number, signed": _two_of_a_number,
    "the chain of a call broken, signed": _chain,
    "an entry of another log, signed": _of_another_log,
    "a trigger in the database": _trigger,
    "the database cut short": _cut,
    "pages of the database overwritten": _pages,
}


# --- the head -------------------------------------------------------------------------------------------


def _head_missing(copy: Copy) -> None:
    copy.head.unlink()


def _head_unsigned(copy: Copy) -> None:
    note = copy.head.read_text(encoding="utf-8")
    copy.head.write_text(note.replace("\n", "\n1", 1), encoding="utf-8")


def _head_of_another_key(copy: Copy) -> None:
    stranger = Signer(copy.origin, Ed25519PrivateKey.generate())
    copy.head.write_text(sign_checkpoint(copy.rebuild(), stranger), encoding="utf-8")


def _head_of_another_history(copy: Copy) -> None:
    copy.sign(replace(copy.rebuild(), root=hashlib.sha256(b"another history").digest()))


def _head_too_large(copy: Copy) -> None:
    head = copy.rebuild()
    copy.sign(Checkpoint(copy.origin, head.size + 1, head.root))


def _another_public_key(copy: Copy) -> None:
    stranger = Signer(copy.origin, Ed25519PrivateKey.generate())
    (copy.keys / "log.pub").write_text(f"{stranger.verifier}\n", encoding="utf-8")


HEAD: Mapping[str, Damage] = {
    "the signed head missing": _head_missing,
    "the signed head changed": _head_unsigned,
    "a head signed with another key": _head_of_another_key,
    "a head of another history, signed": _head_of_another_history,
    "a head of a larger tree, signed": _head_too_large,
    "another public key": _another_public_key,
}


# --- the anchors ----------------------------------------------------------------------------------------


def _older_head(copy: Copy) -> None:
    """The head that was signed before the last entry: true, but no longer all there is."""
    aside = copy.clone(copy.folder / "aside")
    copy.sign(_without_last(aside))


def _without_last(copy: Copy) -> Checkpoint:
    last = _last(copy)
    copy.change("DELETE FROM entries WHERE idx = :last", last=last)
    return copy.rebuild()


def _restored(copy: Copy) -> None:
    """Database and head as they were before the last entry: neither contradicts the other."""
    copy.sign(_without_last(copy))


def _rewritten(copy: Copy) -> None:
    """Another last entry, every hash above it and a new head, signed with the log's key."""
    last = _last(copy)
    copy.sign(copy.rewrite(last, replace(copy.entry(last), at="2001-01-01T00:00:00.000Z")))


def _anchor_changed(copy: Copy) -> None:
    note = copy.kept.read_bytes()
    copy.kept.write_bytes(note.replace(b"\n", b"\n1", 1))


def _anchor_of_another_history(copy: Copy) -> None:
    head = replace(copy.rebuild(), root=hashlib.sha256(b"another history").digest())
    copy.kept.write_text(sign_checkpoint(head, copy.signer()), encoding="utf-8")


def _anchor_renamed(copy: Copy) -> None:
    copy.kept.rename(copy.anchors / "3.checkpoint")


def _two_anchors(copy: Copy) -> None:
    head = replace(copy.rebuild(), root=hashlib.sha256(b"another history").digest())
    note = sign_checkpoint(head, copy.signer())
    (copy.anchors / f"elsewhere-{head.size}.checkpoint").write_text(note, encoding="utf-8")


def _stamp_of_nothing(copy: Copy) -> None:
    (copy.anchors / "3.tsa.tsr").write_bytes(b"")


ANCHORED: Mapping[str, Damage] = {
    "an older head put back, signed": _older_head,
    "log and head restored together, signed": _restored,
    "the last entry rewritten, signed": _rewritten,
    "an anchored head changed": _anchor_changed,
    "an anchored head of another history, signed": _anchor_of_another_history,
    "an anchored head renamed": _anchor_renamed,
    "two anchored heads of one size, signed": _two_anchors,
    "a time stamp without its head": _stamp_of_nothing,
}


# --- the bundle -----------------------------------------------------------------------------------------


def _edit(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    """A damage to the bundle's parts, after which it is spelled canonically again."""

    def act(data: bytes) -> bytes:
        body = json.loads(data)
        change(body)
        return canonical.dump(body) + b"\n"

    return act


def _drop(body: dict[str, Any]) -> None:
    del body["entries"][3]


def _drop_last(body: dict[str, Any]) -> None:
    del body["entries"][-1]
    body["count"] -= 1


def _swap(body: dict[str, Any]) -> None:
    entries = body["entries"]
    entries[1], entries[2] = entries[2], entries[1]


def _answer(body: dict[str, Any]) -> None:
    body["entries"][3]["entry"]["facts"]["verdict"] = "refused"


def _value(body: dict[str, Any]) -> None:
    body["openings"][0]["value"] = "somebody else"


def _move(body: dict[str, Any]) -> None:
    body["openings"][0]["entry"] = 3


def _opening_dropped(body: dict[str, Any]) -> None:
    del body["openings"][0]


def _proof(body: dict[str, Any]) -> None:
    proof = body["entries"][0]["proof"]
    proof[0] = base64.b64encode(bytes(32)).decode()


def _index(body: dict[str, Any]) -> None:
    body["entries"][-1]["index"] += 1


def _truncated(body: dict[str, Any]) -> None:
    origin, size, rest = body["checkpoint"].split("\n", 2)
    body["checkpoint"] = f"{origin}\n{int(size) - 1}\n{rest}"


def _checkpoint_signature(body: dict[str, Any]) -> None:
    text, _, line = body["checkpoint"].rpartition(" ")
    blob = base64.b64decode(line.strip())
    body["checkpoint"] = f"{text} {base64.b64encode(_flip(blob, 20)).decode()}\n"


def _unsigned(body: dict[str, Any]) -> None:
    del body["signature"]


def _parties(body: dict[str, Any]) -> None:
    body["parties"] = body["parties"][:1]


BUNDLE: Mapping[str, Callable[[bytes], bytes]] = {
    "an entry dropped from a bundle": _edit(_drop),
    "the last entry dropped from a bundle": _edit(_drop_last),
    "two entries of a bundle swapped": _edit(_swap),
    "the verdict in a bundle changed": _edit(_answer),
    "a personal value in a bundle changed": _edit(_value),
    "an opening in a bundle moved": _edit(_move),
    "an opening dropped from a bundle": _edit(_opening_dropped),
    "a hash of an inclusion proof changed": _edit(_proof),
    "an entry's place in the log changed": _edit(_index),
    "a bundle's tree made smaller": _edit(_truncated),
    "a checkpoint's signature changed": _edit(_checkpoint_signature),
    "a bundle's signature removed": _edit(_unsigned),
    "a party taken out of a bundle": _edit(_parties),
    "a bundle cut short": lambda data: data[: len(data) // 2],
    "white space put into a bundle": lambda data: data.replace(b":", b": ", 1),
}

SAMPLES = 64


def flipped(data: bytes) -> list[bytes]:
    """Return the bundle with one bit changed, at places spread over all of it."""
    return [_flip(data, number * (len(data) - 1) // (SAMPLES - 1)) for number in range(SAMPLES)]


# --- histories that a gateway made up, and signed -------------------------------------------------------


def _without(kind: str) -> Callable[[Steps], Steps]:
    def act(steps: Steps) -> Steps:
        kept = [step for step in steps if step[0] not in (kind, "call.ended")]
        if len(kept) + 1 >= len(steps):
            raise DrillFailed(f"the drill's call has no {kind}")
        return [*kept, ("call.ended", {"cause": "drill", "entries": len(kept) + 1})]

    return act


def _open_first(steps: Steps) -> Steps:
    place = next(at for at, (kind, _) in enumerate(steps) if kind == "verdict")
    return [*steps[:place], steps[place + 1], steps[place], *steps[place + 2 :]]


def _refused(steps: Steps) -> Steps:
    return [(kind, {**facts, "verdict": "refused"} if kind == "verdict" else facts) for kind, facts in steps]


def _miscounted(steps: Steps) -> Steps:
    return [*steps[:-1], ("call.ended", {"cause": "drill", "entries": len(steps) + 5})]


def _gap(steps: Steps) -> Steps:
    spans: Any = [{"state": "on", "from_frame": 10, "to_frame": 90, "cause": "drill"}]
    return [(kind, {**facts, "spans": spans} if kind == "recording.closed" else facts) for kind, facts in steps]


HISTORY: Mapping[str, Callable[[Steps], Steps]] = {
    "a verdict left out, signed": _without("verdict"),
    "the arrival left out, signed": _without("call.arrived"),
    "a recorder opened before the verdict, signed": _open_first,
    "a recorder opened after a no, signed": _refused,
    "an end that counts other entries, signed": _miscounted,
    "a recording whose beginning is missing, signed": _gap,
}
