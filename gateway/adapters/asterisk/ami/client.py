"""The client of one server: connects, stays connected, and says truthfully when it is not."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import structlog

from gateway.adapters.asterisk.ami.delivery import MAX_BACKLOG, Delivery
from gateway.adapters.asterisk.ami.handshake import greet, log_in, wait_booted
from gateway.adapters.asterisk.ami.session import Session
from gateway.adapters.asterisk.ami.settings import ManagerServer, Patience, Surroundings
from gateway.adapters.asterisk.ami.snapshot import read_snapshot
from gateway.adapters.asterisk.ami.transport import OpenTransport, open_stream
from gateway.app.tasks import spawn
from gateway.ports.manager import (
    DEADLINE_S,
    NO_FIELDS,
    ActionForbidden,
    ConnectionLost,
    EventHandler,
    LoginRefused,
    ManagerError,
    ManagerEvent,
    ManagerResponse,
    ManagerSnapshot,
    ManagerState,
    NotConnected,
    OutcomeUnknown,
    StateHandler,
    Unreachable,
)
from gateway.wire.ami import check_action
from gateway.wire.errors import AmiError

_log = structlog.get_logger(__name__)

CLOSE_S: Final = 1.0
"""How long `stop` waits for the server to close."""


class AmiClient:
    """A `ManagerClient` over TCP or TLS. *open_transport* is what carries the messages."""

    def __init__(
        self,
        server: ManagerServer,
        *,
        patience: Patience | None = None,
        surroundings: Surroundings | None = None,
        open_transport: OpenTransport = open_stream,
    ) -> None:
        self._server = server
        self._patience = patience or Patience()
        self._surroundings = surroundings or Surroundings()
        self._open = open_transport
        self._state = ManagerState()
        self._changed = asyncio.Event()
        self._delivery: Delivery | None = None
        self._session: Session | None = None
        self._early: list[ManagerEvent] = []
        self._running: asyncio.Task[None] | None = None

    @property
    def server(self) -> str:
        return self._server.label

    @property
    def state(self) -> ManagerState:
        return self._state

    async def start(self, on_event: EventHandler, on_state: StateHandler) -> None:
        if self._delivery is not None:
            raise RuntimeError("start() was called already")
        self._delivery = Delivery(on_event, on_state)
        self._running = spawn(self._run(), name="manager connection")

    async def stop(self) -> None:
        if self._delivery is not None:
            self._delivery.close()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        self._become(ManagerState(generation=self._state.generation))
        if self._session is not None:
            await self._session.close(CLOSE_S)

    async def connected(self, deadline_s: float) -> ManagerState:
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while not self._state.connected:
                    if isinstance(self._state.problem, LoginRefused):
                        raise self._state.problem
                    self._changed.clear()
                    await self._changed.wait()
        if self._state.connected:
            return self._state
        raise self._state.problem or NotConnected(self.server, f"no connection within {deadline_s:g} s")

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
            check_action(name, fields, variables, allow_system=self._server.allow_system)
        except AmiError as error:
            raise ActionForbidden(self.server, f"not sent, {error}") from None
        session = self._present(generation)
        return await session.ask(name, fields, variables=variables, deadline_s=deadline_s)

    async def snapshot(self, deadline_s: float = DEADLINE_S) -> ManagerSnapshot:
        return await read_snapshot(self._present(None), deadline_s)

    def _present(self, generation: int | None) -> Session:
        if self._session is None or not self._state.connected:
            raise NotConnected(self.server, "not sent, there is no connection")
        if generation not in (None, self._session.generation):
            raise NotConnected(self.server, "not sent, the connection it was meant for is gone")
        return self._session

    # --- the life of connections ---

    async def _run(self) -> None:
        attempt = 0
        while True:
            began = self._surroundings.monotonic()
            connected = await self._one_connection()
            held_s = self._surroundings.monotonic() - began
            if connected and held_s >= self._patience.steady_s:
                attempt = 0
            wait_s = self._patience.wait_s(attempt, self._surroundings.chance())
            attempt += 1
            _log.info("connecting to a manager again", server=self.server, wait_s=round(wait_s, 3), attempt=attempt)
            await self._surroundings.sleep(wait_s)

    async def _one_connection(self) -> bool:
        """Have one connection until it is lost; tell whether it ever was of use."""
        session = self._new_session()
        self._session = session
        try:
            snapshot = await self._prepare(session)
        except ManagerError as error:
            self._failed(session, self._cause(session, error))
            return False
        except BaseException:
            session.lose_because("the client was stopped")
            raise
        self._became_connected(session, snapshot)
        pinging = spawn(self._keep_alive(session), name="manager keep-alive")
        try:
            await session.ended()
        finally:
            pinging.cancel()
        return True

    def _new_session(self) -> Session:
        self._early = []
        return Session(
            self.server,
            self._state.generation + 1,
            f"{int(self._surroundings.chance() * 2**48):012x}",
            allow_system=self._server.allow_system,
            on_event=self._take_event,
            on_lost=self._take_loss,
        )

    async def _prepare(self, session: Session) -> ManagerSnapshot:
        connect_s = self._patience.connect_s
        await greet(session, self._server, self._open, connect_s)
        await log_in(session, self._server, connect_s)
        await wait_booted(session, self._patience.boot_s)
        return await read_snapshot(session, DEADLINE_S)

    def _cause(self, session: Session, error: ManagerError) -> ManagerError:
        if isinstance(error, ConnectionLost | NotConnected) and session.problem is not None:
            return session.problem
        return Unreachable(self.server, error.what) if isinstance(error, OutcomeUnknown) else error

    async def _keep_alive(self, session: Session) -> None:
        while True:
            await self._surroundings.sleep(self._patience.ping_every_s)
            try:
                await session.ask("Ping", deadline_s=self._patience.ping_s)
            except ManagerError:
                session.lose_because("it gave no sign of life")
                return

    def _became_connected(self, session: Session, snapshot: ManagerSnapshot) -> None:
        if session.problem is not None:
            self._failed(session, session.problem)
            return
        _log.info("manager connected", server=self.server, generation=session.generation)
        self._become(ManagerState(connected=True, generation=session.generation, snapshot=snapshot))
        assert self._delivery is not None
        for event in self._early:
            self._delivery.put(event)
        self._early = []

    def _failed(self, session: Session, problem: ManagerError) -> None:
        """End an attempt that led to no connection."""
        session.lose(problem)
        news = type(problem) is not type(self._state.problem)
        state = ManagerState(generation=self._state.generation, problem=problem)
        if news:
            _log.warning("manager not connected", server=self.server, problem=str(problem))
            self._become(state)
        else:
            self._state = state

    def _take_loss(self, session: Session, problem: ManagerError) -> None:
        if self._state.connected and self._state.generation == session.generation:
            _log.warning("manager connection lost", server=self.server, problem=str(problem))
            self._become(ManagerState(generation=session.generation, problem=problem))

    def _take_event(self, session: Session, event: ManagerEvent) -> None:
        assert self._delivery is not None
        if self._delivery.full or len(self._early) >= MAX_BACKLOG:
            session.lose_because("the gateway could not follow its events")
        elif self._state.connected:
            self._delivery.put(event)
        else:
            self._early.append(event)

    def _become(self, state: ManagerState) -> None:
        self._state = state
        self._changed.set()
        if self._delivery is not None:
            self._delivery.put(state)
