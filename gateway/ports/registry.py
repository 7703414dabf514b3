"""What the gateway remembers about calls, recordings and API keys. Changeable state, unlike the evidence."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, Protocol

CallState = Literal["open", "ended"]
RecordingState = Literal["open", "closed", "destroyed"]


class RegistryUnavailable(RuntimeError):
    """The change did not reach the disk, or the database cannot be read."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call. Times are UTC; *verdict* is that of the caller, "" while there is none."""

    call_id: str
    started_at: datetime
    policy: str
    state: CallState = "open"
    verdict: str = ""
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PbxPlace:
    """Where a PBX keeps a recording: the server's label, and the file there, "" as long as nobody has told it."""

    server: str
    file: str = field(repr=False, default="")

    def __str__(self) -> str:
        """Spell it as a `path` of the registry: `asterisk:SERVER:FILE`. Our own paths begin with a slash.

        >>> str(PbxPlace("pbx1", "/spool/one.wav"))
        'asterisk:pbx1:/spool/one.wav'
        """
        return f"{_PBX}:{self.server}:{self.file}"


_PBX = "asterisk"


@dataclass(frozen=True, slots=True)
class RecordingRecord:
    """One recording. *wrapped* is its wrapped key, empty once that is destroyed; *size* in bytes, *frames* of 20 ms.

    One that a PBX makes has neither key nor recipient, and its *path* is a `PbxPlace`, spelled. It is destroyed when
    its file was removed; closed without *sha256*: its file was not read, or there is none.
    """

    recording: str
    call_id: str
    path: str
    recipient: str
    opened_at: datetime
    wrapped: bytes = field(repr=False)
    state: RecordingState = "open"
    sha256: str = ""
    size: int = 0
    frames: int = 0
    closed_at: datetime | None = None

    @property
    def kept_by(self) -> PbxPlace | None:
        """Where the PBX that makes it keeps it; None for a recording of our own."""
        kind, _, place = self.path.partition(":")
        server, colon, file = place.partition(":")
        return PbxPlace(server, file) if kind == _PBX and colon else None


class CallRegistry(Protocol):
    """Calls and their recordings. Every change is on the disk when its method returns.

    All methods raise `RegistryUnavailable`; those about one thing raise `KeyError` when there is no such thing.
    """

    async def call_started(self, call_id: str, *, policy: str) -> None:
        """Note a new call under the policy of this name. Raises `ValueError` when there is one of this id."""
        ...

    async def call_verdict(self, call_id: str, verdict: str) -> None:
        """Note the caller's present verdict."""
        ...

    async def call_ended(self, call_id: str, *, verdict: str) -> None:
        """Note the end and the caller's last verdict. A call that has ended already keeps its first end."""
        ...

    async def call(self, call_id: str) -> CallRecord: ...

    async def open_calls(self) -> Sequence[CallRecord]:
        """Return this gateway's calls without an end, oldest first: after a crash, those to recover. Other gateways
        that share the registry have calls of their own."""
        ...

    async def calls(self, limit: int = 100) -> Sequence[CallRecord]:
        """Return the latest calls, newest first."""
        ...

    async def recording_opened(
        self, recording: str, *, call_id: str, path: str, recipient: str, wrapped: bytes
    ) -> None:
        """Note a recording before its file exists: without its key on the disk it could never be read.
        Raises `ValueError` when there is one of this id, `KeyError` when there is no such call."""
        ...

    async def recording_placed(self, recording: str, *, path: str) -> None:
        """Note where the file is: a PBX tells it only when its recorder runs."""
        ...

    async def recording_closed(self, recording: str, *, sha256: str, size: int, frames: int) -> None:
        """Note the sealed file's facts. A destroyed recording stays destroyed."""
        ...

    async def recording_destroyed(self, recording: str) -> None:
        """Destroy the wrapped key, and with it the recording. Doing it twice is no error."""
        ...

    async def recording(self, recording: str) -> RecordingRecord: ...

    async def recordings(self, call_id: str) -> Sequence[RecordingRecord]:
        """Return the call's recordings, oldest first; none is not an error."""
        ...

    async def latest_recordings(self, limit: int = 100) -> Sequence[RecordingRecord]:
        """Return the latest recordings of all calls, newest first."""
        ...

    async def open_recordings(self) -> Sequence[RecordingRecord]:
        """Return the recordings of this gateway's calls that were never closed: after a crash, those to examine."""
        ...


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Whom a key stands for. *agent*: the agent it may act for, "" for none in particular."""

    key_id: str
    name: str
    role: str
    agent: str
    created_at: datetime
    revoked: bool = False


class ApiKeys(Protocol):
    """API keys: 256 random bits, kept as a SHA-256 only. All methods raise `RegistryUnavailable`."""

    async def create(self, name: str, role: str, agent: str = "") -> tuple[ApiKey, str]:
        """Make a key; its clear text is returned this once and kept nowhere."""
        ...

    async def check(self, clear: str) -> ApiKey | None:
        """Return whom the key stands for; `None` for an unknown, malformed or revoked one. Takes the same time
        for a wrong secret wherever it differs."""
        ...

    async def revoke(self, key_id: str) -> None:
        """Revoke a key. Raises `KeyError` for an unknown one."""
        ...

    async def all(self) -> Sequence[ApiKey]:
        """Return every key, oldest first."""
        ...


KEY_PREFIX = "cgk"


def spell_key(key_id: str, secret: bytes) -> str:
    """Return a key's clear text, `cgk_ID_SECRET`, both in hexadecimal."""
    return f"{KEY_PREFIX}_{key_id}_{secret.hex()}"


def split_key(clear: str) -> tuple[str, bytes] | None:
    """Return id and secret of a clear key, or `None` when it is malformed."""
    parts = clear.split("_")
    if len(parts) != 3 or parts[0] != KEY_PREFIX or len(parts[1]) != 16 or len(parts[2]) != 64:
        return None
    try:
        secret = bytes.fromhex(parts[2])
    except ValueError:
        return None
    return parts[1], secret


def secret_matches(secret: bytes, sha256: bytes) -> bool:
    """Compare a secret with its stored hash in constant time."""
    return hmac.compare_digest(hashlib.sha256(secret).digest(), sha256)


# --- fakes ----------------------------------------------------------------------------------------------


def _epoch() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class FakeCallRegistry:
    """Calls and recordings in memory. `fail_next(n)` makes the next *n* changes raise."""

    clock: Callable[[], datetime] = _epoch
    all_calls: dict[str, CallRecord] = field(default_factory=dict)
    all_recordings: dict[str, RecordingRecord] = field(default_factory=dict)
    _failing: int = 0

    def fail_next(self, count: int = 1) -> None:
        self._failing += count

    def _change(self) -> None:
        if self._failing:
            self._failing -= 1
            raise RegistryUnavailable("the fake registry was told to fail")

    async def call_started(self, call_id: str, *, policy: str) -> None:
        self._change()
        if call_id in self.all_calls:
            raise ValueError("there is a call of this id")
        self.all_calls[call_id] = CallRecord(call_id, self.clock(), policy)

    async def call_verdict(self, call_id: str, verdict: str) -> None:
        self._change()
        self.all_calls[call_id] = replace(self.all_calls[call_id], verdict=verdict)

    async def call_ended(self, call_id: str, *, verdict: str) -> None:
        self._change()
        known = self.all_calls[call_id]
        if known.state == "open":
            self.all_calls[call_id] = replace(known, ended_at=self.clock(), verdict=verdict, state="ended")

    async def call(self, call_id: str) -> CallRecord:
        return self.all_calls[call_id]

    async def open_calls(self) -> Sequence[CallRecord]:
        return [call for call in self._by_start() if call.state == "open"]

    async def calls(self, limit: int = 100) -> Sequence[CallRecord]:
        return self._by_start()[::-1][:limit]

    def _by_start(self) -> list[CallRecord]:
        return sorted(self.all_calls.values(), key=lambda call: (call.started_at, call.call_id))

    async def recording_opened(
        self, recording: str, *, call_id: str, path: str, recipient: str, wrapped: bytes
    ) -> None:
        self._change()
        if recording in self.all_recordings:
            raise ValueError("there is a recording of this id")
        if call_id not in self.all_calls:
            raise KeyError(call_id)
        self.all_recordings[recording] = RecordingRecord(recording, call_id, path, recipient, self.clock(), wrapped)

    async def recording_placed(self, recording: str, *, path: str) -> None:
        self._change()
        self.all_recordings[recording] = replace(self.all_recordings[recording], path=path)

    async def recording_closed(self, recording: str, *, sha256: str, size: int, frames: int) -> None:
        self._change()
        known = self.all_recordings[recording]
        state: RecordingState = "destroyed" if known.state == "destroyed" else "closed"
        self.all_recordings[recording] = replace(
            known, sha256=sha256, size=size, frames=frames, closed_at=self.clock(), state=state
        )

    async def recording_destroyed(self, recording: str) -> None:
        self._change()
        known = self.all_recordings[recording]
        self.all_recordings[recording] = replace(known, wrapped=b"", state="destroyed")

    async def recording(self, recording: str) -> RecordingRecord:
        return self.all_recordings[recording]

    async def recordings(self, call_id: str) -> Sequence[RecordingRecord]:
        return [record for record in self._by_opening() if record.call_id == call_id]

    async def latest_recordings(self, limit: int = 100) -> Sequence[RecordingRecord]:
        return self._by_opening()[::-1][:limit]

    async def open_recordings(self) -> Sequence[RecordingRecord]:
        return [record for record in self._by_opening() if record.state == "open"]

    def _by_opening(self) -> list[RecordingRecord]:
        return sorted(self.all_recordings.values(), key=lambda record: (record.opened_at, record.recording))


@dataclass(slots=True)
class FakeApiKeys:
    """API keys in memory; their secrets are numbers counted up, so tests can name them."""

    clock: Callable[[], datetime] = _epoch
    keys: dict[str, tuple[ApiKey, bytes]] = field(default_factory=dict)

    async def create(self, name: str, role: str, agent: str = "") -> tuple[ApiKey, str]:
        number = len(self.keys) + 1
        key = ApiKey(f"{number:016x}", name, role, agent, self.clock())
        secret = number.to_bytes(32)
        self.keys[key.key_id] = (key, hashlib.sha256(secret).digest())
        return key, spell_key(key.key_id, secret)

    async def check(self, clear: str) -> ApiKey | None:
        parts = split_key(clear)
        if parts is None or parts[0] not in self.keys:
            return None
        key, sha256 = self.keys[parts[0]]
        return key if secret_matches(parts[1], sha256) and not key.revoked else None

    async def revoke(self, key_id: str) -> None:
        key, sha256 = self.keys[key_id]
        self.keys[key_id] = (replace(key, revoked=True), sha256)

    async def all(self) -> Sequence[ApiKey]:
        return [key for key, _ in self.keys.values()]
