"""The part of `consent-gateway doctor` about `[[asterisk]]`: every section, against its real server."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.adapters.asterisk.inspection.files import read_files
from gateway.adapters.asterisk.inspection.findings import Facts, Finding, Section, findings
from gateway.adapters.asterisk.inspection.machine import (
    addresses,
    contact_problem,
    is_listened_to,
    is_ours,
    secret_findings,
    source_findings,
    spool_findings,
)
from gateway.adapters.asterisk.inspection.survey import Survey, survey
from gateway.adapters.config.settings import Asterisk, RecorderLogin, Settings, SettingsError
from gateway.bootstrap import manager_server
from gateway.ports.manager import LoginRefused, ManagerError


def examine(
    settings: Settings, config: Path | None, *, now: Callable[[], float] = time.time
) -> Iterator[tuple[str, Finding]]:
    """Yield every finding with the name of its section. *now*: our time of day in seconds."""
    sources = [(section.name, section.source or section.ami.rpartition(":")[0]) for section in settings.asterisk]
    yield from source_findings(sources, settings.sip.allowed_sources)
    for section in settings.asterisk:
        for finding in _section(settings, section, config, now):
            yield section.name, finding


def _section(settings: Settings, section: Asterisk, config: Path | None, now: Callable[[], float]) -> Iterator[Finding]:
    files = [config, *sorted((config.parent / "conf.d").glob("*.toml"))] if config is not None else []
    yield from secret_findings(section.secret_file, section.secret, files)
    try:
        server = manager_server(section)
    except SettingsError:
        yield from spool_findings(section.spool, None, same_machine=False)
        return  # the secret's file was named already
    try:
        told = asyncio.run(survey(server, section.endpoint, section.agents, now=now))
    except ManagerError as error:
        yield _not_reached(section, error)
        yield from spool_findings(section.spool, None, same_machine=False)
        return
    yield Finding("pbx-login", "ok", f"logged in to {section.ami} as {section.user}")
    yield from findings(_facts(settings, section, told))
    if section.recorder is not None:
        yield from _recorder(section, section.recorder, files)
    same_machine = any(is_ours(address) for address in addresses(server.host))
    yield from spool_findings(section.spool, told.spool, same_machine=same_machine)


def _facts(settings: Settings, section: Asterisk, told: Survey) -> Facts:
    contact, state = contact_problem(told.contacts, settings.sip.bind)
    listens = is_listened_to(settings.sip.bind)
    about = Section(section.user, section.endpoint, listens=listens, contact=contact, contact_state=state)
    return Facts(about, told, read_files(section.config_folder, section.user))


def _recorder(section: Asterisk, login: RecorderLogin, files: list[Path]) -> Iterator[Finding]:
    """What is so of the second user, who starts recorders."""
    yield from secret_findings(login.secret_file, login.secret, files)
    try:
        told = asyncio.run(survey(manager_server(section, login), section.endpoint, (), now=time.time))
    except SettingsError:
        return  # the secret's file was named already
    except ManagerError as error:
        what = (
            f"{login.user} ([asterisk.recorder]) cannot log in ({error.what}): no call of this server will be recorded"
        )
        yield Finding("pbx-recorder", "error", f"{what}; correct its secret or its `permit` in manager.conf")
        return
    if "mixmonitor" not in told.actions:
        what = f"{login.user} may not start recorders: give it `write = system` in manager.conf, or leave "
        yield Finding("pbx-recorder", "error", what + "[asterisk.recorder] out and let the dialplan start them")
        return
    what = f"{login.user} starts recorders; whoever has its secret has a shell on the PBX (class system)"
    yield Finding("pbx-recorder", "warning", what)


def _not_reached(section: Asterisk, error: ManagerError) -> Finding:
    if isinstance(error, LoginRefused):
        what = (
            f"{section.ami} refused the login of {section.user}: write its secret of manager.conf into "
            f"{section.secret_file or 'secret in gateway.toml'}; or its `permit` lacks this machine's address, or "
            "`[general] allowmultiplelogin` is no"
        )
        return Finding("pbx-login", "error", what)
    what = (
        f"{section.ami} is out of reach ({error.what}): start Asterisk, in manager.conf write `enabled = yes` and a "
        "`bindaddr` that this machine reaches below [general], or correct `ami` in gateway.toml"
    )
    return Finding("pbx-reach", "error", what)
