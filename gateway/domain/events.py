"""What happened to a call: past tense, frozen, time as data.

`at_ns` is CLOCK_MONOTONIC in nanoseconds. Legs are named by their part in the call ("caller", "agent").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.domain.spoken import Hearing


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of everything a call can be told."""

    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallArrived(Event):
    """A call waits to be answered. *facts* and *personal* go into its first evidence entry as they are."""

    facts: Mapping[str, object] = field(default_factory=dict)
    personal: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRang(Event):
    """A dialled leg rings."""

    leg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegAnswered(Event):
    """The leg is up and its audio flows."""

    leg: str
    codec: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegHeld(Event):
    """The leg's own end put it on hold, or took it back."""

    leg: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEnded(Event):
    """The leg is gone; *code* is the SIP status that ended it, *by* who did."""

    leg: str
    code: int = 200
    by: str = "remote"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptStarted(Event):
    """The first frame of a prompt was handed to the leg."""

    play: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFinished(Event):
    """A prompt ended after *played_ms* of its *length_ms*; *completed*: it was not cut short."""

    play: str
    played_ms: int
    length_ms: int
    completed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitPressed(Event):
    """One press of one key on *leg*. The digit itself is an answer, not a personal number, while asking."""

    leg: str
    value: str = field(repr=False)
    transport: str = "rfc4733"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechBegan(Event):
    """Somebody seems to speak on *leg*."""

    leg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSpoken(Event):
    """Something was said on *leg* from *began_ns* on, and listened to.

    *hearings*: what a recogniser made of it, one a pass; empty: it was no answer (a monologue); None: nobody could
    listen. *over_prompt*: all of it may have been our own prompt, or its echo. *facts* describe all that for the
    evidence, *words* are what was heard, for the evidence alone.
    """

    leg: str
    began_ns: int
    hearings: tuple[Hearing, ...] | None = field(repr=False)
    over_prompt: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(Event):
    """A timer the call started (`StartTimer`) ran out."""

    timer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceDurable(Event):
    """The entry with this token is on the disk."""

    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFailed(Event):
    """The entry with this token did not become durable."""

    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderObserved(Event):
    """The recorder was seen in *state* ("on" or "paused") from *at_frame* on; *how* it was seen.

    *asked_ns*: when the command that led to it reached the media process (CLOCK_MONOTONIC; 0: not known).
    """

    recording: str
    state: str
    at_frame: int = 0
    cause: str = ""
    how: str = "heard"
    asked_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderClosed(Event):
    """The recording is final. *facts* describe the file; *failed* names what went wrong, or is empty. *asked_ns*: when
    the command that led to it reached the media process (CLOCK_MONOTONIC; 0: not known)."""

    recording: str
    facts: Mapping[str, object] = field(default_factory=dict)
    failed: str = ""
    asked_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRequested(Event):
    """*actor* wants a hold for *reason*. *request* is echoed in `Reply`; empty: nobody waits for one. *barred*: why the
    policy does not let him, empty when it does; so in every request."""

    reason: str
    actor: str
    request: str = ""
    barred: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRequested(Event):
    """*actor* gives up the hold for *reason*; other holds stay."""

    reason: str
    actor: str
    request: str = ""
    barred: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawRequested(Event):
    """A party takes his consent back, by himself (*actor* is the party) or through somebody asked to do it."""

    party: str
    actor: str
    request: str = ""
    barred: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconsentRequested(Event):
    """A party is to be asked (again) in the middle of the call."""

    party: str
    actor: str
    request: str = ""
    barred: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRequested(Event):
    """*sink*, which would do something with the call beside the recorder, asks whether it may for *purpose*."""

    sink: str
    purpose: str
    actor: str
    request: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActRefused(Event):
    """The policy kept *actor* from something about this call that is not the call's affair (to have its evidence)."""

    act: str
    actor: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsKnown(Event):
    """Who the agents of the call are decides what they may do by a key: *barred* has what they may not (see
    `gateway.policy.authority.Act`), each with why. *declined*: the agent is not to be recorded."""

    barred: Mapping[str, str] = field(default_factory=dict)
    declined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUpRequested(Event):
    """The gateway itself ends the call (shutdown)."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskStarted(Event):
    """Internal to the aggregate: the dialogue with one party begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyLeft(Event):
    """Internal to the aggregate: the party's leg is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReturned(Event):
    """The PBX has the caller back and took his verdict; the leg to us is ending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSentAgain(Event):
    """The PBX sent a caller of a running call once more, to be asked anew: his recorder there was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTakenBack(Event):
    """The PBX stops its recorder because the caller is to be asked once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAbandoned(Event):
    """Whoever called the person we are asking has hung up, or somebody else can be heard beside him."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyJoined(Event):
    """Somebody else can be heard, or is about to be. *covered*: nobody has to ask him (an employee). *facts* are what
    the evidence is to say of him."""

    party: str
    covered: bool
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyGone(Event):
    """Somebody who joined is gone again."""

    party: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartiesAskable(Event):
    """These, of those who joined, can be taken out of the conversation now to be asked: all there are."""

    parties: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyNotAsked(Event):
    """Somebody who was to be asked was not: the conversation had changed, or the PBX would not let him go."""

    party: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SightChanged(Event):
    """The PBX can be seen again (*clear*), or cannot be: what its recorder does is then not known."""

    clear: bool
