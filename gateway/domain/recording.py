"""What may be recorded, and the recorder's three facts: desired, commanded, observed.

The asymmetry of the whole project stands here: a command that records *more* (open, resume) waits until all evidence
is durable; a command that records *less* (pause, close) never waits for anything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.domain.consent import COVERED, Verdict


class RecorderState(StrEnum):
    """A state the recorder may be in."""

    OFF = "off"
    ON = "on"
    PAUSED = "paused"


SUPERVISOR = "supervisor"
"""The reason of a supervisor's pause: one hold for each supervisor. Every other reason is one hold, whoever sets it."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason to pause, with who set it. `expires_ns` (CLOCK_MONOTONIC) is None for a hold without a limit."""

    reason: str
    actor: str
    set_ns: int
    expires_ns: int | None = None


def hold_key(reason: str, actor: str) -> str:
    """Return the name of the hold that a pause for *reason* by *actor* sets and his resume gives up.

    An agent's pause is one hold whether he pressed a key on his telephone or in the console; a supervisor's is his own,
    which nobody else's resume lifts.

    >>> hold_key("agent_key", "agent:7"), hold_key("supervisor", "supervisor:9")
    ('agent_key', 'supervisor:9')
    """
    return actor if reason == SUPERVISOR else reason


def desired_state(verdicts: Iterable[Verdict], holds: Iterable[Hold]) -> RecorderState:
    """Return the only state the recorder may be in.

    Everybody present covered and no hold: on. A hold pauses; an uncovered party, or nobody at all: off.

    >>> desired_state([Verdict.GRANTED], frozenset())
    <RecorderState.ON: 'on'>
    >>> desired_state([Verdict.GRANTED, Verdict.PENDING], frozenset())
    <RecorderState.OFF: 'off'>
    >>> desired_state([], frozenset())
    <RecorderState.OFF: 'off'>
    >>> desired_state([Verdict.GRANTED], [Hold("agent_key", "agent", 0)])
    <RecorderState.PAUSED: 'paused'>
    """
    present = list(verdicts)
    if not present or any(verdict not in COVERED for verdict in present):
        return RecorderState.OFF
    return RecorderState.PAUSED if any(True for _ in holds) else RecorderState.ON


class Stage(StrEnum):
    """What was commanded of the recorder, and whether it was seen to happen."""

    IDLE = "idle"
    OPEN_WAITS = "open_waits"
    OPENING = "opening"
    ON = "on"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUME_WAITS = "resume_waits"
    RESUMING = "resuming"
    CLOSING = "closing"
    FAILED = "failed"


class Act(StrEnum):
    """What reconciliation asks for. `log_*` writes the intention down; the act follows when it is durable."""

    LOG_OPEN = "log_open"
    OPEN = "open"
    LOG_RESUME = "log_resume"
    RESUME = "resume"
    PAUSE = "pause"
    CLOSE = "close"
    NOTHING = "nothing"


_LIVE = (Stage.OPENING, Stage.ON, Stage.PAUSING, Stage.PAUSED, Stage.RESUME_WAITS, Stage.RESUMING)
LIVE = frozenset(_LIVE)
"""Stages in which a recording exists."""
MAY_WRITE = frozenset({Stage.OPENING, Stage.ON, Stage.RESUMING})
"""Stages in which frames may reach the recording. Everything else is shut, or was told to be."""
AWAITED = frozenset({Stage.OPENING, Stage.PAUSING, Stage.RESUMING, Stage.CLOSING})
"""Stages in which an observation is due."""


def _reconciliation() -> dict[tuple[Stage, RecorderState], tuple[Stage, Act]]:
    off, on, paused = RecorderState.OFF, RecorderState.ON, RecorderState.PAUSED
    table = {
        (Stage.IDLE, on): (Stage.OPEN_WAITS, Act.LOG_OPEN),
        (Stage.OPEN_WAITS, off): (Stage.IDLE, Act.NOTHING),
        (Stage.OPEN_WAITS, paused): (Stage.IDLE, Act.NOTHING),
        (Stage.OPENING, paused): (Stage.PAUSING, Act.PAUSE),
        (Stage.ON, paused): (Stage.PAUSING, Act.PAUSE),
        (Stage.RESUMING, paused): (Stage.PAUSING, Act.PAUSE),
        (Stage.RESUME_WAITS, paused): (Stage.PAUSED, Act.NOTHING),
        (Stage.PAUSED, on): (Stage.RESUME_WAITS, Act.LOG_RESUME),
    }
    return table | {(stage, off): (Stage.CLOSING, Act.CLOSE) for stage in _LIVE}


RECONCILIATION: Mapping[tuple[Stage, RecorderState], tuple[Stage, Act]] = _reconciliation()
"""(stage, desired) -> (next stage, act). A pair that is not here asks for nothing: either it is as desired, or what was
commanded must be observed first (a resume while the pause is unconfirmed waits for the pause)."""

WHEN_DURABLE: Mapping[Stage, tuple[Stage, Act]] = {
    Stage.OPEN_WAITS: (Stage.OPENING, Act.OPEN),
    Stage.RESUME_WAITS: (Stage.RESUMING, Act.RESUME),
}
"""The two acts that record more: taken only when every entry up to now is durable."""

WHEN_OBSERVED: Mapping[tuple[Stage, RecorderState], Stage] = {
    (Stage.OPENING, RecorderState.ON): Stage.ON,
    (Stage.RESUMING, RecorderState.ON): Stage.ON,
    (Stage.PAUSING, RecorderState.PAUSED): Stage.PAUSED,
    (Stage.PAUSING, RecorderState.ON): Stage.PAUSING,
    (Stage.CLOSING, RecorderState.ON): Stage.CLOSING,
    (Stage.CLOSING, RecorderState.PAUSED): Stage.CLOSING,
    (Stage.RESUMING, RecorderState.PAUSED): Stage.RESUMING,
    (Stage.RESUME_WAITS, RecorderState.PAUSED): Stage.RESUME_WAITS,
}
"""What an observation means. A pair that is not here is a contradiction: nobody commanded what was seen."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """The recorder as the core knows it; a value. *ordinal* counts the recordings of the call; a *distrusted* one has
    done what nobody commanded, or not done what was."""

    stage: Stage = Stage.IDLE
    observed: RecorderState = RecorderState.OFF
    ordinal: int = 0
    distrusted: bool = False

    def reconcile(self, desired: RecorderState) -> tuple["Recorder", Act]:
        """Return the recorder after one step towards *desired*, and what to do for it."""
        stage, act = RECONCILIATION.get((self.stage, desired), (self.stage, Act.NOTHING))
        ordinal = self.ordinal + 1 if act is Act.LOG_OPEN else self.ordinal
        return replace(self, stage=stage, ordinal=ordinal), act

    def durable(self) -> tuple["Recorder", Act]:
        """Return the recorder once every entry is durable, and the act that waited for it."""
        stage, act = WHEN_DURABLE.get(self.stage, (self.stage, Act.NOTHING))
        return replace(self, stage=stage), act

    def observe(self, seen: RecorderState) -> tuple["Recorder", bool]:
        """Return the recorder after an observation, and whether it contradicts what was commanded."""
        stage = WHEN_OBSERVED.get((self.stage, seen))
        contradiction = stage is None and self.stage.value != seen.value
        return replace(self, stage=stage or self.stage, observed=seen), contradiction

    def closed(self, *, failed: bool) -> "Recorder":
        """Return the recorder after the recording became final. A failed or distrusted one is not opened again in this
        call."""
        failed = failed or self.distrusted
        return replace(self, stage=Stage.FAILED if failed else Stage.IDLE, observed=RecorderState.OFF)
