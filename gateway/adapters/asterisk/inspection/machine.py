"""What this machine knows of its side: the secret's file, the spool, addresses and ports. Changes nothing."""

import ipaddress
import re
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from gateway.adapters.asterisk.inspection.findings import Finding, State

NEWEST: Final = 5
"""Recordings that are opened to see that they can be."""

_CONTACT: Final = re.compile(r"sips?:(?:[^@]*@)?(?P<host>\[[^\]]+\]|[^:;>\s]+)(?::(?P<port>\d{1,5}))?", re.IGNORECASE)


def split_address(address: str, default_port: int = 0) -> tuple[str, int]:
    """Return host, without brackets, and port.

    >>> split_address("[::1]:5070")
    ('::1', 5070)
    """
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port or default_port)


def addresses(host: str) -> frozenset[str]:
    """Return the addresses of a host; none when it has none."""
    try:
        return frozenset(str(found[4][0]).partition("%")[0] for found in socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return frozenset()


def is_ours(address: str) -> bool:
    """Whether an address is one of this machine's: only then can it be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def is_listened_to(bind: str) -> bool:
    """Whether somebody has the UDP address *bind* (`host:port`)."""
    host, port = split_address(bind)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def contact_problem(contacts: Sequence[str], bind: str) -> tuple[str, State]:
    """Return what is wrong with the SIP addresses that a server has for us, and how bad that is; "" when one of them
    is *bind* (`host:port`), or when they are not known."""
    host, port = split_address(bind)
    wanted = addresses(host)
    elsewhere = []
    for contact in contacts:
        match = _CONTACT.search(contact)
        if match is None:
            continue
        found, its_port = addresses(match["host"].strip("[]")), int(match["port"] or 5060)
        everywhere = any(ipaddress.ip_address(one).is_unspecified for one in wanted)
        here = any(is_ours(one) for one in found) if everywhere else bool(found & wanted)
        if here and its_port == port:
            return "", "ok"
        elsewhere.append((f"{match['host']}:{its_port}", any(is_ours(one) for one in found)))
    if not elsewhere:
        return "", "ok"
    told = ", ".join(address for address, _ in elsewhere)
    remedy = (
        "in pjsip.conf write `contact = sip:consent@HOST:PORT` with the address of [sip] bind, then `module reload "
        "res_pjsip.so`"
    )
    if any(local for _, local in elsewhere):
        return f"its contact for the gateway is {told}, and [sip] bind is {bind}: {remedy}", "error"
    what = f"its contact for the gateway is {told}, which is no address of this machine, and [sip] bind is {bind}"
    return f"{what}: right only with address translation between them, else {remedy}", "warning"


def secret_findings(secret_file: Path | None, secret: str, config_files: Sequence[Path]) -> Iterator[Finding]:
    """Examine who can read the secret: its file, or those of *config_files* that it stands in."""
    if secret_file is None:
        for file in config_files:
            if _others_may(file) and secret.encode() in file.read_bytes():
                what = f"{file} has the secret in it and can be read or written by others: chmod 600 {file}"
                yield Finding("pbx-secret", "error", what)
        return
    try:
        others, empty = _others_may(secret_file), not secret_file.read_bytes().strip()
    except OSError as error:
        what = (
            f"{secret_file} cannot be read ({type(error).__name__}): write the secret of manager.conf into it, mode "
            "600, owned by the gateway's user"
        )
        yield Finding("pbx-secret", "error", what)
        return
    if empty:
        yield Finding("pbx-secret", "error", f"{secret_file} is empty: write the secret of manager.conf into it")
    if others:
        what = f"{secret_file} can be read or written by others: chmod 600 {secret_file}"
        yield Finding("pbx-secret", "error", what)
    if not empty and not others:
        yield Finding("pbx-secret", "ok", f"{secret_file} is for its owner alone")


def _others_may(file: Path) -> bool:
    return bool(stat.S_IMODE(file.stat().st_mode) & 0o077)


def source_findings(sources: Sequence[tuple[str, str]], networks: Sequence[str]) -> Iterator[tuple[str, Finding]]:
    """Examine where INVITEs come from: *sources* are sections' names and their `source`, *networks* those of [sip]
    allowed_sources. Yields each section's name with what is wrong with it."""
    for place, (name, source) in enumerate(sources):
        host = _host(source)
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            what = (
                f"source is {host}, and INVITEs come from an address, not from a name: write `source` with the address "
                "in this section of gateway.toml"
            )
            yield name, Finding("pbx-source", "error", what)
            continue
        if not any(address in ipaddress.ip_network(network) for network in networks):
            what = (
                f"source {host} is not among [sip] allowed_sources, so its INVITEs are not answered: add "
                f'"{host.strip("[]")}/{address.max_prefixlen}" there in gateway.toml'
            )
            yield name, Finding("pbx-source", "error", what)
        for other, theirs in sources[:place]:
            if source == theirs or (_host(theirs) == host and (source == host or theirs == _host(theirs))):
                what = (
                    f"it has the same source as {other} ({source}), so the calls of neither are known as its own: give "
                    "each its own address, or host:port, as `source` in gateway.toml"
                )
                yield name, Finding("pbx-source", "error", what)


def _host(source: str) -> str:
    """The host of `host` or `host:port`; an IPv6 address with a port is in brackets."""
    if source.startswith("["):
        return source[: source.index("]") + 1]
    return source.partition(":")[0] if source.count(":") == 1 else source


def spool_findings(spool: Path | None, told: str | None, *, same_machine: bool) -> Iterator[Finding]:
    """Examine `spool`. *told*: the server's ASTSPOOLDIR; *same_machine*: whether it may be on this machine."""
    if spool is None:
        return
    try:
        names = sorted(path.name for path in spool.iterdir())
        recordings = sorted((spool / "consent").glob("*.wav"))[-NEWEST:] if "consent" in names else []
        for recording in recordings:
            with recording.open("rb"):
                pass
    except FileNotFoundError:
        what = f"spool {spool} is not there: write where this server's monitor folder is mounted, or leave it out"
        yield Finding("pbx-spool", "error", what)
        return
    except NotADirectoryError:
        yield Finding("pbx-spool", "error", f"spool {spool} is no folder: write the folder that Asterisk records into")
        return
    except OSError as error:
        what = (
            f"spool {spool} or a recording in it cannot be read ({type(error).__name__}): put the gateway's user into "
            "Asterisk's group, and let that group read the folder"
        )
        yield Finding("pbx-spool", "error", what)
        return
    if not told:
        what = f"spool {spool} can be read; that it is this server's cannot be seen: compare `ls` on both machines"
        yield Finding("pbx-spool", "unknown", what)
        return
    yield _same_folder(spool, Path(told) / "monitor", same_machine=same_machine)


def _same_folder(spool: Path, theirs: Path, *, same_machine: bool) -> Finding:
    try:
        same = spool.samefile(theirs) if same_machine and theirs.exists() else None
    except OSError:
        same = None
    if same:
        return Finding("pbx-spool", "ok", f"{spool} is the folder that the server records into")
    if same is False:
        what = f'spool is {spool}, and the server records into {theirs}: write `spool = "{theirs}"` in gateway.toml'
        return Finding("pbx-spool", "error", what)
    what = (
        f"spool {spool} can be read; the server records into {theirs} on its own machine, and that both are one folder "
        f"cannot be seen from here: `touch {theirs}/x` there, and look whether x is in {spool}"
    )
    return Finding("pbx-spool", "unknown", what)
