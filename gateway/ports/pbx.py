"""A PBX that keeps the call: it connects the parties and records, as far as the verdict we give it allows.

A call in it is named by its channel: that of the person who is asked, by the name the PBX has for it. Everything here
belongs to the event loop's thread. No `repr` and no exception text shows a number, a name or a digit.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, Protocol

from gateway.ports.media import Incoming


class PbxError(Exception):
    """The PBX did not do what it was asked. `str()` says what, where and what to do, and quotes no value."""


class PbxUnavailable(PbxError):
    """There is no connection, or no answer came: nothing is known about the effect."""


class PbxRefused(PbxError):
    """The PBX said no: the channel or the recorder is not there (any more), or the right is missing."""


NO_FILE: Mapping[str, object] = {
    "purged": False,
    "sha256": "",
    "size": 0,
    "frames": 0,
    "checked": "no file",
    "spans": [],
}
"""The facts of a recording that never had a file."""


def evident_name(path: str, call_id: str) -> str:
    """Return a file's name as it may stand in the evidence: that of the dialplan as shipped, which has nobody's number
    or name in it. Any other might, so it is "".

    >>> evident_name("/spool/monitor/consent/CALL1-20261127T120000000.wav", "CALL1")
    'CALL1-20261127T120000000.wav'
    >>> evident_name("/spool/monitor/consent/+4915112345678.wav", "CALL1")
    ''
    """
    name = PurePosixPath(path).name
    return name if re.fullmatch(rf"{re.escape(call_id)}-[0-9]{{8}}T[0-9]{{9}}\.wav", name) else ""


# --- what is heard of one call ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PbxEvent:
    """Base. *mono_ns* is CLOCK_MONOTONIC at the moment of reading."""

    mono_ns: int


@dataclass(frozen=True, slots=True)
class ChannelEnded(PbxEvent):
    """The asked person's channel is gone, or was when it could be looked for again (*seen* False)."""

    seen: bool = True


@dataclass(frozen=True, slots=True)
class RecorderRuns(PbxEvent):
    """The recorder that the verdict allowed is running, or paused: *state* as it was found, *how* it was found."""

    state: Literal["on", "paused"]
    how: str


@dataclass(frozen=True, slots=True)
class RecorderGone(PbxEvent):
    """The recorder has ended. *file* is where the PBX wrote, "" when it never told."""

    file: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class KeyPressed(PbxEvent):
    """A key, on the asked person's channel or on that of somebody he is connected to."""

    by_asked: bool
    digit: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Joined(PbxEvent):
    """Somebody else is connected, or about to be. *party* is the PBX's name of his channel, *line* the endpoint he
    uses (an agent's name, or a trunk's). *agent*: the configuration says that who uses it need not be asked; *covered*:
    that is so, or he may be recorded in a call of his own."""

    party: str
    line: str = field(repr=False)
    covered: bool
    agent: bool


@dataclass(frozen=True, slots=True)
class Disturbed(PbxEvent):
    """Somebody else can be heard where the asked person is being asked: what is answered there may be that one's."""


@dataclass(frozen=True, slots=True)
class Askable(PbxEvent):
    """These, of those who joined, can be taken out of the conversation now, and be brought back: all there are."""

    parties: frozenset[str]


@dataclass(frozen=True, slots=True)
class Left(PbxEvent):
    """Somebody who had joined is not connected any more."""

    party: str


@dataclass(frozen=True, slots=True)
class Abandoned(PbxEvent):
    """Whoever called the asked person (a call to outside) has hung up."""


@dataclass(frozen=True, slots=True)
class TakenBack(PbxEvent):
    """The dialplan is about to stop the recorder, and to send the asked person to us once more."""


@dataclass(frozen=True, slots=True)
class Withdrew(PbxEvent):
    """The asked person withdrew by the dialplan's own key; it has stopped the recorder itself."""


@dataclass(frozen=True, slots=True)
class AgentWants(PbxEvent):
    """A covered party who is connected asked for a pause, or for its end, by the dialplan's key or his phone's."""

    pause: bool


@dataclass(frozen=True, slots=True)
class WantsAgain(PbxEvent):
    """The asked person pressed the dialplan's key to be asked again."""


@dataclass(frozen=True, slots=True)
class ForeignRecorder(PbxEvent):
    """A recorder that nobody here allowed runs on the asked person's channel; *stopped*: not any more."""

    stopped: bool


@dataclass(frozen=True, slots=True)
class Sight(PbxEvent):
    """Whether the PBX can be seen. While it cannot, nothing it does is known."""

    clear: bool


PbxSink = Callable[[PbxEvent], None]


# --- what is asked of it ------------------------------------------------------------------------------------------


class PbxChannel(Protocol):
    """One call in a PBX. Raises `PbxUnavailable` and `PbxRefused`."""

    @property
    def server(self) -> str:
        """The label of the PBX."""
        ...

    @property
    def channel(self) -> str:
        """The PBX's name of the asked person's channel (Asterisk: Uniqueid)."""
        ...

    @property
    def linkedid(self) -> str:
        """The PBX's name of everything that belongs to the call."""
        ...

    @property
    def file(self) -> str:
        """Where the PBX writes the recording that was allowed, "" while no recorder of it was seen."""
        ...

    async def tell(self, variables: Mapping[str, str]) -> None:
        """Set variables, one after the other in their order; returns when the PBX has acknowledged the last."""
        ...

    async def expect_recorder(self, call_id: str) -> None:
        """From now on one recorder may start, for *call_id*: the first that the dialplan names is reported as ours, any
        other is foreign."""
        ...

    def covers(self, covered: bool) -> None:
        """Whether the asked person may be recorded together with whom he talks to. Nobody may before this is said."""
        ...

    async def begin_recorder(self, call_id: str) -> None:
        """Start the expected recorder of *call_id*, where that is not the dialplan's to do once it has the verdict."""
        ...

    async def mute(self) -> None:
        """Let the recorder write silence, now or as soon as it starts. `RecorderRuns` tells when it was seen."""
        ...

    async def unmute(self) -> None:
        """Let the recorder go on. `RecorderRuns` tells when it was seen."""
        ...

    async def close(self) -> None:
        """End the recorder, or let none start. `RecorderGone` tells, at once when there was none."""
        ...

    async def ask_again(self) -> None:
        """Take the asked person out of his conversation and send him to us once more; whoever he talks to waits.
        Raises `PbxRefused` when he does not talk to exactly one other."""
        ...

    async def ask_party(self, party: str, call_id: str) -> None:
        """Send us somebody whom the asked person of *call_id* talks to, for a call of his own, and bring him back
        afterwards. The asked one waits if they were two; others talk on. Raises `PbxRefused` when *party* is not
        askable any more."""
        ...

    async def lamp(self, state: Literal["on", "paused", "off"]) -> None:
        """Show the agent what is so. Never raises: a lamp is not worth a call."""
        ...

    async def hang_up(self) -> None:
        """End the call."""
        ...

    async def kept(self, path: str, *, purge: bool) -> dict[str, object]:
        """Return what is so of a finished file that the PBX wrote at *path* ("": none): the facts of
        `recording.closed`. *purge* removes it first. Never raises: where a file cannot be read the facts say so."""
        ...

    async def give_up(self) -> None:
        """Leave the asked person to himself: he waits for nobody any more on our behalf. Never raises."""
        ...

    def forget(self) -> None:
        """Report nothing of this call any more."""
        ...


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What became of a recording after the gateway that had allowed it was killed: its *file*, "" for none that is
    known, and the *facts* of `recording.closed`."""

    file: str = field(repr=False)
    facts: Mapping[str, object]


def not_configured(path: str) -> LeftBehind:
    """What is known of a recording at *path* of a PBX that this gateway does not serve."""
    return LeftBehind(path, {**NO_FILE, "checked": "kept by a PBX that is not configured any more"})


class Pbx(Protocol):
    """All PBXes of this gateway."""

    def sends(self, incoming: Incoming) -> bool:
        """Whether an INVITE is one that a dialplan's consent gate makes. True says nothing about being served."""
        ...

    def server_of(self, incoming: Incoming) -> str:
        """The label of the PBX that an INVITE comes from, "" when it is none of ours. Two PBXes may name two channels
        alike: a channel is known by its PBX and its name."""
        ...

    def find(self, incoming: Incoming, sink: PbxSink) -> PbxChannel:
        """Watch the call that an INVITE is about. Raises `PbxUnavailable` when its PBX is unknown or out of reach."""
        ...

    async def left_behind(self, server: str, call_id: str, path: str, *, others: Collection[str]) -> LeftBehind:
        """Return what became of a recording that an earlier gateway had allowed on the PBX of label *server*.

        *path* is where that one wrote it down, "" for nowhere: then it is the one file of the call that is none of
        *others* (paths). Waits a minute at most until the recorders that gateway had left running were stopped. A file
        that may still grow has neither hash nor size. Never raises: where something is not known the facts say so.
        """
        ...
