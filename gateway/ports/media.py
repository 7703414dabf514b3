"""What the control process says to a media server and hears from it.

A media server carries SIP and RTP and decides nothing: commands go in, events come out. The same frozen
dataclasses serve the real SIP workers, the fake in the unit tests and the wire between the two processes
(`encode` / `decode`, one JSON object a line).

Every time stamp is `mono_ns`: nanoseconds of CLOCK_MONOTONIC, which all processes of one machine share.
A *leg* is one SIP dialog. Leg ids of incoming calls are made by the media server, those of outgoing legs by
the control process; both are unique for the life of the gateway.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

MAX_LINE_BYTES = 1_048_576
"""Longest encoded command or event, newline included: a closed recording lists every span it ever had."""

DtmfTransport = Literal["rfc4733", "info", "inband"]
PausedFill = Literal["silence", "gap"]


class ProtocolError(ValueError):
    """A line that is no command or event of this protocol. The text never quotes the line's values."""


# --- commands -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MediaCommand:
    """Base of everything the control process may ask of a media server."""


@dataclass(frozen=True, slots=True)
class Answer(MediaCommand):
    """Answer an incoming leg with 200 and start its media.

    *fallback_uri* is where the media server connects the caller by itself, unrecorded, should the control
    process die before it bridged the leg (invariant 4). Empty: the leg ends then, and the PBX that sent it goes on.
    """

    leg: str
    fallback_uri: str = ""


@dataclass(frozen=True, slots=True)
class Reject(MediaCommand):
    """Refuse an incoming leg with a final SIP response; *contact* makes it a redirection (302)."""

    leg: str
    code: int
    reason: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True)
class Play(MediaCommand):
    """Play a WAV file (8 kHz, mono, int16) to the leg. A prompt already playing there is cut short first."""

    leg: str
    play: str
    path: str


@dataclass(frozen=True, slots=True)
class StopPlay(MediaCommand):
    """Cut the playing prompt short; `PlayFinished` tells how much was heard. Unknown ids are ignored."""

    leg: str
    play: str


@dataclass(frozen=True, slots=True)
class Listen(MediaCommand):
    """Report what the leg's party says from now on (`SpeechStarted`, `Utterance`), or (*listening* False) no more; what
    he is saying then is forgotten. Best begun when the leg is answered: noise and echo are learnt by hearing them."""

    leg: str
    listening: bool


@dataclass(frozen=True, slots=True)
class Dial(MediaCommand):
    """Call *uri* as a new leg on the media server that carries *beside*, presenting the caller's identity.

    Headers are (name, value) pairs; a value with a line break or other control character is refused
    (`LegEnded` with code 400). No final answer in *timeout_ms*: `LegEnded` with code 408.
    """

    leg: str
    beside: str
    uri: str = field(repr=False)
    from_number: str = field(default="", repr=False)
    from_name: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class Bridge(MediaCommand):
    """Connect the audio of two legs both ways. From now on the end of one leg ends the other, even when the
    control process is gone."""

    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Isolate(MediaCommand):
    """Let a connected leg hear nothing but prompts (*isolated*), or its peer again.

    For as long as its party is asked in the middle of a call: a line may echo what it hears, and a tone the peer sends
    in the audio, echoed, cannot be told from a key of the party himself. What the leg does not hear it cannot echo.
    The peer goes on hearing the leg. A media server that loses the control process connects both ways again.
    """

    leg: str
    isolated: bool


@dataclass(frozen=True, slots=True)
class HangUp(MediaCommand):
    """End a leg: BYE, CANCEL or the final response *code*, as its state asks. Unknown legs are ignored."""

    leg: str
    code: int = 603


@dataclass(frozen=True, slots=True)
class SendDtmf(MediaCommand):
    """Send digits to the leg's far end by RFC 4733."""

    leg: str
    digits: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RecordOpen(MediaCommand):
    """Open a recording of two legs (left, right) and its gate. Carried out only on durable evidence, so the
    only place that creates this command is `app.recorder.open_recorder`.

    The file at *path* (created, must not exist) is one age file for *recipient*: a WAV stream, int16 stereo,
    8 kHz. Frames wait *look_behind_ms* in memory before they are written. *paused_fill*: digital silence of
    the same length, or nothing ("gap").
    """

    recording: str
    left: str
    right: str
    path: str
    recipient: str
    look_behind_ms: int = 0
    paused_fill: PausedFill = "silence"
    paused: bool = False
    cause: str = ""


@dataclass(frozen=True, slots=True)
class RecordPause(MediaCommand):
    """Shut the gate from now on, and for everything still waiting in the look-behind."""

    recording: str
    cause: str


@dataclass(frozen=True, slots=True)
class RecordResume(MediaCommand):
    """Open the gate for audio that was *sent* from now on: what the jitter buffer still holds is skipped."""

    recording: str
    cause: str


@dataclass(frozen=True, slots=True)
class RecordClose(MediaCommand):
    """End the recording and seal the file; *purge* removes the file instead."""

    recording: str
    cause: str
    purge: bool = False


# --- events ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MediaEvent:
    """Base of everything a media server reports."""

    mono_ns: int


@dataclass(frozen=True, slots=True)
class Incoming(MediaEvent):
    """A new call waits for `Answer` or `Reject`. Numbers and names are personal: never log them.

    *to_number* is who is to be reached now, not whom the caller asked for before somebody forwarded the call.
    """

    leg: str
    sip_call_id: str
    from_number: str = field(repr=False)
    from_name: str = field(repr=False)
    to_number: str = field(repr=False)
    source: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class LegRinging(MediaEvent):
    """A dialled leg got a provisional response; *early_media*: it carries audio already."""

    leg: str
    code: int
    early_media: bool = False


@dataclass(frozen=True, slots=True)
class LegAnswered(MediaEvent):
    """The leg is confirmed and its media flows."""

    leg: str
    sip_call_id: str
    codec: str


@dataclass(frozen=True, slots=True)
class LegHeld(MediaEvent):
    """The far end put the leg on hold (*held*) or took it back, by re-INVITE."""

    leg: str
    held: bool


@dataclass(frozen=True, slots=True)
class LegEnded(MediaEvent):
    """The leg is gone. *code*: the SIP status that ended it (200 for BYE); *by*: who ended it."""

    leg: str
    code: int
    by: Literal["remote", "local", "timeout", "media"]


@dataclass(frozen=True, slots=True)
class Digit(MediaEvent):
    """One press of one key, reported once when it went *down* (`mono_ns`), whatever carried it."""

    leg: str
    value: str = field(repr=False)
    transport: DtmfTransport


@dataclass(frozen=True, slots=True)
class DigitEnded(MediaEvent):
    """The key reported last was released after *duration_ms*."""

    leg: str
    value: str = field(repr=False)
    duration_ms: int


@dataclass(frozen=True, slots=True)
class PlayStarted(MediaEvent):
    """The first frame of a prompt was handed to the caller's stream."""

    leg: str
    play: str


@dataclass(frozen=True, slots=True)
class PlayFinished(MediaEvent):
    """A prompt ended. *played_ms*: audio really handed to the caller's stream; *length_ms*: of the whole file."""

    leg: str
    play: str
    played_ms: int
    length_ms: int
    completed: bool


@dataclass(frozen=True, slots=True)
class SpeechStarted(MediaEvent):
    """The leg's party seems to say something, since *began_ns*. Perhaps it was a click: then nothing follows."""

    leg: str
    began_ns: int


@dataclass(frozen=True, slots=True)
class Utterance(MediaEvent):
    """The leg's party said something, from *began_ns* to *ended_ns*, a little silence on both sides included.

    *speech_ms*: how much of it was speech, at *level_dbov* over noise of *noise_dbov* (200 to 3,600 Hz). *cut*: he was
    still speaking at the longest an utterance may be, and it is no answer. *key_ms*: a key sounded in it so long;
    *prompt_ms*: so much of it lies over our own prompt or its echo. *audio*: base64 of int16 mono, 8 kHz, little
    endian; it is for the recogniser alone: never log, write or keep it.
    """

    leg: str
    began_ns: int
    ended_ns: int
    speech_ms: int
    level_dbov: float
    noise_dbov: float
    cut: bool
    key_ms: int
    prompt_ms: int
    audio: str = field(repr=False)


RecorderGate = Literal["on", "paused"]


@dataclass(frozen=True, slots=True)
class Span:
    """What the gate did from one frame to another: half open, counted in 20 ms frames of the *file*'s call
    time (a "gap" still counts, so spans always join)."""

    state: RecorderGate
    from_frame: int
    to_frame: int
    cause: str


@dataclass(frozen=True, slots=True)
class RecorderObserved(MediaEvent):
    """The gate's state as the media process observed it: the first frame with this state was handled.

    *asked_ns*: when the command that led to it reached the media process.
    """

    recording: str
    state: RecorderGate
    at_frame: int
    cause: str
    asked_ns: int = 0


@dataclass(frozen=True, slots=True)
class RecorderClosed(MediaEvent):
    """The recording is final. *sha256* (hex) and *size* are of the sealed file; "" and 0 when purged, or when
    no frame was ever recorded (then there is no file). *failed* names what went wrong ("disk full"), or "".
    *purged*: there was a file, and it was removed.
    *asked_ns*: when the command that led to it (or else, the one before) reached the media process."""

    recording: str
    sha256: str
    size: int
    frames: int
    spans: tuple[Span, ...]
    failed: str = ""
    asked_ns: int = 0
    purged: bool = False


@dataclass(frozen=True, slots=True)
class WorkerLost(MediaEvent):
    """A media process died or wedged: the legs named are gone, recordings end where the disk has them."""

    legs: tuple[str, ...]
    recordings: tuple[str, ...]


class MediaServer(Protocol):
    """A pool of media processes behind one SIP address."""

    @property
    def address(self) -> str:
        """`host:port` that callers dial."""
        ...

    @property
    def max_calls(self) -> int:
        """Calls (caller and agent leg together) that can be up at once."""
        ...

    async def start(self, on_event: Callable[[MediaEvent], None]) -> None:
        """Come up; from then on every event is given to *on_event* in the event loop's thread."""
        ...

    def send(self, command: MediaCommand) -> None:
        """Queue a command without waiting. For a leg or recording that is gone it is dropped: the event that
        says so is on its way or was given already."""
        ...

    async def stop(self) -> None:
        """End all calls and processes."""
        ...


# --- the wire -------------------------------------------------------------------------------------------

_KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(Answer, Reject, Play, StopPlay, Listen, Dial, Bridge, Isolate, HangUp, SendDtmf),
        *(RecordOpen, RecordPause, RecordResume, RecordClose),
        *(Incoming, LegRinging, LegAnswered, LegHeld, LegEnded, Digit, DigitEnded, PlayStarted, PlayFinished),
        *(SpeechStarted, Utterance),
        *(RecorderObserved, RecorderClosed, WorkerLost),
    )
}


def encode(message: MediaCommand | MediaEvent) -> bytes:
    """Return *message* as one line of JSON. Raises `ProtocolError` over `MAX_LINE_BYTES`."""
    line = json.dumps({"kind": type(message).__name__, **asdict(message)}, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"{type(message).__name__} takes {len(line)} bytes, over {MAX_LINE_BYTES}")
    return line


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def decode(line: bytes) -> MediaCommand | MediaEvent:
    """Read one line. Raises `ProtocolError`."""
    try:
        fields = json.loads(line)
        kind = _KINDS[fields.pop("kind")]
        if kind is RecorderClosed:
            fields["spans"] = [Span(**span) for span in fields["spans"]]
        message = kind(**{name: _tuples(value) for name, value in fields.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProtocolError(f"not a media protocol line ({type(error).__name__})") from None
    assert isinstance(message, MediaCommand | MediaEvent)
    return message


@dataclass(slots=True)
class FakeMediaServer:
    """A media server that records what it was told and says what a test scripts with `report`."""

    address: str = "127.0.0.1:0"
    max_calls: int = 4
    sent: list[MediaCommand] = field(default_factory=list)
    _on_event: Callable[[MediaEvent], None] | None = None

    async def start(self, on_event: Callable[[MediaEvent], None]) -> None:
        self._on_event = on_event

    def send(self, command: MediaCommand) -> None:
        self.sent.append(command)

    def report(self, event: MediaEvent) -> None:
        assert self._on_event is not None, "start() first"
        self._on_event(event)

    async def stop(self) -> None:
        self._on_event = None
