"""`consent-gateway doctor`: what stands in the way, where, and what to do."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters.config.policies import second_looks
from gateway.adapters.config.settings import Settings
from gateway.adapters.config.shelf import open_policies
from gateway.adapters.prompts.library import load_prompts
from gateway.adapters.store.databases import Database
from gateway.adapters.store.evidence_log import EvidenceReader
from gateway.adapters.store.faults import UNUSABLE, describe
from gateway.adapters.store.postgresql import PostgresSchema, commits
from gateway.adapters.store.registry import RegistryDatabase
from gateway.bootstrap import MINIMUM_FREE_BYTES, Folders, evidence_database, registry_database
from gateway.cli.doctor_asterisk import examine
from gateway.cli.output import NO, OK, OUT_OF_REACH_ERRORS, complain, say, say_json, settings_or_exit, why
from gateway.policy.errors import PolicyError

SLOW_SYNC_MS = 50.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing examined. *state*: ok, warning, error, or unknown: not to be seen from here, and *what* says how."""

    name: str
    state: str
    what: str


def run(config: Path | None, *, as_json: bool) -> int:
    """Examine everything; 0 when nothing is an error."""
    settings = settings_or_exit(config)
    checks: list[Check] = []
    for check in _all(settings, config):
        checks.append(check)
        if not as_json:
            mark = {"ok": "ok     ", "warning": "warning", "error": "ERROR  ", "unknown": "unknown"}[check.state]
            (complain if check.state == "error" else say)(f"{mark}  {check.name:<14} {check.what}")
    failed = any(check.state == "error" for check in checks)
    if as_json:
        say_json({"ok": not failed, "checks": [{"name": c.name, "state": c.state, "what": c.what} for c in checks]})
    return NO if failed else OK


def _all(settings: Settings, config: Path | None) -> Iterator[Check]:
    yield _python()
    yield from _library(settings)
    yield from _prompts_and_policies(settings)
    yield from _storage(settings)
    yield from _databases(settings, config)
    yield from _ports(settings)
    yield _clock()
    for name, found in examine(settings, config):
        yield Check(found.name, found.state, f"{name}: {found.what}")


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Check("python", "ok" if good else "error", f"{version}" + ("" if good else ": 3.11 to 3.13 are supported"))


def _library(settings: Settings) -> Iterator[Check]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gateway.adapters.sip.library"], capture_output=True, timeout=20, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        yield Check("pjsua2", "error", f"does not load ({type(error).__name__}): run `make env`")
        return
    pairs = max(1, found["max_calls"] // 2)
    workers = -(-settings.sip.calls // pairs)
    yield Check(
        "pjsua2",
        "ok",
        f"{found['version']}, {found['max_calls']} SIP dialogs a process; "
        f"{settings.sip.calls} calls take {workers} workers",
    )
    openssl = found["openssl"]
    loopback = settings.sip.bind.startswith(("127.", "localhost", "[::1]"))
    if openssl and openssl < "3":
        state = "ok" if loopback else "warning"
        yield Check(
            "tls", state, f"the library has OpenSSL {openssl} inside: SIP over TLS and DTLS-SRTP are not offered"
        )
    else:
        yield Check("tls", "ok", f"OpenSSL {openssl or 'of the system'}; this version speaks SIP over UDP")


def _prompts_and_policies(settings: Settings) -> Iterator[Check]:
    prompts, findings = load_prompts(settings.prompts.folder)
    for finding in findings:
        yield Check("prompts", "error", str(finding))
    if not findings:
        yield Check("prompts", "ok", f"complete in {', '.join(prompts.languages())}")
    try:
        policies = open_policies(settings.policy.folder, settings.policy.law, prompts, settings.staff.folder)
    except PolicyError as error:
        for problem in error.problems:
            yield Check("policy", "error", str(problem))
        return
    for policy in policies.current.book.policies:
        yield Check("policy", "ok", f"{policy.file.name} version {policy.file.version} ({policy.source})")
    for found in second_looks(policies.current.book, policies.current.places, settings.policy.law):
        yield Check("policy", "warning", str(found))


def _storage(settings: Settings) -> Iterator[Check]:
    root = settings.storage.folder.resolve()
    place = root
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        yield Check("storage", "error", f"{place} cannot be written: change its owner, or storage.folder")
        return
    free = shutil.disk_usage(place).free
    enough = free >= MINIMUM_FREE_BYTES
    yield Check(
        "storage", "ok" if enough else "error", f"{root}: {free // 2**20} MiB free" + ("" if enough else ", too little")
    )
    probe = place / f".doctor-{os.getpid()}"
    begun = time.monotonic()
    try:
        with probe.open("wb") as file:
            for _ in range(10):
                file.write(b"0" * 4096)
                file.flush()
                os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)
    sync_ms = (time.monotonic() - begun) * 100
    what = f"{sync_ms:.1f} ms for one durable write: every verdict waits for one"
    yield Check("disk", "ok" if sync_ms < SLOW_SYNC_MS else "warning", what)
    keys = Folders(root).keys
    for secret in sorted(keys.glob("*.key")) if keys.exists() else []:
        if stat.S_IMODE(secret.stat().st_mode) & 0o077:
            yield Check("keys", "error", f"{secret} can be read by others: chmod 600 {secret}")


def _databases(settings: Settings, config: Path | None) -> Iterator[Check]:
    """What is there already must be readable; a folder without databases is one before its first start."""
    evidence, registry = evidence_database(settings), registry_database(settings)
    readers: list[tuple[str, Database, Callable[[], None]]] = [
        ("evidence", evidence, lambda: EvidenceReader(evidence).check()),
        ("registry", registry, lambda: RegistryDatabase(registry, read_only=True).close()),
    ]
    for name, database, read in readers:
        try:
            found = f"{database.label} can be read" if database.exists() else ""
            if found:
                read()
            if isinstance(database, PostgresSchema):
                found = f"{found or f'{database.label} is made at the first start'}, and {commits(database)}"
        except OUT_OF_REACH_ERRORS as error:
            yield Check(name, "error", why(error))
        except UNUSABLE as error:
            yield Check(name, "error", f"the {name} database {database.label} cannot be used: {describe(error)}")
        else:
            if found:
                yield Check(name, "ok", found)
    yield from _passwords(settings, config)


def _passwords(settings: Settings, config: Path | None) -> Iterator[Check]:
    """A password that others can read, or that a network could see."""
    for name, section in (("evidence", settings.evidence), ("registry", settings.registry)):
        files = [section.password_file, config if section.spells_password else None]
        for file in (file for file in files if file is not None):
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                yield Check(name, "warning", f"{file} has a password and can be read by others: chmod 600 {file}")
        address = section.address()
        if address is not None and not address.is_local:
            how = address.parameters.get("sslmode", "prefer")
            if how != "verify-full":
                what = f"sslmode is {how}: whoever stands in between may be taken for the server; use verify-full"
                yield Check(name, "warning", what)


def _ports(settings: Settings) -> Iterator[Check]:
    for name, address, kind in (
        ("sip", settings.sip.bind, socket.SOCK_DGRAM),
        ("http", settings.http.bind, socket.SOCK_STREAM),
    ):
        host, _, port = address.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((host.strip("[]"), int(port)))
            except OSError as error:
                what = f"{address} cannot be bound ({error.strerror}): stop what has it (is the gateway running?)"
                yield Check(name, "warning", what)
            else:
                yield Check(name, "ok", f"{address} is free")


def _clock() -> Check:
    before, begun = time.time(), time.monotonic()
    time.sleep(0.2)
    drift_ms = abs((time.time() - before) - (time.monotonic() - begun)) * 1000
    good = time.time() > 1_750_000_000 and drift_ms < 20
    return Check(
        "clock", "ok" if good else "error", "time of day runs evenly" if good else "the time of day is wrong or jumps"
    )
