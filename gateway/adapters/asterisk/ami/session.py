"""One connection, from its greeting to its loss: matches answers to actions, and passes on every other event."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.adapters.asterisk.ami.codec import Message
from gateway.adapters.asterisk.ami.transport import Outgoing, Transport
from gateway.ports.manager import (
    DEADLINE_S,
    NO_FIELDS,
    ActionForbidden,
    ActionRefused,
    ActionTimedOut,
    ConnectionLost,
    ManagerError,
    ManagerEvent,
    ManagerResponse,
    NotConnected,
    Unreachable,
)
from gateway.wire.errors import AmiError

MAX_LIST_EVENTS: Final = 100_000
"""Most events of one list action: ten times the channels of the largest server we know of."""


@dataclass(slots=True)
class _Awaited:
    outgoing: Outgoing
    answer: asyncio.Future[ManagerResponse]
    response: Message | None = None
    events: list[ManagerEvent] = field(default_factory=list)


class Session:
    """*on_event* and *on_lost* are called at once; the latter once. *prefix* begins every action's id: it must be
    hard to guess, since anybody's `UserEvent` may carry an `ActionID`."""

    def __init__(
        self,
        label: str,
        generation: int,
        prefix: str,
        *,
        allow_system: bool,
        on_event: Callable[["Session", ManagerEvent], None],
        on_lost: Callable[["Session", ManagerError], None],
    ) -> None:
        self.label = label
        self.generation = generation
        self.greeted = asyncio.Event()  # set by the loss as well, so that nobody waits in vain
        self.booted = asyncio.Event()
        self.permitted: frozenset[str] = frozenset()
        self._ended = asyncio.Event()
        self._problem: ManagerError | None = None
        self._transport: Transport | None = None
        self._prefix = prefix
        self._count = 0
        self._allow_system = allow_system
        self._on_event = on_event
        self._on_lost = on_lost
        self._awaited: dict[str, _Awaited] = {}
        self._abandoned: dict[str, bool] = {}  # an action nobody waits for, and whether it is known to be a list

    @property
    def problem(self) -> ManagerError | None:
        """Why the connection was lost, or None while it is not."""
        return self._problem

    @property
    def private(self) -> bool:
        return self._transport is not None and self._transport.private

    async def ended(self) -> None:
        """Wait for the loss."""
        await self._ended.wait()

    def attach(self, transport: Transport) -> None:
        """Use *transport*, which was opened with `take` and `lose_because`."""
        self._transport = transport
        if self._problem is not None:
            transport.abort()

    async def close(self, within_s: float) -> None:
        """Log off and close."""
        transport = self._transport
        if transport is None or self._problem is not None:
            return
        try:
            transport.send(self._outgoing("Logoff", NO_FIELDS, NO_FIELDS, own=True))
        except OSError:
            transport.abort()
        self._transport = None
        self.lose(Unreachable(self.label, "the client was stopped"))
        await transport.close(within_s)

    def lose_because(self, reason: str) -> None:
        """Count the connection as lost. *reason* is a constant text."""
        self.lose(Unreachable(self.label, reason))

    def lose(self, problem: ManagerError) -> None:
        """Count the connection as lost and close it. Everything under way is of unknown outcome."""
        if self._problem is not None:
            return
        self._problem = problem
        for awaited in self._awaited.values():
            if not awaited.answer.done():
                name = awaited.outgoing.name
                text = f"the connection was lost before the answer to {name}; read the state, do not repeat the action"
                awaited.answer.set_exception(ConnectionLost(self.label, text))
        self._awaited.clear()
        if self._transport is not None:
            self._transport.abort()
        for waited_for in (self._ended, self.greeted, self.booted):
            waited_for.set()
        self._on_lost(self, problem)

    async def ask(
        self,
        name: str,
        fields: Mapping[str, str] = NO_FIELDS,
        *,
        variables: Mapping[str, str] = NO_FIELDS,
        deadline_s: float = DEADLINE_S,
        own: bool = False,
    ) -> ManagerResponse:
        """Send an action and wait for its whole answer, as `ManagerClient.action` promises."""
        outgoing = self._outgoing(name, fields, variables, own=own)
        awaited = _Awaited(outgoing, asyncio.get_running_loop().create_future())
        self._send(awaited)
        try:
            async with asyncio.timeout(deadline_s):
                return await awaited.answer
        except TimeoutError:
            text = f"no complete answer to {name} within {deadline_s:g} s; read the state, do not repeat the action"
            raise ActionTimedOut(self.label, text) from None
        finally:
            if self._awaited.pop(outgoing.action_id, None) is not None:
                self._abandoned[outgoing.action_id] = awaited.response is not None

    def take(self, message: Message) -> None:
        """Take a message that came in."""
        if self._problem is not None:
            return
        if message.kind == "greeting":
            self.greeted.set()
        elif message.kind == "response":
            self._take_response(message)
        elif message.kind == "event":
            self._take_event(message)

    def _outgoing(self, name: str, fields: Mapping[str, str], variables: Mapping[str, str], *, own: bool) -> Outgoing:
        self._count += 1
        action_id = f"{self._prefix}-{self._count}"
        return Outgoing(name, dict(fields), dict(variables), action_id, own, self._allow_system)

    def _send(self, awaited: _Awaited) -> None:
        outgoing = awaited.outgoing
        if self._transport is None or self._problem is not None:
            raise NotConnected(self.label, f"{outgoing.name} was not sent, the connection is gone")
        try:
            self._awaited[outgoing.action_id] = awaited
            self._transport.send(outgoing)
        except AmiError as error:
            del self._awaited[outgoing.action_id]
            raise ActionForbidden(self.label, f"not sent, {error}") from None
        except OSError:
            self._awaited.pop(outgoing.action_id, None)
            raise NotConnected(self.label, f"{outgoing.name} was not sent, the connection is gone") from None

    def _take_response(self, message: Message) -> None:
        action_id = message.get("ActionID")
        awaited = self._awaited.get(action_id)
        if awaited is None:
            if action_id in self._abandoned and not self._mark_list(action_id, message):
                del self._abandoned[action_id]
        elif message.name.lower() == "error":
            outgoing = awaited.outgoing
            sent = [*outgoing.fields.values(), *outgoing.variables.values()]
            self._fail(awaited, ActionRefused(self.label, outgoing.name, message.get("Message"), sent))
        elif _list_step(message) == "start":
            awaited.response = message
        else:
            self._resolve(awaited, message)

    def _take_event(self, message: Message) -> None:
        action_id = message.get("ActionID") if self._awaited or self._abandoned else ""
        awaited = self._awaited.get(action_id)
        event = ManagerEvent(message.name, message.fields, self.generation)
        if awaited is not None and awaited.response is not None:
            self._take_item(awaited, event, _list_step(message))
        elif self._abandoned.get(action_id):
            if _list_step(message) in ("complete", "cancelled"):
                del self._abandoned[action_id]
        else:
            if message.name.lower() == "fullybooted":
                self.booted.set()
            self._on_event(self, event)

    def _take_item(self, awaited: _Awaited, event: ManagerEvent, step: str) -> None:
        assert awaited.response is not None
        name = awaited.outgoing.name
        if step == "complete":
            self._resolve(awaited, awaited.response)
        elif step == "cancelled":
            self._fail(awaited, ActionRefused(self.label, name, "the list was cancelled"))
        elif len(awaited.events) >= MAX_LIST_EVENTS:
            self.lose_because("a list has more events than any switch has channels")
        else:
            awaited.events.append(event)

    def _resolve(self, awaited: _Awaited, message: Message) -> None:
        del self._awaited[awaited.outgoing.action_id]
        if not awaited.answer.done():
            text = message.get("Message")
            awaited.answer.set_result(ManagerResponse(text, message.fields, tuple(awaited.events)))

    def _fail(self, awaited: _Awaited, error: ManagerError) -> None:
        del self._awaited[awaited.outgoing.action_id]
        if not awaited.answer.done():
            awaited.answer.set_exception(error)

    def _mark_list(self, action_id: str, message: Message) -> bool:
        self._abandoned[action_id] = _list_step(message) == "start"
        return self._abandoned[action_id]


def _list_step(message: Message) -> str:
    return message.get("EventList").lower()
