"""`consent-gateway evidence proof`, `verify-proof` and `tiles`: the log for those who look at it from outside."""

import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.cli.evidence import anchors_of, log_or_exit
from gateway.cli.evidence_anchor import key_line
from gateway.cli.output import NO, OK, OUT_OF_REACH, complain, say, say_json, why, within_reach
from gateway.evidence import canonical
from gateway.evidence.checkpoint import Verifier
from gateway.evidence.cosignature import Witness, read_cosignatures
from gateway.evidence.errors import EntryInvalid, EvidenceInvalid
from gateway.evidence.tlog_proof import read_proof, verify_proof, write_proof


@within_reach()
def write(
    config: Path | None,
    call_id: str,
    seq: int | None,
    out: Path,
    data_out: Path | None,
    *,
    anchored: bool,
    as_json: bool,
) -> int:
    """Write an entry's proof, and its bytes to *data_out*, beside a gateway that runs or not."""
    from gateway.adapters.store.heads import LogHeads, read_verifier
    from gateway.adapters.store.proofs import CallNotCovered, entry_under
    from gateway.evidence.anchors import first_covering

    database, folders, _ = log_or_exit(config)
    verifier = read_verifier(folders.keys)

    def choose(size: int) -> str | None:
        if anchored:
            found = first_covering(anchors_of(folders.keys, verifier), size)
            return None if found is None else found.full_note
        head = LogHeads(database, folders.keys).read()
        return head.note if head.checkpoint.size >= size else None

    try:
        data, proof = entry_under(database, call_id, seq, choose)
        text = write_proof(proof)
        verify_proof(text, data, verifier)
    except KeyError:
        complain("the log has no such entry of that call: consent-gateway evidence show lists them")
        return OUT_OF_REACH
    except CallNotCovered as error:
        complain(f"{error}: {'consent-gateway evidence anchor' if anchored else 'wait a few seconds'}, then try again")
        return NO
    except EvidenceInvalid as error:
        complain(f"the log contradicts its head: {error}; consent-gateway evidence fsck says more")
        return NO
    if data_out is not None:
        data_out.write_bytes(data)
    if str(out) == "-":
        sys.stdout.write(text)
        return OK
    out.write_text(text, encoding="utf-8")
    if as_json:
        say_json({"call_id": call_id, "index": proof.index, "path": str(out), "size": len(text.encode())})
    else:
        complain(f"{out}: entry {proof.index} of the log")
    return OK


def verify(proof: Path, data: Path, key: Path, witnesses: Sequence[str], *, as_json: bool) -> int:
    """Check a proof with the entry's bytes and the public key alone; say which of *witnesses* have seen its head."""
    try:
        text, entry = proof.read_bytes().decode(), data.read_bytes()
        line = key.read_text(encoding="utf-8").strip()
        keys = [key_line(item) for item in witnesses]
    except (OSError, UnicodeDecodeError) as error:
        complain(f"cannot read: {why(error)}")
        return OUT_OF_REACH
    try:
        verifier = Verifier.parse(line)
        head = verify_proof(text, entry, verifier)
        seen = read_cosignatures(read_proof(text).note, [Witness.parse(item) for item in keys])
    except EvidenceInvalid as error:
        if as_json:
            say_json({"verified": False, "because": str(error)})
        else:
            complain(f"NOT VALID: {error}")
        return NO
    index = read_proof(text).index
    by = [f"its head was seen by witness {cosignature}" for cosignature in seen]
    proven = [
        f"exactly these {len(entry)} bytes are entry {index} of the log {head.origin}, whose first {head.size} entries "
        f"the holder of {verifier.label} has signed for",
        *by,
    ]
    not_proven = [
        "that the call has no other entries: a bundle shows them all",
        "when, and that nobody is shown another log",
    ]
    try:
        told = canonical.decode(entry)
        proven.append(
            f"it is entry {told.seq} ({told.kind}) of call {told.call}, and names the one before it by its hash"
        )
    except EntryInvalid:
        not_proven.append("what they mean: they are no entry of a consent gateway")
    if as_json:
        say_json({"verified": True, "index": index, "tree_size": head.size, "proven": proven, "not_proven": not_proven})
    else:
        for line in proven:
            say(f"proven: {line}")
        for line in not_proven:
            say(f"NOT proven: {line}")
    return OK


@within_reach()
def tiles(config: Path | None, folder: Path, *, as_json: bool) -> int:
    """Bring the tiles in *folder* up to the log's head, beside a gateway that runs or not."""
    from gateway.adapters.store.heads import LogHeads, read_verifier
    from gateway.adapters.store.tiles import export_tiles
    from gateway.ports.evidence import ForkDetected

    database, folders, _ = log_or_exit(config)
    try:
        head, verifier = LogHeads(database, folders.keys).read(), read_verifier(folders.keys)
        done = export_tiles(database, head, verifier, folder)
    except (ForkDetected, EvidenceInvalid) as error:
        complain(str(error))
        return NO
    if as_json:
        say_json({"folder": str(folder), "size": done.size, "written": done.written, "known": done.known})
    else:
        say(f"{folder}: {done.size} entries, {done.written} files written, {done.known} already there")
    return OK
