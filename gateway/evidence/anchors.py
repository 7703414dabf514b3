"""What the files of a folder of anchors prove about a checkpoint, and what they hold against a log.

A folder holds notes (`SIZE.checkpoint`, or `ORIGIN-SIZE.checkpoint` of a write-once folder), and beside them what
others have said of them: time stamps (`SIZE.NAME.tsr`) and notes with a witness's line (`SIZE.NAME.cosigned`). Names
only say what a file is and which belong together; what counts is inside, and is checked.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cryptography import x509

from gateway.evidence.bundle import CLOCK_ONLY, SAME_LOG, Report
from gateway.evidence.checkpoint import Checkpoint, Verifier, parse_checkpoint, verify_checkpoint
from gateway.evidence.cosignature import Cosignature, Witness, read_cosignatures
from gateway.evidence.errors import AnchorInvalid, CheckpointInvalid, CosignatureInvalid, TimestampInvalid
from gateway.evidence.timestamp import Stamp, read_stamp

_NOTE = re.compile(r"(?:[^/]*-)?(0|[1-9][0-9]{0,18})\.checkpoint", re.ASCII)
_SAID = re.compile(r"(0|[1-9][0-9]{0,18})\.([a-z0-9][a-z0-9-]{0,39})\.(tsr|cosigned)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Anchored:
    """One note of the log that was found in *file*; *stamps*, and *cosigned* notes of the same head, by file."""

    file: str
    note: str
    checkpoint: Checkpoint
    stamps: Mapping[str, bytes]
    cosigned: Mapping[str, str]

    @property
    def full_note(self) -> str:
        """The note with every line that witnesses have put under it."""
        lines = [line for note in self.cosigned.values() for line in _signature_lines(note)]
        own = _signature_lines(self.note)
        return self.note + "".join(f"{line}\n" for line in dict.fromkeys(lines) if line not in own)


def read_anchors(files: Mapping[str, bytes], verifier: Verifier) -> list[Anchored]:
    """Return the notes of *verifier*'s log among *files* (name: content), smallest first.

    Notes of other logs and files of other names are left aside. Raises `AnchorInvalid` for a note of this log that its
    key did not sign, two notes of one size with different roots, and a stamp without its note.
    """
    notes: dict[int, Anchored] = {}
    for file, data in sorted(files.items(), key=lambda item: (_rank(item[0]), item[0])):
        match, said = _NOTE.fullmatch(file), _SAID.fullmatch(file)
        size = match[1] if match else said[1] if said and said[3] == "cosigned" else None
        found = None if size is None else _own_note(file, data, verifier)
        if size is None or found is None:
            continue
        note, checkpoint = found
        if checkpoint.size != int(size):
            raise AnchorInvalid(f"{file} is of {checkpoint.size} entries: it was renamed")
        stamps = _beside(files, checkpoint.size, "tsr")
        known = notes.setdefault(checkpoint.size, Anchored(file, note, checkpoint, stamps, {}))
        if known.checkpoint.root != checkpoint.root:
            raise AnchorInvalid(
                f"{known.file} and {file} are two histories of {checkpoint.size} entries: the log was forked"
            )
        if said:
            notes[checkpoint.size] = replace(known, cosigned={**known.cosigned, file: note})
    for file in files:
        if (said := _SAID.fullmatch(file)) and said[3] == "tsr" and f"{said[1]}.checkpoint" not in files:
            raise AnchorInvalid(f"{file} stamps {said[1]}.checkpoint, which is not there: it cannot be checked")
    return [notes[size] for size in sorted(notes)]


def _rank(file: str) -> int:
    """What is stamped is `SIZE.checkpoint`; copies elsewhere and cosigned ones may have further lines."""
    return 2 if _SAID.fullmatch(file) else 0 if file.partition(".")[0].isdecimal() else 1


def _own_note(file: str, data: bytes, verifier: Verifier) -> tuple[str, Checkpoint] | None:
    """Return the note and what it says, `None` if it is of another log."""
    try:
        note = data.decode()
        if parse_checkpoint(note)[0].origin != verifier.name:
            return None
        return note, verify_checkpoint(note, verifier)
    except (UnicodeDecodeError, CheckpointInvalid) as error:
        reason = "no text" if isinstance(error, UnicodeDecodeError) else str(error)
    raise AnchorInvalid(f"{file} is no checkpoint of this log: {reason}")


def _beside(files: Mapping[str, bytes], size: int, kind: str) -> dict[str, bytes]:
    found = ((file, _SAID.fullmatch(file)) for file in sorted(files))
    return {file: files[file] for file, match in found if match and match[3] == kind and int(match[1]) == size}


def _signature_lines(note: str) -> list[str]:
    return note.rpartition("\n\n")[2].splitlines()


def first_covering(anchors: Sequence[Anchored], size: int) -> Anchored | None:
    """Return the smallest note that covers the first *size* entries, one with a time stamp before others: it says most
    closely by when they existed. `None`: there is none."""
    enough = [item for item in anchors if item.checkpoint.size >= size]
    return next((item for item in enough if item.stamps), enough[0] if enough else None)


def check_stamp(file: str, anchored: Anchored, certificates: Sequence[x509.Certificate]) -> Stamp:
    """Return what a stamp confirms. Raises `AnchorInvalid`, naming the file."""
    try:
        return read_stamp(anchored.stamps[file], anchored.note, certificates)
    except TimestampInvalid as error:
        raise AnchorInvalid(f"{file}: {error}") from None


def hear_witnesses(file: str, note: str, witnesses: Sequence[Witness]) -> list[Cosignature]:
    """Return which of *witnesses* have seen the note in *file*. Raises `AnchorInvalid`, naming the file."""
    try:
        return read_cosignatures(note, witnesses)
    except CosignatureInvalid as error:
        raise AnchorInvalid(f"{file}: {error}") from None


def hear_anchors(
    report: Report,
    anchors: Sequence[Anchored],
    certificates: Sequence[x509.Certificate] = (),
    witnesses: Sequence[Witness] = (),
) -> Report:
    """Return *report* with what *anchors* prove about the checkpoint its bundle hangs on.

    Every stamp and every line of a known witness is checked, also those of other checkpoints: one lie is reason enough.
    Raises `AnchorInvalid`.
    """
    head = report.checkpoint
    same = next((item for item in anchors if item.checkpoint.size == head.size), None)
    if same is not None and same.checkpoint.root != head.root:
        raise AnchorInvalid(
            f"{same.file} has another history of {head.size} entries than the bundle: the key has signed two"
        )
    stamps = [(item, check_stamp(file, item, certificates)) for item in anchors if certificates for file in item.stamps]
    seen = [
        (item, cosignature)
        for item in anchors
        for file, note in item.cosigned.items()
        for cosignature in hear_witnesses(file, note, witnesses)
    ]
    held = [stamp for item, stamp in stamps if item is same]
    by = [cosignature for item, cosignature in seen if item is same]
    proven, not_proven = list(report.proven), list(report.not_proven)
    if same is not None:
        proven.append(f"the bundle's checkpoint is the one kept as {same.file}")
        not_proven = [line for line in not_proven if line != SAME_LOG] + [_SAME_AS_SEEN if by else _SAME_AS_KEPT]
    for stamp in held:
        proven.append(f"the checkpoint, and so every entry here, existed before {say_when(stamp)}")
    for cosignature in by:
        proven.append(
            f"the checkpoint was seen by witness {cosignature}: it was the largest it had seen of this log, and "
            "extended all it had seen before"
        )
    if held:
        not_proven = [line for line in not_proven if line != CLOCK_ONLY] + [_ONLY_BEFORE]
    not_proven += _gaps(anchors, same, certificates, witnesses)
    return replace(report, proven=tuple(proven), not_proven=tuple(not_proven))


_SAME_AS_KEPT = "that everybody is shown the same log: only who keeps the anchors is known to be shown this one"
_SAME_AS_SEEN = "that everybody is shown the same log: who relies on the same witnesses is"
_ONLY_BEFORE = "the times of the entries are those of the gateway's own clock: the stamp says that they are not later"


def say_when(stamp: Stamp) -> str:
    """Say until when, and on whose word."""
    return (
        f"{stamp.latest:%Y-%m-%d %H:%M:%S} UTC, on the word of {stamp.authority} (policy {stamp.policy}, "
        f"serial number {stamp.serial})"
    )


def _gaps(
    anchors: Sequence[Anchored],
    same: Anchored | None,
    certificates: Sequence[x509.Certificate],
    witnesses: Sequence[Witness],
) -> Iterator[str]:
    if not anchors:
        yield "anything by anchors: there is no checkpoint of this log among them"
    elif same is None:
        sizes = ", ".join(str(item.checkpoint.size) for item in anchors[-3:])
        yield (
            f"anything by anchors: they are of other states of the log (such as {sizes} entries). A bundle that hangs "
            "on an anchor is made by `evidence export --anchored`"
        )
    if not certificates and any(item.stamps for item in anchors):
        yield "anything by the time stamps: name the certificates of their authority (--tsa-certs)"
    if not witnesses and any(item.cosigned for item in anchors):
        yield "anything by the witnesses: name their keys (--witness)"


def contradictions(
    anchors: Sequence[Anchored], size: int, head: Checkpoint | None, root_at: Callable[[int], bytes]
) -> Iterator[tuple[str, str]]:
    """Yield what *anchors* hold against a log of *size* entries and its signed *head*: file, and what is wrong."""
    for item in anchors:
        kept = item.checkpoint
        if kept.size > size:
            yield (
                item.file,
                f"has the log with {kept.size} entries, the database holds {size}: it was cut short or restored",
            )
        elif root_at(kept.size) != kept.root:
            yield item.file, f"the first {kept.size} entries do not hash to its root: the history was changed"
        elif head is not None and head.size < kept.size:
            yield (
                item.file,
                f"has {kept.size} entries, the signed head only {head.size}: the head was put back to an older one",
            )
