"""The worker's end of the socket to the control process: two threads, so that neither side ever waits for the other."""

import queue
import socket
import threading
from collections.abc import Callable
from typing import Final

import structlog

from gateway.adapters.sip.protocol import Internal, decode_any, encode_internal
from gateway.ports.media import MAX_LINE_BYTES, MediaCommand, MediaEvent, ProtocolError, encode

_log = structlog.get_logger(__name__)

OUTBOX_LIMIT: Final = 20_000
"""Messages a control process may leave unread before it counts as lost."""


class ControlLink:
    """*on_message* and *on_lost* are called in the reader's thread, *on_lost* once and possibly from another."""

    def __init__(
        self,
        control: socket.socket,
        *,
        on_message: Callable[[MediaCommand | MediaEvent | Internal], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._socket = control
        self._on_message = on_message
        self._on_lost = on_lost
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lost = threading.Event()
        self._lost_lock = threading.Lock()
        self._writer = threading.Thread(target=self._write, name="writer", daemon=True)

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    def start(self) -> None:
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        self._writer.start()

    def tell(self, message: MediaEvent | Internal) -> None:
        """Any thread: queue a message; never waits. After the loss of control it is dropped."""
        if self._lost.is_set():
            return
        try:
            line = encode(message) if isinstance(message, MediaEvent) else encode_internal(message)
        except ProtocolError:
            _log.error("an event is too long for the control process", kind=type(message).__name__)
            return
        if self._outbox.qsize() > OUTBOX_LIMIT:
            self._lose()
            return
        self._outbox.put(line)

    def finish(self, within_s: float) -> None:
        """Send what is queued, for at most *within_s* seconds."""
        self._outbox.put(None)
        self._writer.join(within_s)

    def _lose(self) -> None:
        with self._lost_lock:
            if self._lost.is_set():
                return
            self._lost.set()
        self._outbox.put(None)
        self._on_lost()

    def _write(self) -> None:
        while (line := self._outbox.get()) is not None:
            try:
                self._socket.sendall(line)
            except OSError:
                self._lose()
                return

    def _read(self) -> None:
        pending = bytearray()
        while True:
            try:
                chunk = self._socket.recv(65_536)
            except OSError:
                chunk = b""
            pending += chunk
            if not chunk or (b"\n" not in chunk and len(pending) > MAX_LINE_BYTES):
                self._lose()
                return
            *lines, rest = bytes(pending).split(b"\n")
            pending = bytearray(rest)
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            self._on_message(decode_any(line))
        except ProtocolError:
            _log.error("a line from the control process is not of the protocol")
        except Exception as error:
            _log.error("a message could not be taken", error=type(error).__name__)
