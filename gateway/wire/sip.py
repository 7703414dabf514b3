"""SIP messages in UDP datagrams, parsed and serialised (RFC 3261 sections 7, 18.3, 20 and 25).

Pure: bytes in, messages out. A datagram may hold anything: `parse` either returns a message or raises
`SipMessageError`, never anything else. What may go out is stricter than what may come in: `encode` refuses
control characters, so that no value can start a header of its own.

Text is UTF-8; bytes that are not survive as surrogate escapes, so a proxy passes them on unchanged.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from gateway.wire.address import (
    NameAddress,
    SipUri,
    Via,
    is_token,
    refuse_controls,
    split_outside_quotes,
    strip_controls,
)
from gateway.wire.errors import SipMessageError

MAX_MESSAGE_BYTES = 65_535
MAX_HEADERS = 256

BRANCH_COOKIE = "z9hG4bK"
"""Every branch made under RFC 3261 starts with it (section 8.1.1.7)."""

REASONS = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}

_COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}
_SINGLE = ("from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type")
_VERSION = re.compile(r"SIP/[0-9]+\.[0-9]+", re.IGNORECASE)
_CSEQ = re.compile(r"([0-9]{1,10})\s+(\S+)")

Headers = tuple[tuple[str, str], ...]


def header_key(name: str) -> str:
    """Return the name as it is compared: lower case, compact forms written out (RFC 3261 section 7.3.3)."""
    lower = name.lower()
    return _COMPACT.get(lower, lower)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What requests and responses share. *headers* are (name, value) rows in the order of the wire, unfolded."""

    headers: Headers = ()
    body: bytes = b""

    def first(self, name: str) -> str | None:
        """Return the first row's value of a header, or None."""
        key = header_key(name)
        return next((value for row, value in self.headers if header_key(row) == key), None)

    def rows(self, name: str) -> tuple[str, ...]:
        """Return the values of all rows of a header."""
        key = header_key(name)
        return tuple(value for row, value in self.headers if header_key(row) == key)

    def listed(self, name: str) -> tuple[str, ...]:
        """Return all values of a header that may hold several in a row, separated by commas."""
        return tuple(item for row in self.rows(name) for item in split_outside_quotes(row, ",", header_key(name)))

    def with_rows(self, name: str, values: Iterable[str]) -> Self:
        """Return a copy in which *values* stand for all rows of the header, where its first row was (or at the end)."""
        key = header_key(name)
        added = [(name, value) for value in values]
        at = next((index for index, (row, _) in enumerate(self.headers) if header_key(row) == key), len(self.headers))
        kept = [row for row in self.headers[at:] if header_key(row[0]) != key]
        return replace(self, headers=(*self.headers[:at], *added, *kept))

    def with_first(self, name: str, value: str) -> Self:
        """Return a copy with a row put before all others."""
        return replace(self, headers=((name, value), *self.headers))

    @property
    def call_id(self) -> str:
        return self.first("call-id") or ""

    @property
    def from_address(self) -> NameAddress:
        """Raises `SipMessageError` when From is missing or malformed; so do all properties below."""
        return NameAddress.parse(self.first("from") or "", "From")

    @property
    def to_address(self) -> NameAddress:
        return NameAddress.parse(self.first("to") or "", "To")

    @property
    def contact(self) -> NameAddress | None:
        """The first Contact, or None without one."""
        contacts = self.listed("contact")
        return NameAddress.parse(contacts[0], "Contact") if contacts else None

    @property
    def vias(self) -> tuple[Via, ...]:
        return tuple(Via.parse(value) for value in self.listed("via"))

    @property
    def top_via(self) -> Via:
        values = self.listed("via")
        if not values:
            raise SipMessageError("Via", "missing")
        return Via.parse(values[0])

    def with_top_via(self, via: Via) -> Self:
        """Return a copy in which *via* stands for the topmost Via."""
        return self.with_rows("Via", (str(via), *self.listed("via")[1:]))

    @property
    def cseq(self) -> tuple[int, str]:
        """Sequence number (below 2**31, RFC 3261 section 8.1.1.5) and method."""
        found = _CSEQ.fullmatch((self.first("cseq") or "").strip())
        if found is None or int(found[1]) >= 2**31 or not is_token(found[2]):
            raise SipMessageError("CSeq", "missing or malformed")
        return int(found[1]), found[2]

    def _encode(self, start_line: str) -> bytes:
        lines = [refuse_controls(start_line, "start line")]
        for name, value in self.headers:
            if not is_token(name):
                raise SipMessageError("header name", "not a token")
            if header_key(name) != "content-length":
                lines.append(f"{name}: {refuse_controls(value, header_key(name))}")
        lines.append(f"Content-Length: {len(self.body)}")
        try:
            head = "\r\n".join(lines).encode(errors="surrogateescape")
        except UnicodeEncodeError:
            raise SipMessageError("message", "text that is not Unicode") from None
        datagram = head + b"\r\n\r\n" + self.body
        if len(datagram) > MAX_MESSAGE_BYTES:
            raise SipMessageError("message", f"{len(datagram)} bytes, over {MAX_MESSAGE_BYTES}", status=513)
        return datagram


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Message):
    """A request. *uri* is kept as text: it may have a scheme of any kind."""

    method: str
    uri: str

    def encode(self) -> bytes:
        """Return the datagram, with its Content-Length set. Raises `SipMessageError` (module docstring)."""
        if not is_token(self.method) or not self.uri or re.search(r"\s", self.uri):
            raise SipMessageError("start line", "method or URI cannot be sent")
        return self._encode(f"{self.method} {self.uri} SIP/2.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Message):
    """A response; *status* is 100 to 699."""

    status: int
    reason: str = ""

    def encode(self) -> bytes:
        """Return the datagram, with its Content-Length set. Raises `SipMessageError` (module docstring)."""
        if not 100 <= self.status <= 699:
            raise SipMessageError("start line", "status out of range")
        return self._encode(f"SIP/2.0 {self.status} {self.reason}")


def parse(datagram: bytes) -> Request | Response:
    """Read one datagram; blank lines before it and octets after Content-Length are ignored (RFC 3261 7.5, 18.3).

    Reads the message's frame only: the values of headers are checked when they are asked for, or by
    `check_request`. Raises `SipMessageError`, with `request` set if what could be read can be answered.
    """
    if len(datagram) > MAX_MESSAGE_BYTES:
        raise SipMessageError("message", f"over {MAX_MESSAGE_BYTES} bytes", status=513)
    head, blank, body = datagram.lstrip(b"\r\n").partition(b"\r\n\r\n")
    start_line, *lines = head.decode(errors="surrogateescape").split("\r\n")
    message, defect = _parse_start_line(start_line)
    headers, header_defect = _parse_headers(lines)
    message = replace(message, headers=headers)
    body, body_defect = _cut_body(message, body)
    if not blank:
        body_defect = SipMessageError("message", "no blank line after the headers")
    message = replace(message, body=body)
    defect = defect or header_defect or body_defect
    if defect is not None:
        defect.request = message if isinstance(message, Request) else None
        raise defect
    return message


def _parse_start_line(line: str) -> tuple[Request | Response, SipMessageError | None]:
    first, _, rest = line.partition(" ")
    if first.upper() == "SIP/2.0":
        code, _, reason = rest.partition(" ")
        if not re.fullmatch(r"[1-6][0-9][0-9]", code):
            raise SipMessageError("start line", "malformed status")
        if "\r" in reason or "\n" in reason:
            raise SipMessageError("start line", "stray line break")
        return Response(status=int(code), reason=reason), None
    uri, space, version = rest.rpartition(" ")
    if not is_token(first) or not rest:
        raise SipMessageError("start line", "neither a request nor a response")
    request = Request(method=first, uri=uri)
    if not _VERSION.fullmatch(version):
        return request, SipMessageError("start line", "malformed request line")
    if version.upper() != "SIP/2.0":
        return request, SipMessageError("start line", "unknown SIP version", status=505)
    if not space or not uri or re.search(r"[\s<>]", uri):
        return request, SipMessageError("start line", "malformed request URI")
    return request, None


def _parse_headers(lines: list[str]) -> tuple[Headers, SipMessageError | None]:
    rows: list[tuple[str, list[str]]] = []
    defect: SipMessageError | None = None
    for line in lines:
        if line[:1] in (" ", "\t") and rows:
            rows[-1][1].append(line.strip(" \t"))
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not is_token(name):
            defect = defect or SipMessageError("headers", "line that is no header")
        elif len(rows) == MAX_HEADERS:
            return _join(rows), SipMessageError("headers", f"more than {MAX_HEADERS} rows")
        else:
            rows.append((name, [value.strip(" \t")]))
        if "\r" in value or "\n" in value:
            defect = defect or SipMessageError("headers", "stray line break")
    return _join(rows), defect


def _join(rows: list[tuple[str, list[str]]]) -> Headers:
    return tuple((name, " ".join(pieces).strip(" ")) for name, pieces in rows)


def _cut_body(message: Message, body: bytes) -> tuple[bytes, SipMessageError | None]:
    lengths = set(message.rows("content-length"))
    if not lengths:
        return body, None
    length = lengths.pop()
    if lengths:
        return body, SipMessageError("Content-Length", "given twice with different values")
    if not re.fullmatch(r"[0-9]{1,9}", length):
        return body, SipMessageError("Content-Length", "not a number")
    if int(length) > len(body):
        return body, SipMessageError("Content-Length", "more than the datagram holds")
    return body[: int(length)], None


def check_request(request: Request) -> None:
    """Check what every element needs of a request (RFC 3261 sections 8.1.1 and 16.3).

    Raises `SipMessageError` with the status to answer: a mandatory header missing, doubled or malformed, a CSeq
    that names another method, a Request-URI that is no usable SIP URI (416 for other schemes).
    """
    try:
        for name in _SINGLE:
            if len(request.rows(name)) > 1:
                raise SipMessageError(name, "given more than once")
        if not request.call_id or re.search(r"\s", request.call_id):
            raise SipMessageError("Call-ID", "missing or malformed")
        for address in (request.from_address, request.to_address):
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\x00-\x20\x7f]+", address.uri):
                raise SipMessageError("From or To", "malformed URI")
        if request.cseq[1] != request.method:
            raise SipMessageError("CSeq", "names another method")
        if not request.vias:
            raise SipMessageError("Via", "missing")
        hops = request.first("max-forwards")
        if hops is not None and (not re.fullmatch(r"[0-9]{1,10}", hops) or int(hops) > 255):
            raise SipMessageError("Max-Forwards", "not a number from 0 to 255")
        for name in ("contact", "route", "record-route"):
            for value in request.listed(name):
                if value != "*":
                    NameAddress.parse(value, name)
        if SipUri.parse(request.uri, "Request-URI").headers:
            raise SipMessageError("Request-URI", "holds headers")
    except SipMessageError as error:
        error.request = request
        raise


def respond(
    request: Request, status: int, *, reason: str = "", to_tag: str = "", headers: Headers = (), body: bytes = b""
) -> Response:
    """Build the response to *request* (RFC 3261 section 8.2.6.2): Via, From, To, Call-ID and CSeq are copied.

    *to_tag* is added to To unless it has a tag. Escaped control characters in the display names are left out, so
    that the response can be sent; what is missing in the request stays missing.
    """
    rows: list[tuple[str, str]] = [("Via", value) for value in request.rows("via")]
    for name in ("From", "To", "Call-ID", "CSeq"):
        value = request.first(name)
        if value is not None:
            rows.append((name, strip_controls(value) if name in ("From", "To") else value))
    response = Response(
        status=status, reason=reason or REASONS.get(status, "Unknown"), headers=(*rows, *headers), body=body
    )
    to = response.first("to")
    if not to_tag or to is None:
        return response
    try:
        if response.to_address.tag:
            return response
    except SipMessageError:
        # An unreadable To is echoed as it is: a tag glued to it would not make it readable.
        return response
    return response.with_rows("To", (f"{to};tag={to_tag}",))
