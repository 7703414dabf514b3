"""The few SIP header fields a worker reads and writes itself. Pure; hostile input gives empty values, never an error.

Grammar: RFC 3261 section 25.1. The library has parsed the message already, so this only picks out values.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

MAX_NAME: Final = 128
MAX_NUMBER: Final = 64
MAX_VALUE: Final = 1024
MAX_PASSED_ON: Final = 4096

_NOT_TEXT = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+\Z")
_NAME_ADDR = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^<"]*?))\s*<\s*([^>]*)>')
_USER = re.compile(r"sips?:([^@>\s]*)@|tel:([^?>\s]*)", re.IGNORECASE)
_COMPACT: Final = {"f": "from", "t": "to", "i": "call-id", "v": "via", "m": "contact"}
_PASSED_ON = re.compile(r"(x-[a-z0-9-]+|p-asserted-identity|privacy|diversion|history-info|user-to-user)\Z")


class Refused(ValueError):
    """A value that would break out of its header. The text never quotes the value."""


class Party(NamedTuple):
    """The display name and the user part of a name-addr, unescaped."""

    name: str
    number: str


def refuse_control(value: str, limit: int) -> str:
    """Return *value*. Raises `Refused` when it has a control character or is longer than *limit*."""
    if _CONTROL.search(value):
        raise Refused("a control character in a SIP header value")
    if len(value) > limit:
        raise Refused("a SIP header value is too long")
    return value


def header_fields(message: str) -> list[tuple[str, str]]:
    """All header fields of a message as (lower-case long name, value), folded lines joined.

    Bytes that are not UTF-8 (an old phone's display name) become U+FFFD: what is kept as evidence must be text.
    """
    head = _NOT_TEXT.sub("\ufffd", message).replace("\r\n", "\n").split("\n\n", 1)[0]
    fields: list[tuple[str, str]] = []
    for line in head.split("\n")[1:]:
        if line[:1] in (" ", "\t") and fields:
            name, value = fields[-1]
            fields[-1] = (name, f"{value} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if colon:
            lower = name.strip().lower()
            fields.append((_COMPACT.get(lower, lower), value.strip()))
    return fields


def passed_on(fields: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The header fields that the control process may want to see: extensions and identity.

    Whole fields only, for as long as they fit into `MAX_PASSED_ON` characters together.
    """
    kept: list[tuple[str, str]] = []
    room = MAX_PASSED_ON
    for name, value in fields:
        if not _PASSED_ON.match(name):
            continue
        room -= len(name) + len(value)
        if room < 0:
            break
        kept.append((name, value))
    return tuple(kept)


def party(value: str) -> Party:
    """Read a From, To or P-Asserted-Identity value.

    >>> party('"Ann \\\\"A\\\\" B" <sip:+49151@example.com;user=phone>;tag=1')
    Party(name='Ann "A" B', number='+49151')
    >>> party('sip:bob@example.com;tag=2')
    Party(name='', number='bob')
    """
    match = _NAME_ADDR.match(value)
    name, uri = "", value
    if match:
        quoted, plain, uri = match.groups()
        name = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
    return Party(_CONTROL.sub("", name)[:MAX_NAME], _number(uri))


def request_uri(message: str) -> str:
    """The Request-URI of a request's whole text; "" when its first line has none.

    >>> request_uri('INVITE sip:+4930@192.0.2.1 SIP/2.0\\r\\nTo: <sip:reception@192.0.2.1>\\r\\n')
    'sip:+4930@192.0.2.1'
    """
    words = _NOT_TEXT.sub("\ufffd", message).lstrip("\r\n").split("\n", 1)[0].split()
    return words[1].strip("<>") if len(words) > 1 else ""


def called_number(uri: str, to: str) -> str:
    """The number that was dialled, by the Request-URI *uri* and the value *to* of the To header.

    A request is for its Request-URI (RFC 3261 section 8.2.2.1); To is what the caller asked for at first, and a PBX
    that forwards the call leaves it as it was. It counts only where the Request-URI names nobody.

    >>> called_number('sip:+4930;phone-context=x@192.0.2.1;user=phone', '<sip:reception@192.0.2.1>')
    '+4930'
    >>> called_number('sip:192.0.2.1', '<sip:reception@192.0.2.1>')
    'reception'
    """
    return _number(uri) or party(to).number


def moved_to(uri: str, address: str) -> str:
    """The Contact that sends the caller of *uri* to *address* (`host:port`): still to the same user, with whatever
    parameters it has, because the new Request-URI is the Contact's (RFC 3261 section 8.1.3.4). A tel URI becomes a
    SIP URI as section 19.1.6 says. No control character comes out.

    >>> moved_to('sip:+49%2030;phone-context=x@192.0.2.1:5071;transport=udp', '192.0.2.9:5060')
    '<sip:+49%2030;phone-context=x@192.0.2.9:5060>'
    >>> moved_to('tel:+4930', '192.0.2.9:5060')
    '<sip:+4930@192.0.2.9:5060;user=phone>'
    """
    found = _USER.match(uri)
    user, telephone = found.groups() if found else (None, None)
    kept = quote((user or telephone or "").partition(":")[0], safe="%-_.!~*'()&=+$,;?/")
    return f"<sip:{kept}{'@' if kept else ''}{address}{';user=phone' if telephone else ''}>"


def _number(uri: str) -> str:
    """The user of a sip or sips URI, the number of a tel URI, "" for others.

    Password and parameters (`;phone-context=...`, RFC 3966) are left out before anything is unescaped: an escaped
    separator is part of the name.
    """
    found = _USER.match(uri.strip())
    user = (found[1] or found[2] or "") if found else ""
    return _CONTROL.sub("", unquote(re.split("[:;]", user, maxsplit=1)[0]))[:MAX_NUMBER]


def name_addr(name: str, number: str, host: str) -> str:
    """Write a From value: the name quoted (section 25.1, quoted-string), the number percent-encoded.

    Raises `Refused` for control characters: names and numbers come from callers, and a line break would start a
    header of their own.

    >>> name_addr('Ann "A"', '+49 151', '192.0.2.1')
    '"Ann \\\\"A\\\\"" <sip:+49%20151@192.0.2.1>'
    >>> name_addr('', '', '192.0.2.1')
    '<sip:anonymous@192.0.2.1>'
    """
    refuse_control(name, MAX_NAME)
    refuse_control(number, MAX_NUMBER)
    user = quote(number, safe="-_.!~*'()&=+$,") or "anonymous"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <sip:{user}@{host}>' if name else f"<sip:{user}@{host}>"


def header_name(name: str) -> str:
    """Return *name*. Raises `Refused` unless it is a token (section 25.1)."""
    if len(name) > MAX_NAME or not _TOKEN.match(name):
        raise Refused("not a SIP header name")
    return name


def via_source(fields: list[tuple[str, str]], packet_source: str) -> str:
    """Where the request really came from: behind our own front, the second Via knows; else the packet's source."""
    vias = [item.strip() for name, value in fields if name == "via" for item in value.split(",")]
    if len(vias) < 2:
        return packet_source
    sent_by, *parameters = (part.strip() for part in vias[1].split(";"))
    host, _, port = (sent_by.rsplit(None, 1)[-1] if sent_by else "").partition(":")
    given = dict(part.partition("=")[::2] for part in parameters)
    return f"{given.get('received') or host}:{given.get('rport') or port or '5060'}"
