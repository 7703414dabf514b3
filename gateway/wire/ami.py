"""What may be said to an Asterisk manager, whatever client says it.

The manager's permissions are coarse: class `system` is a shell, class `command` the whole command line, and one
line break in a value starts a second action with our privileges. So nothing is escaped here, it is refused, and
what is not on the list below is not sent.
"""

import re
from collections.abc import Mapping
from typing import Final

from gateway.wire.errors import AmiError

MAX_LINE_BYTES: Final = 1022
"""Longest line Asterisk takes (its buffer is 1024 bytes with CRLF); of a longer one it acts on nothing."""

MAX_LINES: Final = 128
"""Most lines of one action that Asterisk takes."""

PERMITTED: Final = frozenset(
    {
        # what a switch can be asked
        *("ping", "listcommands", "corestatus", "coresettings", "coreshowchannels", "coreshowchannelmap", "status"),
        *("bridgelist", "bridgeinfo", "getvar", "extensionstate", "presencestate", "devicestatelist"),
        *("queuestatus", "queuesummary", "parkedcalls", "confbridgelist", "confbridgelistrooms"),
        *("pjsipshowendpoints", "pjsipshowendpoint", "pjsipshowcontacts", "pjsipshowregistrationsoutbound"),
        "showdialplan",
        # what makes less recording, and call control of class `call`
        *("mixmonitormute", "stopmixmonitor", "confbridgestoprecord"),
        *("hangup", "setvar", "redirect", "blindtransfer", "atxfer", "cancelatxfer", "bridge", "bridgekick"),
        *("muteaudio", "playdtmf", "userevent", "absolutetimeout", "sendtext"),
    }
)
"""Actions (lower case) a client without `allow_system` may send, besides the read-only forms of `Command`."""

_OWN: Final = frozenset({"login", "logoff", "challenge", "events", "waitevent"})
_FUNCTIONS: Final = frozenset(
    {"CHANNEL", "CALLERID", "CONNECTEDLINE", "PJSIP_HEADER", "DEVICE_STATE", "MIXMONITOR", "CDR"}
)
_PROBE: Final = re.compile(
    r"STAT\(e,/\)"  # is there a root folder: answered only with live_dangerously = yes
    r"|ENV\(AST_VERSION\)|FEATUREMAP\(automixmon\)"
    r"|PJSIP_DIAL_CONTACTS\([A-Za-z0-9_.-]{1,80}\)|PJSIP_ENDPOINT\([A-Za-z0-9_.-]{1,80},one_touch_recording\)"
    r"|AST_CONFIG\((?:manager\.conf,[A-Za-z0-9_.-]{1,80},(?:read|write),-1"
    r"|queues\.conf,[A-Za-z0-9_.-]{1,80},monitor-format,-1)\)"
)
"""What `consent-gateway doctor` asks a server beside: whole values of a Getvar without a channel. They read one setting
each, none of them a secret, and change nothing."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SPLITS_VARIABLES: Final = re.compile(r'[,"\\]')
_READ_ONLY_COMMAND: Final = re.compile(r"(?:mixmonitor list [^\s\"'\\;|]+(?:;[12])?|core show [^\"'\\;|]+)")
_FUNCTION: Final = re.compile(r"([A-Za-z0-9_]+)\(")


def check_action(name: str, fields: Mapping[str, str], variables: Mapping[str, str], *, allow_system: bool) -> None:
    """Raise `AmiError` unless the action may be sent. The text never quotes a value.

    Never, whatever the user's classes: a line break or control character anywhere; a line or a message that is
    longer than Asterisk takes; a variable's value with `,`, `"` or a backslash (Asterisk would split or change it);
    `Command` other than `core show ...` and `mixmonitor list CHANNEL`; a field `Command` of another action
    (MixMonitor hands it to a shell); `MixMonitorMute` that unmutes without a `MixMonitorID` (it would open every
    recorder on the channel, whoever muted it); the actions with which a client keeps its own connection.

    Only with *allow_system*: everything that is not in `PERMITTED` (`Originate`, `UpdateConfig`, `MixMonitor`,
    whatever needs class `system`), and dialplan functions other than those that read or set a call's own data, and
    the few of `_PROBE`.
    """
    _check_form(name, fields, variables)
    action = name.lower()
    if action in _OWN:
        raise AmiError("Action", "the client logs in, out and chooses events by itself")
    given = {key.lower(): value for key, value in fields.items()}
    if action == "command":
        if _READ_ONLY_COMMAND.fullmatch(given.get("command", "")) is None:
            raise AmiError("Command", "only `core show ...` and `mixmonitor list CHANNEL` are ever sent")
        return
    if "command" in given:
        raise AmiError("Command", "a shell command is never sent")
    if action == "mixmonitormute" and given.get("state") != "1" and not given.get("mixmonitorid"):
        raise AmiError("MixMonitorID", "missing, and without it every recorder on the channel would be opened")
    if allow_system:
        return
    if action not in PERMITTED:
        raise AmiError("Action", f"{name} is not among the actions permitted without allow_system")
    if action == "getvar" and given.keys() == {"variable"} and _PROBE.fullmatch(given["variable"]):
        return
    for key in ("variable", "variables"):
        if {function.upper() for function in _FUNCTION.findall(given.get(key, ""))} - _FUNCTIONS:
            raise AmiError(key.title(), "calls a dialplan function that is not permitted without allow_system")


def _check_form(name: str, fields: Mapping[str, str], variables: Mapping[str, str]) -> None:
    if _NAME.fullmatch(name) is None:
        raise AmiError("Action", "not a name of an action")
    _check_line("Action", name, "Action")
    if len(fields) + len(variables) + 2 > MAX_LINES:
        raise AmiError("Action", f"more than {MAX_LINES} lines, which Asterisk would not take")
    seen = {"action", "actionid"}
    for key, value in fields.items():
        if _NAME.fullmatch(key) is None:
            raise AmiError("Action", "a field's name has characters other than letters, digits, `_` and `-`")
        if key.lower() in seen:
            raise AmiError(key[:40], "given twice, or not for the caller to give")
        seen.add(key.lower())
        _check_line(key, value, key)
    for key, value in variables.items():
        if _VARIABLE_NAME.fullmatch(key) is None:
            raise AmiError("Variable", "not a name of a channel variable")
        if _SPLITS_VARIABLES.search(value):
            raise AmiError("Variable", "a value with a comma, a double quote or a backslash would be split or changed")
        _check_line("Variable", f"{key}={value}", "Variable")


def _check_line(key: str, value: str, where: str) -> None:
    if _CONTROLS.search(value):
        raise AmiError(where[:40], "line break or control character in a value to be sent")
    if len(f"{key}: {value}".encode()) > MAX_LINE_BYTES:
        raise AmiError(where[:40], f"line longer than the {MAX_LINE_BYTES} bytes Asterisk takes")
