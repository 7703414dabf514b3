"""The manager interface on the wire: bytes in, messages out, and actions to bytes. Pure.

A message is lines of `Key: value` that an empty line ends; the very first line of a connection is the greeting.
Values come from callers and strangers, so sizes are bounded and no error text quotes one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.ports.manager import NO_FIELDS, Fields
from gateway.wire.ami import check_action
from gateway.wire.errors import AmiError

MAX_LINE_BYTES: Final = 65_536
"""Longest line taken: a channel variable may be long, and `Output` lines are what a command prints."""

MAX_MESSAGE_BYTES: Final = 1_048_576
"""Longest message taken, line ends included."""

_GREETING: Final = re.compile(r"Asterisk Call Manager/(\d[\d.]{0,20})")

MessageKind = Literal["greeting", "response", "event", "other"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message. *name*: the version of a greeting, the status of a response, the name of an event.

    *fields* leaves the first line out. A line without a colon has the key "".
    """

    kind: MessageKind
    name: str
    fields: Fields = field(default=(), repr=False)

    def get(self, key: str) -> str:
        """Return the first value of *key*, whatever its case, or ""."""
        wanted = key.lower()
        return next((value for name, value in self.fields if name.lower() == wanted), "")


def read_greeting(line: str) -> Message:
    """Read the first line of a connection. Raises `AmiError` when it is no manager's."""
    found = _GREETING.fullmatch(line.rstrip())
    if found is None:
        raise AmiError("greeting", "what answers is no Asterisk manager interface")
    return Message("greeting", found[1])


def read_message(lines: Iterable[str]) -> Message:
    """Make a message of its lines. What kind it is, its first line alone decides."""
    pairs = [_pair(line) for line in lines]
    if not pairs:
        return Message("other", "")
    (key, name), *rest = pairs
    kinds: dict[str, MessageKind] = {"response": "response", "event": "event"}
    kind = kinds.get(key.lower())
    return Message(kind, name, tuple(rest)) if kind else Message("other", "", tuple(pairs))


def _pair(line: str) -> tuple[str, str]:
    key, colon, value = line.partition(":")
    return (key, value.removeprefix(" ")) if colon else ("", line)


@dataclass(slots=True)
class Decoder:
    """Takes a byte stream in pieces of any size. After an error it is of no use any more.

    Lines end as the greeting's did, with CRLF or with LF alone. In a CRLF stream a single LF is part of the value it
    stands in: else whoever gets one into a variable could add fields, or a whole event, of his choice.
    """

    _pending: bytearray = field(default_factory=bytearray)
    _searched: int = 0
    _lines: list[str] = field(default_factory=list)
    _size: int = 0
    _line_end: bytes = b""

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that *data* completes.

        Raises `AmiError` for a line or message that is too long, and for a stream that begins with no greeting.
        """
        self._pending += data
        messages: list[Message] = []
        start = 0
        while (end := self._pending.find(self._line_end or b"\n", max(start, self._searched))) >= 0:
            self._check_line(end - start)
            line = bytes(self._pending[start:end])
            start = end + len(self._line_end or b"\n")
            message = self._take(line) if self._line_end else self._greet(line)
            if message is not None:
                messages.append(message)
        del self._pending[:start]
        self._searched = max(len(self._pending) - 1, 0)
        self._check_line(len(self._pending))
        return messages

    def _greet(self, line: bytes) -> Message:
        self._line_end = b"\r\n" if line.endswith(b"\r") else b"\n"
        return read_greeting(line.decode("ascii", "replace"))

    def _check_line(self, length: int) -> None:
        if length > MAX_LINE_BYTES:
            raise AmiError("line", f"longer than {MAX_LINE_BYTES} bytes")

    def _take(self, line: bytes) -> Message | None:
        if line:
            self._size += len(line) + len(self._line_end)
            if self._size > MAX_MESSAGE_BYTES:
                raise AmiError("message", f"longer than {MAX_MESSAGE_BYTES} bytes")
            self._lines.append(line.decode("utf-8", "replace"))
            return None
        if not self._lines:
            return None
        lines, self._lines, self._size = self._lines, [], 0
        return read_message(lines)


def encode_action(
    name: str,
    fields: Mapping[str, str] = NO_FIELDS,
    *,
    variables: Mapping[str, str] = NO_FIELDS,
    action_id: str,
    allow_system: bool = False,
) -> bytes:
    """Encode one action that a consumer of the port asked for.

    Values often come from callers (a display name, a number): a line break in one would start a second action
    with our privileges, so it is refused. Raises `AmiError` for everything `check_action` forbids.
    """
    check_action(name, fields, variables, allow_system=allow_system)
    return _lines(name, fields, variables, action_id)


def encode_own_action(name: str, fields: Mapping[str, str], *, action_id: str) -> bytes:
    """Encode one of the actions with which a client keeps its own connection (`Login`, ...).

    Raises `AmiError` for control characters: a user's name and secret are somebody's input as well.
    """
    check_action("UserEvent", fields, NO_FIELDS, allow_system=True)
    return _lines(name, fields, NO_FIELDS, action_id)


def _lines(name: str, fields: Mapping[str, str], variables: Mapping[str, str], action_id: str) -> bytes:
    lines = [("Action", name), ("ActionID", action_id), *fields.items()]
    lines += [("Variable", f"{key}={value}") for key, value in variables.items()]
    return "".join(f"{key}: {value}\r\n" for key, value in lines).encode() + b"\r\n"
