"""The one way to start a background task: its exception is never lost."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)
_running: set[asyncio.Task[Any]] = set()


def spawn(
    coroutine: Coroutine[Any, Any, Any],
    *,
    name: str,
    on_failure: Callable[[BaseException], None] | None = None,
) -> asyncio.Task[Any]:
    """Run *coroutine* as a task that is kept alive and whose failure is logged by exception type.

    The exception text is not logged: it may quote what a caller sent (invariant 7).
    """
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _running.add(task)

    def done(finished: asyncio.Task[Any]) -> None:
        _running.discard(finished)
        if finished.cancelled():
            return
        error = finished.exception()
        if error is not None:
            _log.error("background task failed", task=name, error=type(error).__name__)
            if on_failure is not None:
                on_failure(error)

    task.add_done_callback(done)
    return task
