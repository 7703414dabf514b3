"""What the gateway says to the manager interface (AMI) of one Asterisk server and hears from it.

One client is one server. Its connection comes and goes; each time it is made, a *generation* begins. Nothing that
was asked in one generation is ever sent in a later one: an old verdict must not act on a server that has forgotten
the call. Field names are Asterisk's own (`Uniqueid`, `Linkedid`, `BridgeUniqueid`), looked up without regard to case.

Fields hold numbers, names and digits: no `repr` here shows one, and no text of an exception quotes one.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Protocol

from gateway.wire.ami import check_action
from gateway.wire.errors import AmiError

NO_FIELDS: Final[Mapping[str, str]] = MappingProxyType({})
DEADLINE_S: Final = 5.0
"""How long an action waits for its answer unless told otherwise. Asterisk answers in 2 ms."""

Fields = tuple[tuple[str, str], ...]


# --- what is heard --------------------------------------------------------------------------------------


class _Lookup:
    """Fields in the order they came; a key may repeat (`ChanVariable`, `Output`)."""

    __slots__ = ()
    fields: Fields

    def get(self, key: str, default: str = "") -> str:
        """Return the first value of *key*, whatever its case."""
        return next(iter(self.all(key)), default)

    def all(self, key: str) -> tuple[str, ...]:
        """Return every value of *key*, in order."""
        wanted = key.lower()
        return tuple(value for name, value in self.fields if name.lower() == wanted)


@dataclass(frozen=True, slots=True)
class ManagerEvent(_Lookup):
    """An event: its name (`Hangup`), and the generation of the connection that brought it."""

    name: str
    fields: Fields = field(default=(), repr=False)
    generation: int = 0


@dataclass(frozen=True, slots=True)
class ManagerResponse(_Lookup):
    """A response that is no error. *message* is Asterisk's own text; success is no observation.

    *events* are those of a list action (`CoreShowChannels`), its closing event (`...Complete`) left out.
    """

    message: str = field(default="", repr=False)
    fields: Fields = field(default=(), repr=False)
    events: tuple[ManagerEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class MixMonitor:
    """A MixMonitor that runs on a channel. *id* is what `MixMonitorMute` takes as `MixMonitorID`; *files* are the
    paths it writes to, as Asterisk prints them: without their extension."""

    id: str
    files: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ManagerChannel:
    """A channel. *bridge* is the id of the bridge it is in, or "". *state*: `Up`, `Ring`, `Ringing`, `Down`, ...

    *mixmonitors* is None when it is unknown (the user lacks class `command`): never to be taken for "none".
    """

    uniqueid: str
    linkedid: str
    name: str = field(repr=False)
    state: str
    bridge: str
    mixmonitors: tuple[MixMonitor, ...] | None


@dataclass(frozen=True, slots=True)
class ManagerBridge:
    """A bridge and the unique ids of the channels in it. *kind*: Asterisk's BridgeType, "basic" for a conversation."""

    id: str
    technology: str
    members: tuple[str, ...]
    kind: str = "basic"


@dataclass(frozen=True, slots=True)
class ManagerSnapshot:
    """All channels and bridges of the server, read within a few round trips: events may have come in between."""

    channels: tuple[ManagerChannel, ...] = ()
    bridges: tuple[ManagerBridge, ...] = ()


# --- what goes wrong ------------------------------------------------------------------------------------


class ManagerError(Exception):
    """Base: *server* is the configured label. `str()` says what, where and what to do, and quotes no value."""

    def __init__(self, server: str, what: str) -> None:
        super().__init__(f"Asterisk {server}: {what}")
        self.server = server
        self.what = what


class ActionForbidden(ManagerError):
    """Not sent: the action, or a value in it, must never go out (`gateway.wire.ami`)."""


class NotConnected(ManagerError):
    """Not sent: there is no connection, or no longer the one of the generation that was asked for."""


class OutcomeUnknown(ManagerError):
    """Sent, and no answer will be known: it may have been carried out. Read the state, do not repeat the action."""


class ConnectionLost(OutcomeUnknown):
    """The connection went before the answer came."""


class ActionTimedOut(OutcomeUnknown):
    """No complete answer within the deadline."""


class ActionRefused(ManagerError):
    """Asterisk answered with an error. *message* is its own text and may name a channel: never log it.

    `str()` has that text without what was sent, what is quoted and what has a digit.
    """

    def __init__(self, server: str, action: str, message: str, sent: Iterable[str] = ()) -> None:
        hint = "; give the user the class this action needs in manager.conf" if "permission" in message.lower() else ""
        super().__init__(server, f"{action} was refused: {withhold(message, sent)}{hint}")
        self.message = message

    @property
    def is_shutdown(self) -> bool:
        """Whether the server is ending: from then on it refuses every action, and the calls it still has go on."""
        return "shutting down" in self.message.lower()


class LoginRefused(ManagerError):
    """The server knows no such user, or not with this secret, or not from here."""


class Unreachable(ManagerError):
    """No connection could be made or kept, or what answers is no usable manager interface."""


_SUSPECT: Final = re.compile(r"""'[^']*'|"[^"]*"|\S*[\d@]\S*""")


def withhold(message: str, sent: Iterable[str]) -> str:
    """Return *message* (at most 120 characters) without the values in *sent*, without quoted text and without any
    word that has a digit or `@`: those could be somebody's number or name.

    >>> withhold("No such channel: PJSIP/alice-00000001", [])
    'No such channel: …'
    """
    for value in sorted(filter(None, sent), key=len, reverse=True):
        message = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", message, flags=re.IGNORECASE)
    return _SUSPECT.sub("…", message)[:120]


# --- the port -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ManagerState:
    """Whether there is a connection. *generation* counts the connections made, beginning at 1.

    Connected: *snapshot* is what was read as soon as the server was fully booted. Not connected: *problem* is why
    the last connection or the last attempt ended, None before the first and after `stop`.
    """

    connected: bool = False
    generation: int = 0
    snapshot: ManagerSnapshot | None = None
    problem: ManagerError | None = None


EventHandler = Callable[[ManagerEvent], None]
StateHandler = Callable[[ManagerState], None]


class ManagerClient(Protocol):
    """The manager interface of one server. All of it belongs to the event loop's thread."""

    @property
    def server(self) -> str:
        """The label of the server, for logs and texts."""
        ...

    @property
    def state(self) -> ManagerState:
        """The state now; *on_state* may still have to hear of it."""
        ...

    async def start(self, on_event: EventHandler, on_state: StateHandler) -> None:
        """Begin to connect, and do so again whenever the connection is lost, until `stop`. Does not wait for it.

        The handlers are called one after the other in the loop's thread and must return at once. They hear, for
        each generation: the connected state, every event since the login, the lost state. A failed attempt is
        told when its kind of problem is new. Handlers that fall behind hold up neither reading nor actions; too
        far behind costs the connection, since no event is ever left out silently. An exception in a handler is
        logged by its type and goes no further. Raises `RuntimeError` when called twice.
        """
        ...

    async def stop(self) -> None:
        """Log off and close, for good. Actions under way raise `ConnectionLost`; no handler is called any more."""
        ...

    async def connected(self, deadline_s: float) -> ManagerState:
        """Wait until there is a connection, and return the state. Raises at once what waiting cannot cure
        (`LoginRefused`), and after *deadline_s* the present problem or `NotConnected`."""
        ...

    async def action(
        self,
        name: str,
        fields: Mapping[str, str] = NO_FIELDS,
        *,
        variables: Mapping[str, str] = NO_FIELDS,
        deadline_s: float = DEADLINE_S,
        generation: int | None = None,
    ) -> ManagerResponse:
        """Send an action at most once and return its response, for a list action with all its events.

        *variables* go out as one `Variable: name=value` each. With *generation* it is sent only over that very
        connection. Raises `ActionForbidden` and `NotConnected` (not sent), `ActionRefused` (not carried out),
        `ActionTimedOut` and `ConnectionLost` (`OutcomeUnknown`).
        """
        ...

    async def snapshot(self, deadline_s: float = DEADLINE_S) -> ManagerSnapshot:
        """Read all channels, bridges and, with class `command`, MixMonitors. *deadline_s* is for each action of
        it. Raises as `action` does."""
        ...


# --- the fake -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SentAction:
    """An action that a fake was given to send."""

    name: str
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    generation: int = 0


@dataclass(slots=True)
class FakeManagerClient:
    """A client without a server: it remembers what it sent and hears what a test scripts.

    *answers* has the answer to an action by its name: a response, an error to raise, or None for silence; an
    action not in it succeeds. *switch* is what a snapshot finds. `start` connects at once, or fails with *problem*.
    """

    server: str = "fake"
    allow_system: bool = False
    problem: ManagerError | None = None
    switch: ManagerSnapshot = ManagerSnapshot()
    answers: dict[str, ManagerResponse | ManagerError | None] = field(default_factory=dict)
    sent: list[SentAction] = field(default_factory=list)
    state: ManagerState = ManagerState()
    _on_event: EventHandler | None = None
    _on_state: StateHandler | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: set[asyncio.Future[ManagerResponse]] = field(default_factory=set)

    async def start(self, on_event: EventHandler, on_state: StateHandler) -> None:
        if self._on_event is not None:
            raise RuntimeError("start() was called already")
        self._on_event, self._on_state = on_event, on_state
        if self.problem is None:
            self.connect()
        else:
            self._become(ManagerState(problem=self.problem))

    async def stop(self) -> None:
        self._on_event = self._on_state = None
        if self.state.connected:
            self.lose(None)

    def connect(self) -> None:
        """Make a new connection: a new generation begins, with a snapshot of *switch*."""
        self._become(ManagerState(connected=True, generation=self.state.generation + 1, snapshot=self.switch))

    def lose(self, problem: ManagerError | None) -> None:
        """Cut the connection: whatever waits for an answer will not know its outcome."""
        self._become(ManagerState(generation=self.state.generation, problem=problem))
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(ConnectionLost(self.server, "cut before the answer; do not repeat the action"))

    def report(self, name: str, *fields: tuple[str, str]) -> None:
        """Let an event come in."""
        assert self.state.connected, "connect() first"
        if self._on_event is not None:
            with suppress(Exception):
                self._on_event(ManagerEvent(name, fields, self.state.generation))

    async def until_sent(self, name: str, count: int = 1) -> list[SentAction]:
        """Wait until the action was sent *count* times."""
        while len(sent := [action for action in self.sent if action.name == name]) < count:
            self._changed.clear()
            await self._changed.wait()
        return sent

    async def connected(self, deadline_s: float) -> ManagerState:
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while not self.state.connected:
                    if isinstance(self.state.problem, LoginRefused):
                        raise self.state.problem
                    self._changed.clear()
                    await self._changed.wait()
        if self.state.connected:
            return self.state
        raise self.state.problem or NotConnected(self.server, "no connection; is it started?")

    async def action(
        self,
        name: str,
        fields: Mapping[str, str] = NO_FIELDS,
        *,
        variables: Mapping[str, str] = NO_FIELDS,
        deadline_s: float = DEADLINE_S,
        generation: int | None = None,
    ) -> ManagerResponse:
        try:
            check_action(name, fields, variables, allow_system=self.allow_system)
        except AmiError as error:
            raise ActionForbidden(self.server, str(error)) from None
        self._require(generation)
        self.sent.append(SentAction(name, dict(fields), dict(variables), self.state.generation))
        self._changed.set()
        answer = self.answers.get(name, ManagerResponse())
        if isinstance(answer, ManagerError):
            raise answer
        if answer is not None:
            return replace(
                answer, events=tuple(replace(event, generation=self.state.generation) for event in answer.events)
            )
        waiting: asyncio.Future[ManagerResponse] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            async with asyncio.timeout(deadline_s):
                return await waiting
        except TimeoutError:
            raise ActionTimedOut(self.server, f"no answer to {name}; its outcome is unknown") from None
        finally:
            self._waiting.discard(waiting)

    async def snapshot(self, deadline_s: float = DEADLINE_S) -> ManagerSnapshot:
        self._require(None)
        return self.switch

    def _require(self, generation: int | None) -> None:
        if not self.state.connected:
            raise NotConnected(self.server, "not sent, there is no connection")
        if generation not in (None, self.state.generation):
            raise NotConnected(self.server, "not sent, the connection it was meant for is gone")

    def _become(self, state: ManagerState) -> None:
        self.state = state
        self._changed.set()
        if self._on_state is not None:
            with suppress(Exception):
                self._on_state(state)
