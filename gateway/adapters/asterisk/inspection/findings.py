"""What follows from what a server and its files say: one finding for each thing, with where it is and what to do.

Pure. No text has a secret in it, or a run of digits that could be somebody's number.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.adapters.asterisk.inspection.dialplan import DialplanFacts, examine
from gateway.adapters.asterisk.inspection.files import Files
from gateway.adapters.asterisk.inspection.survey import Survey

MAX_CLOCK_S: Final = 2.0
"""More than a busy machine needs to answer, and less than a call takes."""

NEEDED_READ: Final = ("call", "dtmf", "user", "dialplan", "reporting")
NEEDED_WRITE: Final = ("call", "reporting")
_SHOWN_BY: Final = {
    "call": ("setvar",),
    "reporting": ("coreshowchannels", "showdialplan"),  # the one is system's too, the other config's
}
_SHELL: Final = {
    "system": "filter",
    "command": "command",
    "originate": "originate",
    "config": "updateconfig",
}
"""Write classes that are a shell or lead to one, and an action that needs that one and no other."""

_CONTEXTS: Final = ("consent-gate", "consent-gate-return")

State = Literal["ok", "warning", "error", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing examined. *state* "unknown": it cannot be seen from here, and the text says how to look."""

    name: str
    state: State
    what: str


@dataclass(frozen=True, slots=True)
class Section:
    """What the configuration says of a server, and what this machine knows of itself.

    *listens*: whether our SIP port is taken, by a gateway that runs. *contact*: what is wrong with the addresses that
    the server has for us, "" when nothing is; its state in *contact_state*.
    """

    user: str
    endpoint: str
    listens: bool = True
    contact: str = ""
    contact_state: State = "ok"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was found out."""

    section: Section
    survey: Survey
    files: Files = field(default_factory=Files)


def findings(facts: Facts) -> Iterator[Finding]:
    """Return what follows. A server that is still starting gives one finding: the rest would be false."""
    if not facts.survey.booted:
        yield Finding("pbx-login", "error", "it is still starting; run doctor again when it is fully booted")
        return
    yield from _files(facts)
    yield from _classes(facts)
    yield _dangerous(facts)
    yield from _readable_config(facts)
    yield from _version(facts.survey.version)
    dialplan = examine(facts.survey.dialplan)
    yield from _gate(facts, dialplan)
    yield from _endpoint(facts)
    yield from _one_key(facts, dialplan)
    yield from _phones(facts)
    yield from _queues(facts)
    yield from _recorders(dialplan)
    yield _clock(facts.survey.ahead_s)


def shown(name: str) -> str:
    """Return a name from the server's configuration, without a run of digits that may be a number.

    >>> shown("from-4930123456")
    'from-…'
    """
    return re.sub(r"\d{5,}", "…", name)


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return some names for a text."""
    some = list(dict.fromkeys(shown(name) for name in names))
    return ", ".join(some[:most]) + (f" and {len(some) - most} more" if len(some) > most else "")


# --- the user -------------------------------------------------------------------------------------------------------


def _files(facts: Facts) -> Iterator[Finding]:
    for name in facts.files.unread:
        what = f"{name} of config_folder cannot be read from here; let the gateway's user read it, or leave it out"
        yield Finding("pbx-files", "error", what)


def _classes(facts: Facts) -> Iterator[Finding]:
    user, actions = facts.section.user, facts.survey.actions
    missing = 0
    for name in NEEDED_WRITE:
        if not all(action in actions for action in _SHOWN_BY[name]):
            missing += 1
            yield _class_missing(user, "write", name, NEEDED_WRITE)
    read = facts.files.read if facts.survey.read is None else facts.survey.read
    for name in NEEDED_READ:
        if read is not None and not read & {name, "all"}:
            missing += 1
            yield _class_missing(user, "read", name, NEEDED_READ)
    if read is None:
        what = (
            f"which read classes {user} has cannot be seen over AMI; it needs {','.join(NEEDED_READ)}: look with "
            f'`asterisk -rx "manager show user {user}"`, or set config_folder'
        )
        yield Finding("pbx-classes", "unknown", what)
    elif not missing:
        yield Finding("pbx-classes", "ok", f"{user} has the classes it needs")
    yield from _too_many(facts)


def _class_missing(user: str, which: str, name: str, needed: Sequence[str]) -> Finding:
    what = (
        f"{user} lacks {which} class {name}: in manager.conf write `{which} = {','.join(needed)}` below [{user}], "
        "then `manager reload`"
    )
    return Finding("pbx-classes", "error", what)


def _too_many(facts: Facts) -> Iterator[Finding]:
    user, actions = facts.section.user, facts.survey.actions
    found = [name for name, sign in _SHELL.items() if sign in actions]
    for name in found:
        what = (
            f"{user} has write class {name}, which is a shell or leads to one for whoever has the secret: leave it out "
            f"in manager.conf, `write = {','.join(NEEDED_WRITE)}`, then `manager reload`"
        )
        yield Finding("pbx-shell", "warning", what)
    if not found:
        yield Finding("pbx-shell", "ok", f"{user} has no write class that leads to a shell")


def _dangerous(facts: Facts) -> Finding:
    told = facts.survey.dangerous
    dangerous = facts.files.dangerous if told is None else told
    if dangerous:
        what = (
            "live_dangerously is yes: whoever has the AMI secret reads and writes files of that machine (FILE, STAT); "
            "in asterisk.conf write `live_dangerously = no` below [options] and restart Asterisk"
        )
        return Finding("pbx-danger", "error", what)
    if dangerous is None:
        what = (
            "live_dangerously cannot be seen without class call and the module func_env: look with "
            "`grep live_dangerously /etc/asterisk/asterisk.conf` (no, or not there), or set config_folder"
        )
        return Finding("pbx-danger", "unknown", what)
    return Finding("pbx-danger", "ok", "live_dangerously is no")


def _readable_config(facts: Facts) -> Iterator[Finding]:
    if facts.survey.read is not None:
        what = (
            "the module func_config is loaded: whoever has the AMI secret reads every configuration file through "
            "AST_CONFIG, passwords too; unless your dialplan needs it, write `noload = func_config.so` in modules.conf "
            "and restart Asterisk, then set config_folder, since doctor uses it too"
        )
        yield Finding("pbx-config", "warning", what)


def _version(version: str | None) -> Iterator[Finding]:
    if version is not None and "dfsg" in version:
        what = (
            f"Asterisk {version} is Debian's build, whose patch 2016_opus_plc.patch leaves who joins a recorded call "
            "later out of the recording when his RTP sequence numbers start lower (it records less, never more); the "
            "cure is an Asterisk built from its own source"
        )
        yield Finding("pbx-version", "warning", what)
    elif version is not None:
        yield Finding("pbx-version", "ok", f"Asterisk {version}")


# --- the gate -------------------------------------------------------------------------------------------------------


def _gate(facts: Facts, dialplan: DialplanFacts | None) -> Iterator[Finding]:
    if dialplan is None:
        what = 'the dialplan cannot be seen (ShowDialPlan): look with `asterisk -rx "dialplan show consent-gate"`'
        yield Finding("pbx-dialplan", "unknown", what)
        return
    missing = [name for name in _CONTEXTS if name not in dialplan.contexts]
    for name in missing:
        what = (
            f"context {name} is not loaded: at the end of extensions.conf write "
            '`#include "consent/extensions_consent.conf"` (dialplan/asterisk/README.md, step 5), then `dialplan reload`'
        )
        yield Finding("pbx-dialplan", "error", what)
    if missing:
        return
    yield Finding("pbx-dialplan", "ok", "consent-gate and consent-gate-return are loaded")
    if not dialplan.routes:
        what = "no route goes through the gate, so nobody is asked: before your Dial write `Gosub(consent-gate,s,1)`"
        yield Finding("pbx-route", "warning", what)


def _endpoint(facts: Facts) -> Iterator[Finding]:
    section, survey = facts.section, facts.survey
    name = section.endpoint
    if survey.state is None:
        what = (
            f'whether {name} is there cannot be seen without class call: look with `asterisk -rx "pjsip show contacts"`'
        )
        yield Finding("pbx-endpoint", "unknown", what)
        return
    if not survey.state:
        what = (
            f"whether {name} is there cannot be seen without the module func_devstate, which the gate needs as well: "
            "write `load = func_devstate.so` in modules.conf"
        )
        yield Finding("pbx-endpoint", "error", what)
        return
    if survey.state == "INVALID":
        what = (
            f"there is no endpoint {name}: in pjsip.conf include consent/pjsip_consent.conf and write [consent-gateway]"
            "(consent-gateway-aor) with the contact (dialplan/asterisk/README.md, step 2), then `module reload "
            "res_pjsip.so`; or set endpoint to the name it has"
        )
        yield Finding("pbx-endpoint", "error", what)
        return
    if section.contact:
        yield Finding("pbx-contact", section.contact_state, section.contact)
    if survey.state == "UNAVAILABLE" and section.listens:
        what = (
            f"the contact of {name} is not Avail, though the gateway runs: let the server's UDP through to [sip] bind, "
            "and write its address among [sip] allowed_sources; `pjsip show contacts` must then say Avail"
        )
        yield Finding("pbx-endpoint", "error", what)
    elif survey.state == "UNAVAILABLE":
        what = f"the contact of {name} is not Avail, and the gateway is not running: start it, then run doctor again"
        yield Finding("pbx-endpoint", "warning", what)
    elif not section.contact:
        yield Finding("pbx-endpoint", "ok", f"{name} is there and its contact is this gateway")


# --- recordings that nobody was asked about --------------------------------------------------------------------------


def _one_key(facts: Facts, dialplan: DialplanFacts | None) -> Iterator[Finding]:
    told = facts.survey.automixmon
    key = facts.files.automixmon if told is None else told
    if key:
        what = (
            "automixmon has a key: who presses it records without asking; in features.conf take `automixmon` out of "
            "[featuremap], then `module reload features`"
        )
        yield Finding("pbx-automixmon", "error", what)
    elif key is None:
        what = 'whether automixmon has a key cannot be seen: look with `asterisk -rx "features show"`'
        yield Finding("pbx-automixmon", "unknown", what)
    else:
        yield Finding("pbx-automixmon", "ok", "automixmon has no key")
    for name in facts.files.keys:
        what = (
            f"feature code {shown(name)} starts MixMonitor: who presses it records without asking; take it out of "
            "[applicationmap] in features.conf, then `module reload features`"
        )
        yield Finding("pbx-keys", "error", what)
    if dialplan is None:
        return
    if dialplan.sets_key:
        what = (
            f"context {listed(dialplan.sets_key)} sets FEATUREMAP(automixmon): who presses that key records without "
            "asking; take the line out of extensions.conf"
        )
        yield Finding("pbx-automixmon", "error", what)
    if dialplan.one_touch:
        what = (
            f"Dial or Queue has option x or X in context {listed(dialplan.one_touch)}: it lets a person record without "
            "asking as soon as automixmon has a key; take the option out of extensions.conf"
        )
        yield Finding("pbx-options", "error" if key or dialplan.sets_key else "warning", what)
    if dialplan.unseen_options:
        what = (
            f"options of Dial or Queue come from variables in context {listed(dialplan.unseen_options)}: see that none "
            "of them is x or X"
        )
        yield Finding("pbx-options", "unknown", what)
    if not dialplan.one_touch and not dialplan.unseen_options:
        yield Finding("pbx-options", "ok", "no Dial or Queue has option x or X")


def _phones(facts: Facts) -> Iterator[Finding]:
    survey, files = facts.survey, facts.files
    buttons = {name for name, on in survey.one_touch.items() if on}
    found = sorted((buttons - set(files.pausing)) | set(files.endpoints or ()))
    for name in found[:20]:
        what = (
            f"PJSIP endpoint {shown(name)} has one_touch_recording = yes: its phone's record button records without "
            "asking, unless its record_on_feature is consent-resume and its record_off_feature consent-pause; in "
            "pjsip.conf write those, or `one_touch_recording = no`, then `module reload res_pjsip.so`"
        )
        yield Finding("pbx-one-touch", "error", what)
    if files.endpoints is None:
        seen = f"{len(survey.one_touch)} endpoints were looked at, " if survey.one_touch else ""
        what = (
            f"one_touch_recording: {seen}all others cannot be listed with this user: look with "
            "`grep -r one_touch_recording /etc/asterisk`, or set config_folder"
        )
        yield Finding("pbx-one-touch", "unknown", what)
    elif not found:
        yield Finding("pbx-one-touch", "ok", "no PJSIP endpoint has one_touch_recording")


def _queues(facts: Facts) -> Iterator[Finding]:
    told, files = facts.survey.queues, facts.files.queues
    found = sorted({name for name, format in told.items() if format} | set(files or ()))
    for name in found[:20]:
        what = (
            f"queue {shown(name)} has a monitor-format, so it records every caller, asked or not: in queues.conf take "
            "`monitor-format` and `monitor-type` out, then `queue reload all`"
        )
        yield Finding("pbx-queues", "error", what)
    if found:
        return
    if files is None and None in told.values():
        what = (
            "whether the queues record (monitor-format) cannot be seen over AMI: look with "
            "`grep -n monitor- /etc/asterisk/queues.conf`, or set config_folder"
        )
        yield Finding("pbx-queues", "unknown", what)
    else:
        yield Finding("pbx-queues", "ok", "no queue records by itself" if told or files else "there are no queues")


def _recorders(dialplan: DialplanFacts | None) -> Iterator[Finding]:
    if dialplan is not None and dialplan.recorders:
        what = (
            f"MixMonitor is started in context {listed(dialplan.recorders)}, whatever the caller said: take it out of "
            "extensions.conf, the gate starts it when it may"
        )
        yield Finding("pbx-recorders", "warning", what)


# --- time -----------------------------------------------------------------------------------------------------------


def _clock(ahead_s: float | None) -> Finding:
    if ahead_s is None:
        what = "the server does not tell its time: compare `date -u` on both machines"
        return Finding("pbx-clock", "unknown", what)
    if abs(ahead_s) > MAX_CLOCK_S:
        direction = "ahead of" if ahead_s > 0 else "behind"
        what = (
            f"the server's clock is {abs(ahead_s):.1f} s {direction} ours: evidence and call records would contradict "
            "each other; let both follow one time server (chrony, systemd-timesyncd)"
        )
        return Finding("pbx-clock", "error", what)
    return Finding("pbx-clock", "ok", f"the server's clock differs by {abs(ahead_s) * 1000:.0f} ms")
