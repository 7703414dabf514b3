"""RTP of the softphone: every stream of the process is served by one thread, paced on absolute deadlines.

The thread owns its sockets, so that a busy event loop delays no packet by more than the interpreter's switch
interval. Packet n of a stream is due at `start + n * 20 ms` of CLOCK_MONOTONIC, whatever happened before: lateness
never adds up. The thread sleeps to the deadline itself, not to the millisecond `epoll` rounds to.
"""

import contextlib
import heapq
import itertools
import os
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from gateway.media import g711
from gateway.media.dtmf import dtmf_tone
from gateway.media.g711 import G711, Samples
from gateway.wire.errors import RtpError
from gateway.wire.rtp import RtpPacket, TelephoneEvent, event_code

FRAME_MS = 20
FRAME_SAMPLES = 160
FRAME_NS = FRAME_MS * 1_000_000
PAYLOAD_TYPES: dict[G711, int] = {"PCMU": 0, "PCMA": 8}
PAUSE_BETWEEN_DIGITS_MS = 60
MAX_SPAN_SAMPLES = 4 * 3600 * 8000
"""Longest audio `received_audio` reconstructs; a packet placed further away is left out."""

AudioSource = Callable[[int], bytes]


@dataclass(slots=True)
class Press:
    """One key sent. Times are CLOCK_MONOTONIC nanoseconds of its first and last packet, 0 until then."""

    digit: str = field(repr=False)
    duration_ms: int
    down_ns: int = 0
    up_ns: int = 0


@dataclass(frozen=True, slots=True)
class ReceivedDigit:
    """One key heard. *transport*: "rfc4733" or "info"; *mono_ns*: when it went down."""

    digit: str = field(repr=False)
    transport: str
    duration_ms: int
    mono_ns: int


@dataclass(slots=True)
class _Event:
    press: Press
    done: Callable[[Press], None]
    timestamp: int = 0
    packets: int = 0
    ends: int = 0


@dataclass(slots=True)
class _Tone:
    press: Press
    done: Callable[[Press], None]
    samples: Samples
    position: int = 0


class MediaStream:
    """One call's RTP on its own UDP port of *host*. Attributes may be set from any thread, at any time.

    *audio_source* gives the G.711 payload of the n-th packet and runs in the media thread: it must be quick.
    """

    def __init__(self, host: str, seed: int) -> None:
        self.codec: G711 = "PCMU"
        self.event_payload_type = 101
        self.remote: tuple[str, int] | None = None
        self.remote_events = True
        self.sending = True
        self.receiving = True
        self.symmetric = False
        self.audio_during_digit = False
        self.audio_source: AudioSource | None = None
        self.jitter_ms = 0.0
        self.stopped = False
        self.drop: Callable[[int], bool] | None = None
        self.sent: list[tuple[int, int]] = []
        self.received: list[tuple[int, int, int, bytes]] = []
        self.digits: list[ReceivedDigit] = []
        self.malformed = 0
        self.failure: BaseException | None = None
        self.late_ns = 0
        self._restarts: list[int] = []
        self._random = random.Random(seed)  # noqa: S311 (RTP numbers, not secrets)
        self._ssrc = self._random.getrandbits(32)
        self._sequence = self._random.getrandbits(15)
        # A multiple of the frame, far from the wrap: jitter buffers that divide time stamps into slots see no seam.
        self._base = self._random.randrange(1 << 20) * FRAME_SAMPLES
        self._n = 0
        self._start_ns = 0
        self._marker = True
        self._playing: deque[Samples] = deque()
        self._played = 0
        self._presses: deque[_Event | _Tone] = deque()
        self._pause_ticks = 0
        self._last_ssrc: int | None = None
        self._open_event: tuple[int, int, int] | None = None
        self._not_before_ns = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((host, 0))
        self.port: int = self.socket.getsockname()[1]

    # --- from the event loop's thread ---

    def start(self) -> None:
        """Begin with packet 0 now; later calls change nothing."""
        if not self._start_ns:
            self._start_ns = time.monotonic_ns()
            ENGINE.add(self)

    def close(self) -> None:
        """Send and receive nothing any more. What was sent and received stays readable."""
        self.stopped = True
        ENGINE.remove(self)

    def play(self, samples: Samples) -> None:
        """Queue int16 mono 8 kHz audio; while it lasts it takes the place of *audio_source*."""
        self._playing.append(np.ascontiguousarray(samples, dtype=np.int16))

    @property
    def queued_samples(self) -> int:
        """Samples of `play` that were not sent yet."""
        return sum(len(part) for part in list(self._playing)) - self._played

    def press(self, press: Press, done: Callable[[Press], None]) -> None:
        """Queue a key as telephone events; *done* is called in the media thread."""
        event_code(press.digit)
        self._presses.append(_Event(press, done))

    def press_inband(self, press: Press, level_dbm0: float, done: Callable[[Press], None]) -> None:
        """Queue a key as two tones in the audio; *done* is called in the media thread."""
        self._presses.append(_Tone(press, done, dtmf_tone(press.digit, press.duration_ms, level_dbm0=level_dbm0)))

    def received_audio(self) -> Samples:
        """Return what was received as one int16 array, each packet where its time stamp says; gaps are zero.

        A stream that restarts with a new SSRC is placed by its arrival time.
        """
        packets = list(self.received)
        restarts = {at for at in list(self._restarts) if at < len(packets)}
        placed: list[tuple[int, bytes]] = []
        origin_ts = origin_ns = offset = 0
        for at, (_, timestamp, mono_ns, payload) in enumerate(packets):
            if at == 0 or at in restarts:
                offset = (mono_ns - packets[0][2]) * 8 // 1_000_000
                origin_ts, origin_ns = timestamp, mono_ns
            distance = (timestamp - origin_ts + 2**31) % 2**32 - 2**31
            if abs(distance - (mono_ns - origin_ns) * 8 // 1_000_000) < MAX_SPAN_SAMPLES:
                placed.append((offset + distance, payload))
        if not placed:
            return np.zeros(0, np.int16)
        first = min(position for position, _ in placed)
        length = max(position - first + len(payload) for position, payload in placed)
        audio = np.zeros(min(length, MAX_SPAN_SAMPLES), np.int16)
        for position, payload in placed:
            decoded = g711.decode(self.codec, payload)[: max(len(audio) - (position - first), 0)]
            audio[position - first : position - first + len(decoded)] = decoded
        return audio

    # --- in the media thread ---

    def next_due_ns(self) -> int:
        """When the next packet is due."""
        return self._start_ns + self._n * FRAME_NS

    def tick(self, now_ns: int) -> None:
        """Send what is due for packet n."""
        n, self._n = self._n, self._n + 1
        self.late_ns = max(self.late_ns, now_ns - (self._start_ns + n * FRAME_NS))
        timestamp = (self._base + n * FRAME_SAMPLES) & 0xFFFFFFFF
        press = self._presses[0] if self._presses else None
        busy = self.sending and self.remote is not None and not self.stopped
        if not busy:
            self._marker = True
            return
        if self._pause_ticks:
            self._pause_ticks -= 1
            press = None
        sounding = isinstance(press, _Event) and not press.ends
        if not sounding or self.audio_during_digit:
            payload = self._tone(press, now_ns) if isinstance(press, _Tone) else self._audio(n)
            if self.drop is None or not self.drop(n):
                self._send(PAYLOAD_TYPES[self.codec], timestamp, payload, self._marker, now_ns)
                self.sent.append((n, time.monotonic_ns()))
            else:
                self._sequence += 1
            self._marker = False
        if isinstance(press, _Event):
            self._event(press, timestamp, now_ns)

    def _audio(self, n: int) -> bytes:
        while self._playing:
            part = self._playing[0]
            frame = part[self._played : self._played + FRAME_SAMPLES]
            if len(frame) < FRAME_SAMPLES and len(self._playing) > 1:
                # A frame across two queued parts: join what is left of the first to the second.
                self._playing.popleft()
                self._playing[0] = np.concatenate((frame, self._playing[0]))
                self._played = 0
                continue
            self._played += FRAME_SAMPLES
            if self._played >= len(part):
                self._playing.popleft()
                self._played = 0
            return g711.encode(self.codec, np.pad(frame, (0, FRAME_SAMPLES - len(frame))))
        if self.audio_source is not None:
            return self.audio_source(n)
        return bytes([g711.SILENCE[self.codec]]) * FRAME_SAMPLES

    def _tone(self, tone: _Tone, now_ns: int) -> bytes:
        tone.press.down_ns = tone.press.down_ns or now_ns
        frame = tone.samples[tone.position : tone.position + FRAME_SAMPLES]
        tone.position += FRAME_SAMPLES
        if tone.position >= len(tone.samples):
            self._finish(tone, now_ns)
        return g711.encode(self.codec, np.pad(frame, (0, FRAME_SAMPLES - len(frame))))

    def _event(self, event: _Event, timestamp: int, now_ns: int) -> None:
        if not event.packets:
            event.timestamp = timestamp
            event.press.down_ns = now_ns
        event.packets += 1
        whole = event.press.duration_ms * 8
        duration = min(event.packets * FRAME_SAMPLES, whole, 0xFFFF)
        end = event.packets * FRAME_SAMPLES >= whole
        payload = TelephoneEvent(event_code(event.press.digit), duration, end).encode()
        self._send(self.event_payload_type, event.timestamp, payload, event.packets == 1, now_ns)
        if end:
            # RFC 4733 section 2.5.1.4: the last report is sent three times at the interval of the updates.
            event.ends += 1
            event.press.up_ns = event.press.up_ns or now_ns
            if event.ends == 3:
                self._finish(event, now_ns)

    def _finish(self, item: _Event | _Tone, now_ns: int) -> None:
        self._presses.popleft()
        self._pause_ticks = PAUSE_BETWEEN_DIGITS_MS // FRAME_MS
        item.press.up_ns = item.press.up_ns or now_ns
        item.done(item.press)

    def _send(self, payload_type: int, timestamp: int, payload: bytes, marker: bool, now_ns: int) -> None:
        sequence = self._sequence & 0xFFFF
        self._sequence += 1
        datagram = RtpPacket(payload_type, sequence, timestamp, self._ssrc, payload, marker).encode()
        if self.jitter_ms:
            due = now_ns + int(self._random.uniform(0, self.jitter_ms) * 1_000_000)
            self._not_before_ns = max(self._not_before_ns, due)
            ENGINE.send_later(self._not_before_ns, self, datagram)
        else:
            self.transmit(datagram)

    def transmit(self, datagram: bytes) -> None:
        """Send at once. A full socket buffer or an unreachable port loses the packet, as a network would."""
        if self.remote is not None and not self.stopped:
            with contextlib.suppress(OSError):
                self.socket.sendto(datagram, self.remote)

    def read(self, now_ns: int) -> None:
        """Take in what waits on the socket."""
        for _ in range(16):
            try:
                datagram, source = self.socket.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                # ICMP errors of earlier sends are reported here; they concern no packet of ours to read.
                continue
            try:
                packet = RtpPacket.decode(datagram)
            except RtpError:
                self.malformed += 1
                continue
            if self.symmetric:
                self.remote = source
            self._take(packet, now_ns)

    def _take(self, packet: RtpPacket, now_ns: int) -> None:
        if packet.payload_type == self.event_payload_type:
            self._take_event(packet, now_ns)
        elif packet.payload_type == PAYLOAD_TYPES[self.codec]:
            if packet.ssrc != self._last_ssrc:
                if self._last_ssrc is not None:
                    self._restarts.append(len(self.received))
                self._last_ssrc = packet.ssrc
            self.received.append((packet.sequence, packet.timestamp, now_ns, packet.payload))

    def _take_event(self, packet: RtpPacket, now_ns: int) -> None:
        try:
            event = TelephoneEvent.decode(packet.payload)
        except RtpError:
            self.malformed += 1
            return
        if not event.digit:
            return
        known = self._open_event
        if known is not None and known[:2] == (packet.timestamp, event.event):
            at = known[2]
            if event.duration // 8 > self.digits[at].duration_ms:
                digit = self.digits[at]
                self.digits[at] = ReceivedDigit(digit.digit, "rfc4733", event.duration // 8, digit.mono_ns)
            return
        self.digits.append(ReceivedDigit(event.digit, "rfc4733", event.duration // 8, now_ns))
        self._open_event = (packet.timestamp, event.event, len(self.digits) - 1)


class _Engine:
    """The media thread of the process. It starts with the first stream and then waits, idle, for the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._commands: deque[tuple[bool, MediaStream]] = deque()
        self._streams: dict[int, MediaStream] = {}
        self._due: list[tuple[int, int, MediaStream, bytes | None]] = []
        self._order = itertools.count()

    def add(self, stream: MediaStream) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="softphone-media", daemon=True)
                self._thread.start()
        self._tell(True, stream)

    def remove(self, stream: MediaStream) -> None:
        with self._lock:
            running = self._thread is not None
        if running:
            self._tell(False, stream)
        else:
            stream.socket.close()

    def send_later(self, due_ns: int, stream: MediaStream, datagram: bytes) -> None:
        """Only in the media thread."""
        heapq.heappush(self._due, (due_ns, next(self._order), stream, datagram))

    def _tell(self, add: bool, stream: MediaStream) -> None:
        self._commands.append((add, stream))
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while True:
            self._wait_and_read()
            self._obey()
            self._send_due()

    def _wait_and_read(self) -> None:
        wait_ns = self._due[0][0] - time.monotonic_ns() if self._due else -1
        # Whole milliseconds in epoll, the rest in nanosleep: epoll rounds up and every packet would be late.
        timeout = -1.0 if not self._due else max(wait_ns // 1_000_000, 0) / 1000
        ready = self._epoll.poll(timeout)
        now_ns = time.monotonic_ns()
        for handle, _ in ready:
            if handle == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            elif handle in self._streams:
                self._streams[handle].read(now_ns)
        if self._due and not ready:
            rest_ns = self._due[0][0] - time.monotonic_ns()
            if 0 < rest_ns < 2_000_000:
                time.sleep(rest_ns / 1e9)

    def _obey(self) -> None:
        while self._commands:
            add, stream = self._commands.popleft()
            handle = stream.socket.fileno()
            if add and handle >= 0:
                self._streams[handle] = stream
                self._epoll.register(handle, select.EPOLLIN)
                heapq.heappush(self._due, (stream.next_due_ns(), next(self._order), stream, None))
            elif not add and handle >= 0:
                if self._streams.pop(handle, None) is not None:
                    self._epoll.unregister(handle)
                stream.socket.close()

    def _send_due(self) -> None:
        now_ns = time.monotonic_ns()
        while self._due and self._due[0][0] <= now_ns:
            _, _, stream, datagram = heapq.heappop(self._due)
            if stream.socket.fileno() < 0:
                continue
            if datagram is not None:
                stream.transmit(datagram)
                continue
            try:
                stream.tick(now_ns)
            except Exception as error:
                # A test's audio source or drop rule failed: its own call goes silent and says why, others go on.
                stream.failure = error
                stream.stopped = True
                continue
            heapq.heappush(self._due, (stream.next_due_ns(), next(self._order), stream, None))


ENGINE = _Engine()
