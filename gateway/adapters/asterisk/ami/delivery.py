"""Between the reading of a connection and the handlers of a consumer, so that neither ever waits for the other."""

import asyncio
from collections import deque
from typing import Final

import structlog

from gateway.ports.manager import EventHandler, ManagerEvent, ManagerState, StateHandler

_log = structlog.get_logger(__name__)

BATCH: Final = 64
"""Calls of a handler in one turn of the event loop; reading, answers and everybody else's work come in between."""

MAX_BACKLOG: Final = 20_000
"""Events a consumer may be behind. More, and the truth is had sooner by reading the state anew."""


class Delivery:
    """Calls the handlers one after the other, in the order of `put`, each turn of the loop a few."""

    def __init__(self, on_event: EventHandler, on_state: StateHandler) -> None:
        self._on_event = on_event
        self._on_state = on_state
        self._waiting: deque[ManagerEvent | ManagerState] = deque()
        self._turn: asyncio.Handle | None = None
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether the consumer is too far behind."""
        return len(self._waiting) >= MAX_BACKLOG

    def put(self, item: ManagerEvent | ManagerState) -> None:
        """Queue a call. After `close` it is dropped."""
        if self._closed:
            return
        self._waiting.append(item)
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._some)

    def close(self) -> None:
        """Call no handler any more."""
        self._closed = True
        self._waiting.clear()

    def _some(self) -> None:
        for _ in range(min(BATCH, len(self._waiting))):
            if not self._waiting:
                break
            self._call(self._waiting.popleft())
        self._turn = asyncio.get_running_loop().call_soon(self._some) if self._waiting else None

    def _call(self, item: ManagerEvent | ManagerState) -> None:
        try:
            if isinstance(item, ManagerState):
                self._on_state(item)
            else:
                self._on_event(item)
        except Exception as error:
            _log.error("a handler of manager events failed", error=type(error).__name__)
