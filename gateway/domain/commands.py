"""What a call wants done: imperative, frozen. Handlers stand in `gateway.app.handlers`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Command:
    """Base of everything a call can ask for."""


@dataclass(frozen=True, slots=True)
class AnswerCall(Command):
    """Answer the caller's leg and start its media."""

    leg: str


@dataclass(frozen=True, slots=True)
class PlayPrompt(Command):
    """Play a prompt to a leg; *play* comes back in `PromptStarted` and `PromptFinished`."""

    leg: str
    prompt: str
    play: str


@dataclass(frozen=True, slots=True)
class StopPrompt(Command):
    """Cut a prompt short."""

    leg: str
    play: str


@dataclass(frozen=True, slots=True)
class StartTimer(Command):
    """Send `TimerFired(timer)` after *after_ms*; a running timer of that name starts again."""

    timer: str
    after_ms: int


@dataclass(frozen=True, slots=True)
class StopTimer(Command):
    """Forget a timer; unknown names are ignored."""

    timer: str


@dataclass(frozen=True, slots=True)
class AppendEvidence(Command):
    """Write an entry; `EvidenceDurable(token)` or `EvidenceFailed(token)` comes back."""

    kind: str
    facts: Mapping[str, object]
    token: int
    personal: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ConnectAgent(Command):
    """Dial the agent's leg. *recorded* is what the agent may be told; it opens nothing."""

    leg: str
    recorded: bool


@dataclass(frozen=True, slots=True)
class ReturnCall(Command):
    """Give the caller back to the PBX with *verdict* for its dialplan, and end the leg. It records nothing."""

    leg: str
    verdict: str


@dataclass(frozen=True, slots=True)
class AskAgain(Command):
    """Let the PBX take the caller out of his conversation and send him to us once more."""


@dataclass(frozen=True, slots=True)
class AskParty(Command):
    """Let the PBX send us somebody the caller talks to, for a call of his own, and bring him back afterwards."""

    party: str


@dataclass(frozen=True, slots=True)
class BridgeLegs(Command):
    """Connect two legs' audio both ways."""

    a: str
    b: str


@dataclass(frozen=True, slots=True)
class RelayDigits(Command):
    """Send digits that belong to no code of ours on to a leg's far end. They may be anything: never log them."""

    leg: str
    digits: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HangUpLeg(Command):
    """End a leg; *code* is used where a final SIP response is due."""

    leg: str
    code: int = 603


@dataclass(frozen=True, slots=True)
class OpenRecorder(Command):
    """Open a new recording. Only ever emitted when all evidence so far is durable; *token* is that of the
    newest covering verdict entry."""

    recording: str
    token: int
    cause: str


@dataclass(frozen=True, slots=True)
class ResumeRecorder(Command):
    """Go on recording. Only ever emitted when all evidence so far is durable."""

    recording: str
    token: int
    cause: str


@dataclass(frozen=True, slots=True)
class PauseRecorder(Command):
    """Shut the gate at once."""

    recording: str
    cause: str


@dataclass(frozen=True, slots=True)
class CloseRecorder(Command):
    """End the recording at once; *purge* removes what was recorded."""

    recording: str
    cause: str
    purge: bool = False


@dataclass(frozen=True, slots=True)
class RaiseAlarm(Command):
    """Tell the people who watch; *alarm* is a constant name."""

    alarm: str


@dataclass(frozen=True, slots=True)
class Reply(Command):
    """Answer a request. *code* is stable and for machines; *accepted* False changes nothing. *because*: for people."""

    request: str
    accepted: bool
    code: str
    because: str = ""


@dataclass(frozen=True, slots=True)
class CallOver(Command):
    """Every leg is gone and every recording final: the session may end."""

    cause: str
