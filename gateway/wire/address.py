"""The structured values in SIP headers: URIs, name-addr and Via (RFC 3261 sections 19.1, 20.10, 20.42 and 25.1).

Parsers accept what RFC 3261 allows, white space included, and raise `SipMessageError` for anything else.
`str()` of each value is its wire form and refuses control characters: a display name with a line break would
otherwise add a header of the caller's choice.
"""

import re
from dataclasses import dataclass, replace

from gateway.wire.errors import SipMessageError

Parameters = tuple[tuple[str, str | None], ...]

_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|<[^<>]*>|[,;]|[^",;<>]+', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_USER_SAFE = re.compile(r"[^A-Za-z0-9\-_.!~*'()&=+$,;?/#]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_HOST_PORT = re.compile(r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.\-_]*)|\[[0-9A-Fa-f:.]+\])(?:\s*:\s*(?P<port>[0-9]{1,5}))?")
_VIA_HEAD = re.compile(r"SIP\s*/\s*2\.0\s*/\s*(?P<transport>[A-Za-z0-9\-.!%*_+`'~]+)\s+", re.IGNORECASE)


def refuse_controls(value: str, where: str) -> str:
    """Return *value*, or raise `SipMessageError` if it holds a control character other than TAB."""
    if _CONTROLS.search(value):
        raise SipMessageError(where, "control character in a value to be sent")
    return value


def strip_controls(value: str) -> str:
    """Return *value* without control characters (and the backslashes that escaped them)."""
    return re.sub(r"\\?[\x00-\x08\x0a-\x1f\x7f]", "", value)


def is_token(value: str) -> bool:
    """Tell whether *value* is a `token` of RFC 3261 section 25.1."""
    return _TOKEN.fullmatch(value) is not None


def split_outside_quotes(value: str, separator: str, where: str) -> list[str]:
    """Split at each *separator* ("," or ";") outside quoted strings and angle brackets; pieces are stripped.

    Raises `SipMessageError` for an unbalanced quote or bracket.
    """
    parts: list[list[str]] = [[]]
    position = 0
    while position < len(value):
        piece = _PIECE.match(value, position)
        if piece is None:
            raise SipMessageError(where, "unbalanced quote or angle bracket")
        if piece[0] == separator:
            parts.append([])
        else:
            parts[-1].append(piece[0])
        position = piece.end()
    return ["".join(part).strip() for part in parts]


def parse_parameters(text: str, where: str) -> Parameters:
    """Read `;name=value;flag` (*text* starts with ";" or is blank). Names are lower-cased, quotes removed."""
    if not text.strip():
        return ()
    first, *pieces = split_outside_quotes(text, ";", where)
    if first:
        raise SipMessageError(where, "unexpected text before the parameters")
    parameters: list[tuple[str, str | None]] = []
    for piece in pieces:
        name, equals, value = piece.partition("=")
        name, value = name.strip(), value.strip()
        if not is_token(name) or (equals and not value):
            raise SipMessageError(where, "malformed parameter")
        quoted = _QUOTED.fullmatch(value)
        if quoted:
            value = _ESCAPED.sub(r"\1", quoted[1])
        elif re.search(r"[\s\"<>,;]", value):
            raise SipMessageError(where, "malformed parameter value")
        parameters.append((name.lower(), value if equals else None))
    return tuple(parameters)


def _quote(text: str, where: str) -> str:
    return '"' + refuse_controls(text, where).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _format_parameters(parameters: Parameters, where: str) -> str:
    pieces = []
    for name, value in parameters:
        if not is_token(name):
            raise SipMessageError(where, "parameter name is no token")
        if value is None:
            pieces.append(f";{name}")
        elif value and re.fullmatch(r"[A-Za-z0-9\-.!%*_+`'~\[\]:/@]+", value):
            pieces.append(f";{name}={value}")
        else:
            pieces.append(f";{name}={_quote(value, where)}")
    return "".join(pieces)


def _lookup(parameters: Parameters, name: str) -> str | None:
    return next((value or "" for key, value in parameters if key == name), None)


def _decode_percent(text: str) -> str:
    raw = _PERCENT.sub(lambda found: chr(int(found[1], 16)), text.encode(errors="surrogateescape").decode("latin-1"))
    return raw.encode("latin-1").decode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class SipUri:
    """A `sip:` or `sips:` URI (RFC 3261 section 19.1). *user* is unescaped; port 0: none given."""

    host: str
    port: int = 0
    user: str = ""
    scheme: str = "sip"
    parameters: tuple[str, ...] = ()
    headers: str = ""

    @classmethod
    def parse(cls, text: str, where: str = "URI") -> "SipUri":
        """Raises `SipMessageError`; status 416 for a scheme other than sip and sips (RFC 3261 section 8.2.2.1)."""
        scheme, colon, rest = text.partition(":")
        if not colon or not _SCHEME.fullmatch(scheme):
            raise SipMessageError(where, "not a URI")
        if scheme.lower() not in ("sip", "sips"):
            raise SipMessageError(where, "URI scheme is not sip or sips", status=416)
        if re.search(r'[\s<>"\x00-\x1f\x7f]', rest):
            raise SipMessageError(where, "character not allowed in a URI")
        user_part, _, host_part = rest.rpartition("@")
        user = user_part.partition(":")[0]
        hostport, question, headers = host_part.partition("?")
        hostport, *parameters = hostport.split(";")
        host = _HOST_PORT.fullmatch(hostport)
        if host is None or not all(parameters) or (question and not headers):
            raise SipMessageError(where, "malformed host, port or parameters")
        port = int(host["port"] or 0)
        if port > 65_535:
            raise SipMessageError(where, "port out of range")
        return cls(
            host=host["host"],
            port=port,
            user=_decode_percent(user),
            scheme=scheme.lower(),
            parameters=tuple(parameters),
            headers=headers,
        )

    def __str__(self) -> str:
        refuse_controls(self.user, "URI")
        user = _USER_SAFE.sub(
            lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode(errors="surrogateescape")), self.user
        )
        text = f"{self.scheme}:{user + '@' if user else ''}{self.host}{f':{self.port}' if self.port else ''}"
        text += "".join(f";{parameter}" for parameter in self.parameters)
        if self.headers:
            text += f"?{self.headers}"
        if re.search(r'[\s<>"]', text):
            raise SipMessageError("URI", "character not allowed in a URI to be sent")
        return refuse_controls(text, "URI")

    def parameter(self, name: str) -> str | None:
        """Return a URI parameter's value ("" for a flag), or None."""
        for item in self.parameters:
            key, _, value = item.partition("=")
            if key.lower() == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class NameAddress:
    """`"Display name" <uri>;parameters`: From, To, Contact, Route, Record-Route (RFC 3261 section 20.10)."""

    uri: str
    display_name: str = ""
    parameters: Parameters = ()

    @classmethod
    def parse(cls, value: str, where: str = "address") -> "NameAddress":
        text = value.strip()
        quoted = _QUOTED.match(text)
        if quoted:
            name, rest = _ESCAPED.sub(r"\1", quoted[1]), text[quoted.end() :].lstrip()
            if not rest.startswith("<"):
                raise SipMessageError(where, "quoted name without an address in angle brackets")
        elif "<" in text:
            name, _, rest = text.partition("<")
            name, rest = name.strip(), "<" + rest
            if re.search(r'[",;>]', name):
                raise SipMessageError(where, "malformed display name")
        else:
            # RFC 3261 20.10: without angle brackets every parameter belongs to the header, and a URI with a
            # comma, question mark or semicolon is not allowed there.
            uri, semicolon, rest = text.partition(";")
            uri = uri.strip()
            if not uri or re.search(r'[\s",?>]', uri) or ":" not in uri:
                raise SipMessageError(where, "malformed address")
            return cls(uri, "", parse_parameters(semicolon + rest, where))
        uri, closing, rest = rest[1:].partition(">")
        if not closing or not uri or ":" not in uri or re.search(r'[\s<"]', uri):
            raise SipMessageError(where, "malformed address in angle brackets")
        return cls(uri, name, parse_parameters(rest, where))

    def __str__(self) -> str:
        refuse_controls(self.uri, "address")
        if re.search(r'[\s<>"]', self.uri):
            raise SipMessageError("address", "character not allowed in a URI to be sent")
        name = f"{_quote(self.display_name, 'display name')} " if self.display_name else ""
        return f"{name}<{self.uri}>{_format_parameters(self.parameters, 'address')}"

    @property
    def tag(self) -> str:
        """The dialog tag, "" when there is none."""
        return _lookup(self.parameters, "tag") or ""

    def with_tag(self, tag: str) -> "NameAddress":
        """Return this address with its tag set."""
        kept = tuple(item for item in self.parameters if item[0] != "tag")
        return replace(self, parameters=(*kept, ("tag", tag)))

    @property
    def number(self) -> str:
        """The user part of the URI ("" without one): the telephone number of `sip:` and `tel:` URIs."""
        scheme, _, rest = self.uri.partition(":")
        if scheme.lower() == "tel":
            return rest.partition(";")[0]
        try:
            return SipUri.parse(self.uri).user
        except SipMessageError:
            return ""


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value (RFC 3261 section 20.42). Port 0: none given, 5060 is meant."""

    host: str
    port: int = 0
    transport: str = "UDP"
    parameters: Parameters = ()

    @classmethod
    def parse(cls, value: str) -> "Via":
        text = value.strip()
        head = _VIA_HEAD.match(text)
        host = head and _HOST_PORT.match(text, head.end())
        if head is None or host is None:
            raise SipMessageError("Via", "malformed protocol or host")
        port = int(host["port"] or 0)
        if port > 65_535:
            raise SipMessageError("Via", "port out of range")
        return cls(host["host"], port, head["transport"].upper(), parse_parameters(text[host.end() :], "Via"))

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        text = f"SIP/2.0/{self.transport} {self.host}{port}{_format_parameters(self.parameters, 'Via')}"
        return refuse_controls(text, "Via")

    def parameter(self, name: str) -> str | None:
        """Return a parameter's value ("" for a flag), or None."""
        return _lookup(self.parameters, name)

    @property
    def branch(self) -> str:
        return self.parameter("branch") or ""

    def received_from(self, host: str, port: int) -> "Via":
        """Return this Via as the receiver of the request completes it (RFC 3261 18.2.1 and RFC 3581 section 4)."""
        asks_rport = self.parameter("rport") is not None
        kept = tuple(item for item in self.parameters if item[0] not in ("received", "rport"))
        added: Parameters = ()
        if asks_rport:
            added = (("rport", str(port)), ("received", host))
        elif host != self.host.strip("[]"):
            added = (("received", host),)
        return replace(self, parameters=(*kept, *added))

    @property
    def reply_to(self) -> tuple[str, int]:
        """Where a response with this Via on top goes (RFC 3261 18.2.2, RFC 3581); an IPv6 host without brackets.

        Raises `SipMessageError`.
        """
        host = self.parameter("received") or self.host
        rport = self.parameter("rport") or ""
        if rport and not (rport.isascii() and rport.isdigit() and len(rport) <= 5 and 0 < int(rport) <= 65_535):
            raise SipMessageError("Via", "malformed rport")
        return host.strip("[]"), int(rport or self.port or 5060)
