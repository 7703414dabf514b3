"""What the outside watches: a bounded history of changes, each numbered, so that a reader can go on where he was."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """One change; *number* grows by one from 1. *data* holds no personal value."""

    number: int
    kind: str
    data: dict[str, Any]


@dataclass(slots=True)
class Feed:
    """Keeps the last *keep* changes in memory and wakes whoever waits. A reader that is slower loses the oldest and is
    told by a gap in the numbers."""

    keep: int = 2_000
    _changes: deque[Change] = field(default_factory=deque)
    _number: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def publish(self, kind: str, data: dict[str, Any]) -> None:
        """Add a change."""
        self._number += 1
        self._changes.append(Change(self._number, kind, data))
        while len(self._changes) > self.keep:
            self._changes.popleft()
        self._wake()

    def close(self) -> None:
        """End every reader."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    @property
    def number(self) -> int:
        """The newest change's number, 0 before the first."""
        return self._number

    async def follow(self, after: int) -> AsyncIterator[Change]:
        """Yield every kept change numbered above *after*, then each new one as it comes, until `close`. A number from
        another life of the process (above the newest) starts at the oldest kept."""
        if after > self._number:
            after = 0
        while True:
            news = self._news
            for change in [c for c in self._changes if c.number > after]:
                after = change.number
                yield change
            if self._closed:
                return
            if news is self._news:
                await news.wait()
