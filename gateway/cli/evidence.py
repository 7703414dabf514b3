"""`consent-gateway evidence`: look at the log, export and verify bundles."""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.output import (
    NO,
    OK,
    OUT_OF_REACH,
    complain,
    say,
    say_json,
    settings_or_exit,
    table,
    why,
    within_reach,
)
from gateway.evidence.bundle import Report, verify_bundle
from gateway.evidence.canonical import Entry, to_object
from gateway.evidence.errors import EvidenceInvalid

if TYPE_CHECKING:
    from gateway.adapters.config.settings import Settings
    from gateway.adapters.store.databases import Database
    from gateway.bootstrap import Folders
    from gateway.evidence.anchors import Anchored
    from gateway.evidence.checkpoint import Verifier
    from gateway.evidence.forms import Form, Wishes


def verify(
    bundle: Path,
    key: Path,
    anchors: Path | None,
    tsa_certs: Path | None,
    witnesses: Sequence[str],
    *,
    as_json: bool,
) -> int:
    """Check a bundle or a vCon with nothing but the public key; 0 only when every check ran and held.

    *anchors*: a folder of anchored heads that is to be heard too, its time stamps by *tsa_certs*, its witnesses by the
    keys of *witnesses*.
    """
    from gateway.cli.evidence_anchor import key_line
    from gateway.evidence.vcon import is_vcon, verify_vcon

    try:
        data = bundle.read_bytes()
        verifier = key.read_text(encoding="utf-8").strip()
        kept = (
            None if anchors is None else {file.name: file.read_bytes() for file in anchors.iterdir() if file.is_file()}
        )
        pem = None if tsa_certs is None else tsa_certs.read_bytes()
        keys = [key_line(text) for text in witnesses]
    except (OSError, UnicodeDecodeError) as error:
        complain(f"cannot read: {why(error)}")
        return OUT_OF_REACH
    try:
        report = verify_vcon(data, verifier) if is_vcon(data) else verify_bundle(data, verifier)
        if kept is not None:
            report = _with_anchors(report, verifier, kept, pem, keys)
    except EvidenceInvalid as error:
        if as_json:
            say_json({"verified": False, "because": str(error)})
        else:
            complain(f"NOT VALID: {error}")
        return NO
    if as_json:
        say_json({"verified": True, "proven": list(report.proven), "not_proven": list(report.not_proven)})
    else:
        say(str(report))
    return OK


def _with_anchors(
    report: Report, key: str, kept: dict[str, bytes], pem: bytes | None, witnesses: Sequence[str]
) -> Report:
    from gateway.evidence.anchors import hear_anchors, read_anchors
    from gateway.evidence.checkpoint import Verifier
    from gateway.evidence.cosignature import Witness
    from gateway.evidence.timestamp import read_certificates

    certificates = [] if pem is None else read_certificates(pem)
    known = [Witness.parse(line) for line in witnesses]
    return hear_anchors(report, read_anchors(kept, Verifier.parse(key)), certificates, known)


def log_or_exit(config: Path | None) -> tuple["Database", "Folders", "Settings"]:
    """Return where the log and its keys are; leaves with 3 when there is no log."""
    from gateway.adapters.store.evidence_log import is_there
    from gateway.bootstrap import Folders, evidence_database

    settings = settings_or_exit(config)
    database = evidence_database(settings)
    if not is_there(database):
        complain(f"{database.label} is not there: name the configuration with --config")
        raise SystemExit(OUT_OF_REACH)
    return database, Folders(settings.storage.folder.resolve()), settings


@within_reach()
def read_entries(config: Path | None, call_id: str) -> Sequence[Entry]:
    """Return a call's entries, beside a running gateway; leaves with 3 when there are none."""
    from gateway.adapters.store.evidence_log import EvidenceReader

    database, _, _ = log_or_exit(config)
    try:
        return EvidenceReader(database).entries(call_id)
    except KeyError:
        complain("the log has no entry of that call")
        raise SystemExit(OUT_OF_REACH) from None


@within_reach()
def listing(config: Path | None, *, as_json: bool) -> int:
    """Print the calls of the log."""
    from gateway.adapters.store.evidence_log import EvidenceReader

    database, _, _ = log_or_exit(config)
    calls = EvidenceReader(database).calls()
    if as_json:
        say_json([{"call_id": c.call_id, "first_at": c.first_at, "entries": c.entries} for c in calls])
    elif not calls:
        say("the log has no calls yet")
    else:
        table(["CALL", "FIRST ENTRY", "ENTRIES"], [[c.call_id, c.first_at, str(c.entries)] for c in calls])
    return OK


def show(config: Path | None, call_id: str, *, as_json: bool) -> int:
    """Print a call's entries, one line each."""
    entries = read_entries(config, call_id)
    if as_json:
        say_json([to_object(entry) for entry in entries])
        return OK
    for entry in entries:
        facts = ", ".join(f"{name}={_short(value)}" for name, value in entry.facts.items())
        hidden = f"  [sealed: {', '.join(entry.commitments)}]" if entry.commitments else ""
        say(f"{entry.seq:>4}  {entry.at}  {entry.kind:<18} {facts}{hidden}")
    return OK


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@within_reach()
def export(
    config: Path | None,
    call_id: str,
    out: Path,
    form: "Form",
    wishes: "Wishes",
    *,
    anchored: bool = False,
    as_json: bool,
) -> int:
    """Write what a call left, in the form asked for: from the log itself, or through the gateway that has it open.

    *anchored*: it hangs on a head that was anchored, not on a new one.
    """
    from gateway.cli.evidence_forms import places_of
    from gateway.evidence.forms import render

    data = _anchored_bundle(config, call_id) if anchored else _bundle(config, call_id)
    if data is None:
        return NO
    if form == "bundle":
        return _write(data, out, call_id, as_json)

    from gateway.adapters.store.log_key import load_signer

    _, folders, settings = log_or_exit(config)
    signer = load_signer(folders.keys, settings.evidence.origin, create=False)
    try:
        places = places_of(data, wishes.media_url, folders.recordings)
        rendered = render(
            form, data, str(signer.verifier), wishes, made_at=datetime.now(UTC), places=places, signer=signer
        )
    except EvidenceInvalid as error:
        complain(f"NOT VALID: {error}")
        return NO
    return _write(rendered, out, call_id, as_json)


@within_reach()
def convert(bundle: Path, key: Path, out: Path, form: "Form", wishes: "Wishes", *, as_json: bool) -> int:
    """Write a bundle in another form, with nothing but the public key. The bundle is verified first."""
    from gateway.cli.evidence_forms import places_of
    from gateway.evidence.forms import render

    data, verifier = bundle.read_bytes(), key.read_text(encoding="utf-8", errors="replace").strip()
    try:
        places = places_of(data, wishes.media_url, None)
        rendered = render(form, data, verifier, wishes, made_at=datetime.now(UTC), places=places)
    except EvidenceInvalid as error:
        complain(f"NOT VALID: {error}")
        return NO
    return _write(rendered, out, json.loads(data)["call"], as_json)


def _bundle(config: Path | None, call_id: str) -> bytes | None:
    """Return a call's bundle, or `None` when nobody could sign it and the reason was said."""
    from gateway.bootstrap import open_log
    from gateway.ports.evidence import ForkDetected

    read_entries(config, call_id)
    settings = settings_or_exit(config)

    async def direct() -> bytes:
        log = open_log(settings)
        try:
            return await log.export(call_id)
        finally:
            await log.aclose()

    try:
        return asyncio.run(direct())
    except ForkDetected as error:
        if "second instance" not in str(error):
            complain(f"the log refuses to sign: {error}")
            return None
        return _bundle_over_http(config, call_id)


def _anchored_bundle(config: Path | None, call_id: str) -> bytes | None:
    """Return the call's bundle under the first anchored head that covers it; `None` when none does, which was said."""
    from gateway.adapters.store.log_key import load_signer
    from gateway.adapters.store.proofs import CallNotCovered, bundle_under
    from gateway.evidence.anchors import first_covering

    entries = read_entries(config, call_id)
    database, folders, settings = log_or_exit(config)
    signer = load_signer(folders.keys, settings.evidence.origin, create=False)
    try:
        anchors = anchors_of(folders.keys, signer.verifier)
        data = bundle_under(database, call_id, len(entries), lambda size: first_covering(anchors, size), signer)
        verify_bundle(data, str(signer.verifier))
    except CallNotCovered as error:
        complain(f"{error}: consent-gateway evidence anchor, then try again")
        return None
    except EvidenceInvalid as error:
        complain(f"the log and its anchors contradict each other: {error}; consent-gateway evidence fsck says more")
        return None
    return data


def anchors_of(keys: Path, verifier: "Verifier") -> "list[Anchored]":
    """Return what is kept beside the key. Raises `AnchorInvalid`, `OSError`."""
    from gateway.adapters.store.fsck import ANCHORS
    from gateway.evidence.anchors import read_anchors

    folder = keys / ANCHORS
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()} if folder.is_dir() else {}
    return read_anchors(files, verifier)


def _bundle_over_http(config: Path | None, call_id: str) -> bytes | None:
    from gateway.cli.client import Refused, fetch, segment

    settings = settings_or_exit(config)
    key_file = settings.storage.folder / "keys" / "cli.key"
    try:
        return fetch(f"http://{settings.http.bind}", key_file, "GET", f"/v1/calls/{segment(call_id)}/evidence")
    except Refused as refused:
        complain(f"the running gateway refused: {refused}")
        return None


def _write(data: bytes, out: Path, call_id: str, as_json: bool) -> int:
    if str(out) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return OK
    try:
        out.write_bytes(data)
    except OSError as error:
        complain(f"cannot write {out}: {error.strerror}")
        return OUT_OF_REACH
    if as_json:
        say_json({"call_id": call_id, "path": str(out), "size": len(data)})
    else:
        complain(f"{out}: {len(data)} bytes")
    return OK


@within_reach()
def fsck(config: Path | None, *, as_json: bool) -> int:
    """Check the whole log; 0 when nothing is wrong."""
    from gateway.adapters.store.evidence_log import EvidenceReader
    from gateway.adapters.store.fsck import fsck as check

    database, folders, _ = log_or_exit(config)
    EvidenceReader(database).check()
    try:
        problems = check(database, folders.keys)
    except (EvidenceInvalid, OSError) as error:
        complain(f"the log cannot be checked: {why(error)}")
        return OUT_OF_REACH
    if as_json:
        say_json({"ok": not problems, "problems": [{"where": p.where, "what": p.what} for p in problems]})
    else:
        for problem in problems:
            complain(str(problem))
        say("the log is whole" if not problems else f"{len(problems)} problems")
    return NO if problems else OK
