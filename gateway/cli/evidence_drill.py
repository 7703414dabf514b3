"""`consent-gateway evidence drill`: damage a copy of the log in every way we know, and see whether each is found."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.adapters.store.evidence_log import EvidenceReader
from gateway.adapters.store.fsck import fsck
from gateway.cli import drill_damage
from gateway.cli.drill_log import CALL, LYING_CALL, Copy, DrillFailed, prepare, story
from gateway.cli.output import (
    NO,
    OK,
    OUT_OF_REACH,
    USAGE,
    complain,
    say,
    say_json,
    settings_or_exit,
    table,
    within_reach,
)
from gateway.evidence.anchors import hear_anchors, hear_witnesses, read_anchors
from gateway.evidence.bundle import verify_bundle
from gateway.evidence.checkpoint import Checkpoint, parse_checkpoint
from gateway.evidence.cosignature import Witness, cosigned_message, signature_line
from gateway.evidence.errors import EvidenceInvalid
from gateway.evidence.jws import certificate
from gateway.ports.evidence import EvidenceUnavailable

STAMP = "the time stamp of another checkpoint"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one damage came to. *by*: the check that found it, "" for none; *words*: what that said."""

    damage: str
    by: str
    words: tuple[str, ...]

    @property
    def found(self) -> bool:
        return bool(self.by)


@within_reach()
def run(config: Path | None, folder: Path | None, most: int, *, as_json: bool) -> int:
    """Drill on the first *most* entries, 0 for all; 0 only when the log is sound and every damage was found."""
    from gateway.adapters.store.evidence_log import is_there
    from gateway.bootstrap import Folders, evidence_database

    settings = settings_or_exit(config)
    folders = Folders(settings.storage.folder.resolve())
    database = evidence_database(settings)
    source = database if is_there(database) else None
    if source is not None:
        EvidenceReader(source).check()
        try:
            problems = fsck(source, folders.keys)
        except EvidenceInvalid as error:
            complain(f"the log cannot be checked: {error}")
            return OUT_OF_REACH
        if problems:
            complain(f"{source.label} is damaged already, before the drill: consent-gateway evidence fsck says how")
            return NO
    with _place(folder) as place, _quietly():
        copy = prepare(place / "sound", source, settings.evidence.origin, most)
        findings = list(drill(copy, place, keep=folder is not None))
        stamps = sorted(folders.anchors.glob("*.tsr"))
        if stamps:
            findings.append(_foreign_stamp(copy, stamps[-1].read_bytes()))
        entries = copy.rows("SELECT count(*) FROM entries")[0][0]
    return _report(findings, None if source is None else source.label, entries, as_json, stamped=bool(stamps))


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """Give a folder for the copies: *folder*, which keeps them and must be new or empty, or one that goes away."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="consent-gateway-drill-") as made:
            yield Path(made)
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        complain(f"{folder} is not empty: name a new folder with --dir")
        raise SystemExit(USAGE)
    yield folder


def drill(sound: Copy, place: Path, *, keep: bool) -> Iterator[Finding]:
    """Damage copies of *sound* below *place*, one after the other; *keep* them. Raises `DrillFailed`, also for a sound
    log of which something false is said."""

    def copies(name: str) -> Iterator[Copy]:
        """Give one copy, which goes away afterwards unless it is to be kept."""
        copy = sound.clone(place / _file(name))
        yield copy
        if not keep:
            shutil.rmtree(copy.folder)

    key = str(sound.signer().verifier)
    said = _examine(sound)
    if not said:
        bundle = sound.clone(place / "exported").export(CALL, [])
        said = _verify(bundle, key)
    if said:
        raise DrillFailed(f"the sound copy was called damaged: {'; '.join(said)}")
    for name, act in {**drill_damage.DATABASE, **drill_damage.HEAD, **drill_damage.ANCHORED}.items():
        for copy in copies(name):
            act(copy)
            yield _finding(name, "fsck", _examine(copy))
    for name, edit in drill_damage.BUNDLE.items():
        damaged = edit(bundle)
        if damaged == bundle:
            raise DrillFailed(f"'{name}' changed nothing")
        (place / f"{_file(name)}.json").write_bytes(damaged)
        yield _finding(name, "verify", _verify(damaged, key))
    yield _bits(bundle, key)
    yield _foreign_line(sound)
    for name, tell in drill_damage.HISTORY.items():
        for copy in copies(name):
            yield _finding(name, "verify", _verify(copy.export(LYING_CALL, tell(story())), key))


def _foreign_stamp(sound: Copy, stamp: bytes) -> Finding:
    """A real stamp, put beside the copy's head. What it is of is looked at before whose it is."""
    signer = sound.signer()
    kept = sound.kept
    files = {kept.name: kept.read_bytes(), f"{kept.stem}.tsa.tsr": stamp}
    trusted = [x509.load_der_x509_certificate(certificate(signer))]

    def work() -> list[str]:
        report = verify_bundle(sound.clone(sound.folder.with_name("stamped")).export(CALL, []), str(signer.verifier))
        hear_anchors(report, read_anchors(files, signer.verifier), trusted)
        return []

    return _finding(STAMP, "verify", _said(work))


def _foreign_line(sound: Copy) -> Finding:
    """A witness's line from under another head; the same witness's own line under this one holds."""
    signer, kept = sound.signer(), sound.kept
    key = Ed25519PrivateKey.generate()
    witness = Witness("drill.invalid/witness", key.public_key().public_bytes_raw())
    note, seconds = kept.read_text(encoding="utf-8"), 1_700_000_000
    head = parse_checkpoint(note)[0]

    def heard(seen: Checkpoint) -> tuple[str, ...]:
        blob = witness.id + seconds.to_bytes(8) + key.sign(cosigned_message(seen, seconds))
        cosigned = note + signature_line(witness.name, blob)
        files = {kept.name: note.encode(), f"{kept.stem}.witness.cosigned": cosigned.encode()}

        def work() -> list[str]:
            for item in read_anchors(files, signer.verifier):
                for file, text in item.cosigned.items():
                    hear_witnesses(file, text, [witness])
            return []

        return _said(work)

    if said := heard(head):
        raise DrillFailed(f"a witness's true line was called a lie: {'; '.join(said)}")
    return _finding("a witness's line from under another head", "verify", heard(replace(head, size=head.size - 1)))


@contextmanager
def _quietly() -> Iterator[None]:
    """What the copies' logs say of themselves ("log key created") would be taken for news of the real one."""
    before = structlog.get_config()
    warnings = structlog.make_filtering_bound_logger("warning")
    structlog.configure(wrapper_class=warnings, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        yield
    finally:
        structlog.configure(**before)


def _bits(bundle: bytes, key: str) -> Finding:
    """One bit of the bundle, in many places; found is only what is found in each."""
    said = [_verify(damaged, key) for damaged in drill_damage.flipped(bundle)]
    words = () if () in said else tuple(sorted({line for lines in said for line in lines}))
    return _finding(f"one bit of a bundle, at {drill_damage.SAMPLES} places", "verify", words)


def _finding(name: str, by: str, words: tuple[str, ...]) -> Finding:
    return Finding(name, by if words else "", words)


def _examine(copy: Copy) -> tuple[str, ...]:
    """Return what `evidence fsck` says."""
    return _said(lambda: [str(problem) for problem in _fsck(copy)])


def _fsck(copy: Copy) -> list[str]:
    EvidenceReader(copy.path).check()
    return [str(problem) for problem in fsck(copy.path, copy.keys)]


def _verify(bundle: bytes, key: str) -> tuple[str, ...]:
    """Return what `evidence verify` refuses the bundle for."""

    def work() -> list[str]:
        verify_bundle(bundle, key)
        return []

    return _said(work)


def _said(check: Callable[[], list[str]]) -> tuple[str, ...]:
    try:
        return tuple(check())
    except (EvidenceInvalid, EvidenceUnavailable) as error:
        return (str(error),)


def _file(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _report(findings: list[Finding], source: str | None, entries: int, as_json: bool, *, stamped: bool) -> int:
    missed = [finding for finding in findings if not finding.found]
    if as_json:
        listed = [{**asdict(finding), "found": finding.found} for finding in findings]
        log = source
        say_json(
            {
                "ok": not missed,
                "log": log,
                "entries": entries,
                "damages": listed,
                "not_tried": [] if stamped else [STAMP],
            }
        )
    else:
        rows = [[item.damage, item.by or "NOT FOUND", item.words[0] if item.words else ""] for item in findings]
        table(["DAMAGE", "FOUND BY", "IN THESE WORDS"], rows)
        what = "a log made for the drill" if source is None else f"a copy of {source} ({entries} entries)"
        say(f"{len(findings)} damages to {what}: {len(findings) - len(missed)} found, {len(missed)} not")
        if not stamped:
            say(f"not tried: {STAMP}, because no time stamp is kept here")
    return NO if missed else OK
