"""A media worker: one process, one pjsua2 endpoint, a few calls. It carries out commands and decides nothing.

Threads: *stack* (the main thread) owns pjsua2 and is the only one to call into it; *media* is the library's
conference clock and calls the Python ports; *reader* and *writer* talk to the control process. A control process
that hangs therefore never blocks audio, and a pause reaches the recorder's gate without waiting for the stack.

When the control process dies the worker becomes an orphan: recordings are sealed at once, callers that were waiting
are connected to their fallback unrecorded, bridged calls stay up, and the process ends with its last call.
"""

import ctypes
import gc
import ipaddress
import os
import queue
import secrets
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import pjsua2 as pj
import structlog

from gateway.adapters.sip import frames
from gateway.adapters.sip.headers import (
    MAX_VALUE,
    Refused,
    header_fields,
    header_name,
    name_addr,
    party,
    passed_on,
    refuse_control,
    via_source,
)
from gateway.adapters.sip.legmedia import LEFT, RIGHT, ConferenceClock, LegMedia, LegPort
from gateway.adapters.sip.protocol import (
    Health,
    Internal,
    Ping,
    Pong,
    Ready,
    Shutdown,
    WorkerConfig,
    decode_any,
    encode_internal,
)
from gateway.adapters.sip.recording import CONTROL_LOST, Recording
from gateway.adapters.sip.sound import NotAPrompt, Prompt, load_prompt
from gateway.media.gate import RecordingGate, frames_to_skip
from gateway.media.presses import KeyPresses
from gateway.ports.media import (
    MAX_LINE_BYTES,
    Answer,
    Bridge,
    Dial,
    Digit,
    DigitEnded,
    DtmfTransport,
    HangUp,
    Incoming,
    LegAnswered,
    LegEnded,
    LegHeld,
    LegRinging,
    MediaCommand,
    MediaEvent,
    Play,
    PlayFinished,
    ProtocolError,
    RecordClose,
    RecordOpen,
    RecordPause,
    RecordResume,
    Reject,
    SendDtmf,
    StopPlay,
    encode,
)
from gateway.ports.recording import OpenWriter

_log = structlog.get_logger(__name__)

POLL_MS: Final = 10
OUTBOX_LIMIT: Final = 20_000
CLOCK_STALLED_S: Final = 1.5
EXIT_GRACE_S: Final = 3.0
RETRY_AFTER_S: Final = 5
DTMF_ALLOWED: Final = frozenset("0123456789*#ABCD")
JB_DISCARD_NONE: Final = 0
MAX_DRAIN_MS: Final = 200
TOO_MANY: Final = 70_010
"""PJ_ETOOMANY: no call slot is left. The binding does not export it."""


def run_worker(config: WorkerConfig, open_writer: OpenWriter) -> None:
    """Serve the control process on *config.control_fd* until it says so, or until it and the last call are gone.

    Never returns: the library's threads cannot be wound down safely, so the process exits.
    """
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    code = 1
    try:
        Worker(config, open_writer).run()
        code = 0
    except Exception as error:
        _log.critical("the worker failed", error=type(error).__name__)
    finally:
        sys.stderr.flush()
        os._exit(code)


class Leg:
    """One SIP dialog. Touched by the stack thread only, but for `media`, `port` and `presses`."""

    def __init__(self, leg: str, *, incoming: bool) -> None:
        self.id = leg
        self.incoming = incoming
        self.call: SipCall | None = None
        self.port: LegPort | None = None
        self.media: LegMedia
        self.audio: Any = None
        self.can_hear = False
        self.can_speak = False
        self.port_says = False
        self.heard_by: set[str] = set()
        self.state = "new"
        self.sip_call_id = ""
        self.peer: Leg | None = None
        self.beside: Leg | None = None
        self.early: Leg | None = None
        self.held = False
        self.presses = KeyPresses()
        self.identity = ("", "")
        self.fallback_uri = ""
        self.fallen_back = False
        self.early_told = False
        self.deadline = 0.0
        self.ended_by = ""
        self.ended_code = 0
        self.rx_packets = -1
        self.rx_seen = 0.0


class SipCall(pj.Call):  # type: ignore[misc]
    """The library's call. Every callback is wrapped: an exception in one must not leave a call hanging."""

    def __init__(self, worker: "Worker", leg: Leg, account: Any, call_id: int) -> None:
        super().__init__(account, call_id)
        self._worker = worker
        self._leg = leg

    def _guard(self, act: Callable[..., None], *arguments: Any) -> None:
        try:
            act(self._leg, *arguments)
        except Exception as error:
            _log.error("a call callback failed", error=type(error).__name__, callback=act.__name__)
            self._worker.to_stack(lambda: self._worker.hang_up(self._leg, 500))

    def onCallState(self, prm: Any) -> None:
        self._guard(self._worker.call_state)

    def onCallMediaState(self, prm: Any) -> None:
        self._guard(self._worker.call_media)

    def onCallRxReinvite(self, prm: Any) -> None:
        self._guard(self._worker.call_reinvited)

    def onDtmfEvent(self, prm: Any) -> None:
        self._guard(self._worker.call_dtmf, prm)

    def onCallTransferRequest(self, prm: Any) -> None:
        prm.statusCode = pj.PJSIP_SC_DECLINE

    def onCallReplaceRequest(self, prm: Any) -> None:
        prm.statusCode = pj.PJSIP_SC_DECLINE

    def onCallRedirected(self, prm: Any) -> int:
        return int(pj.PJSIP_REDIRECT_REJECT)


class SipAccount(pj.Account):  # type: ignore[misc]
    def __init__(self, worker: "Worker") -> None:
        super().__init__()
        self._worker = worker

    def onIncomingCall(self, prm: Any) -> None:
        leg = Leg(self._worker.new_leg_id(), incoming=True)
        try:
            leg.call = SipCall(self._worker, leg, self, prm.callId)
            self._worker.incoming(leg, prm.rdata)
        except Exception as error:
            _log.error("an incoming call could not be taken", error=type(error).__name__)
            if leg.call is not None:
                self._worker.bury(leg.call)
                with suppress(pj.Error):
                    leg.call.answer(_op(500))


class SipLog(pj.LogWriter):  # type: ignore[misc]
    """The library prints whole SIP messages; none of it may reach a log. What is left is a count."""

    def __init__(self) -> None:
        super().__init__()
        self.errors = 0

    def write(self, entry: Any) -> None:
        self.errors += 1


def _op(code: int, reason: str = "", headers: Iterable[tuple[str, str]] = ()) -> Any:
    prm = pj.CallOpParam(True)
    prm.statusCode = code
    prm.reason = reason
    prm.opt.audioCount = 1
    prm.opt.videoCount = 0
    if headers:
        vector = pj.SipHeaderVector()
        for name, value in headers:
            header = pj.SipHeader()
            header.hName = header_name(name)
            header.hValue = refuse_control(value, MAX_VALUE)
            vector.append(header)
        prm.txOption.headers = vector
    return prm


class Worker:
    """The whole of one worker process."""

    def __init__(self, config: WorkerConfig, open_writer: OpenWriter) -> None:
        self._config = config
        self._open_writer = open_writer
        self._socket = socket.socket(fileno=config.control_fd)
        self._jobs: deque[Callable[[], None]] = deque()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._legs: dict[str, Leg] = {}
        self._recordings: dict[str, Recording] = {}
        self._shuts: dict[str, int] = {}
        self._shuts_lock = threading.Lock()
        self._buried: list[Any] = []
        self._idle_ports: deque[LegPort] = deque()
        self._ports_made = 0
        self._sources = tuple(ipaddress.ip_network(source) for source in config.sources)
        self._orphan = threading.Event()
        self._ending = 0.0
        self._next_second = 0.0
        self._host = config.bind_host
        self._port = 0
        self._max_calls = 0
        self._log_writer: Any = None

    # --- life ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        sys.setswitchinterval(0.001)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, -10)
        self._start_stack()
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        writer = threading.Thread(target=self._write, name="writer", daemon=True)
        writer.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        self._tell(
            Ready(self._host, self._port, self._max_calls, str(self._endpoint.libVersion().full), self._fast_frames)
        )
        while not self._finished():
            self._endpoint.libHandleEvents(POLL_MS)
            while self._jobs:
                self._run_job(self._jobs.popleft())
            self._buried.clear()
            now = time.monotonic()
            if now >= self._next_second:
                self._next_second = now + 1.0
                self._every_second(now)
            self._check_deadlines(now)
        for recording in list(self._recordings.values()):
            recording.close("worker ended")
        for recording in list(self._recordings.values()):
            recording.finished.wait(EXIT_GRACE_S)
        self._outbox.put(None)
        writer.join(1.0)

    def _finished(self) -> bool:
        if self._ending and time.monotonic() > self._ending:
            return True
        return not self._legs and (self._orphan.is_set() or self._ending > 0) and not self._jobs

    def _run_job(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            _log.error("a command failed", error=type(error).__name__)

    def to_stack(self, job: Callable[[], None]) -> None:
        """Any thread: have *job* run by the thread that owns the SIP stack."""
        self._jobs.append(job)

    def bury(self, call: Any) -> None:
        """Keep an ended call alive until the library has left its callbacks."""
        self._buried.append(call)

    def new_leg_id(self) -> str:
        return f"in-{self._config.index}-{secrets.token_hex(8)}"

    # --- the stack ----------------------------------------------------------------------------------------

    def _start_stack(self) -> None:
        config = self._config
        self._endpoint = pj.Endpoint()
        quiet = os.open(os.devnull, os.O_WRONLY)
        stdout = os.dup(1)
        os.dup2(quiet, 1)
        self._endpoint.libCreate()
        settings = pj.EpConfig()
        self._log_writer = SipLog()
        settings.logConfig.level = 1
        settings.logConfig.consoleLevel = 0
        settings.logConfig.msgLogging = 0
        settings.logConfig.writer = self._log_writer
        settings.uaConfig.threadCnt = 0
        settings.uaConfig.mainThreadOnly = False
        settings.uaConfig.maxCalls = config.max_calls
        settings.uaConfig.userAgent = "consent-gateway"
        media = settings.medConfig
        media.clockRate = media.sndClockRate = 8_000
        media.channelCount = 1
        media.audioFramePtime = media.ptime = 20
        media.threadCnt = 1
        media.hasIoqueue = True
        media.noVad = True
        media.ecTailLen = 0
        media.jbInit = media.jbMinPre = media.jbMaxPre = config.jitter_buffer_ms
        media.jbMax = config.jitter_buffer_max_ms
        _never_discard(media)
        self._endpoint.libInit(settings)
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(quiet)
        self._max_calls = _true_max_calls(config.max_calls)
        transport = pj.TransportConfig()
        transport.port = config.sip_port
        transport.boundAddress = config.bind_host
        transport.publicAddress = config.advertised_host
        transport_id = self._endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
        local = self._endpoint.transportGetInfo(transport_id).localAddress
        self._port = int(str(local).rpartition(":")[2])
        self._host = config.advertised_host or config.bind_host
        self._endpoint.libStart()
        self._endpoint.audDevManager().setNullDev()
        self._set_codecs()
        self._fast_frames = frames.self_test()
        self._format = pj.MediaFormatAudio()
        self._format.init(pj.PJMEDIA_FORMAT_PCM, 8_000, 1, 20_000, 16)
        self._clock = ConferenceClock()
        self._clock.createPort("clock", self._format)
        for _ in range(min(self._max_calls, 16)):
            self._idle_ports.append(self._make_port())
        self._account = SipAccount(self)
        self._account.create(self._account_config())

    def _account_config(self) -> Any:
        config = self._config
        account = pj.AccountConfig()
        account.idUri = f"sip:gateway@{self._host}:{self._port}"
        account.callConfig.timerUse = pj.PJSUA_SIP_TIMER_INACTIVE
        account.natConfig.contactRewriteUse = 0
        account.natConfig.viaRewriteUse = 0
        account.natConfig.sdpNatRewriteUse = 0
        first, end = config.rtp_ports
        transport = account.mediaConfig.transportConfig
        transport.port = first
        transport.portRange = max(2, end - first - 2)
        transport.boundAddress = config.bind_host
        transport.publicAddress = config.advertised_host
        account.mediaConfig.lockCodecEnabled = False
        return account

    def _set_codecs(self) -> None:
        for codec in self._endpoint.codecEnum2():
            name = str(codec.codecId)
            parameters = self._endpoint.codecGetParam(name)
            parameters.setting.vad = False
            if name.startswith(("PCMU/", "PCMA/")):
                # A lost packet is silence in the recording, never a guess made from the frame before it.
                parameters.setting.plc = False
                self._endpoint.codecSetPriority(name, 255 if name.startswith("PCMU/") else 254)
            with suppress(pj.Error):
                self._endpoint.codecSetParam(name, parameters)

    def _make_port(self) -> LegPort:
        port = LegPort()
        self._ports_made += 1
        port.createPort(f"leg{self._ports_made}", self._format)
        return port

    # --- the control process ------------------------------------------------------------------------------

    def _tell(self, message: MediaEvent | Internal) -> None:
        """Any thread: queue a message for the control process; never waits."""
        if self._orphan.is_set():
            return
        try:
            line = encode(message) if isinstance(message, MediaEvent) else encode_internal(message)
        except ProtocolError:
            _log.error("an event is too long for the control process")
            return
        if self._outbox.qsize() > OUTBOX_LIMIT:
            self._lose_control()
            return
        self._outbox.put(line)

    def _write(self) -> None:
        while (line := self._outbox.get()) is not None:
            try:
                self._socket.sendall(line)
            except OSError:
                self._lose_control()
                return

    def _read(self) -> None:
        pending = b""
        while True:
            try:
                chunk = self._socket.recv(65_536)
            except OSError:
                chunk = b""
            if not chunk:
                self._lose_control()
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                try:
                    self._received(decode_any(line))
                except ProtocolError:
                    _log.error("a line from the control process is not of the protocol")
            if len(pending) > MAX_LINE_BYTES:
                self._lose_control()
                return

    def _received(self, message: object) -> None:
        """Reader thread. A pause goes straight to the gate; a resume that it overtook is void."""
        if isinstance(message, RecordPause | RecordClose):
            with self._shuts_lock:
                self._shuts[message.recording] = self._shuts.get(message.recording, 0) + 1
                recording = self._recordings.get(message.recording)
            if recording is not None:
                self._shut(recording, message)
            else:
                self.to_stack(lambda: self._shut_late(message))
        elif isinstance(message, RecordOpen | RecordResume):
            shuts = self._shuts.get(message.recording, 0)
            self.to_stack(lambda: self._open_or_resume(message, shuts))
        elif isinstance(message, Ping):
            self.to_stack(lambda: self._pong(message.number))
        elif isinstance(message, Shutdown):
            self.to_stack(self._shut_down)
        elif isinstance(message, MediaCommand):
            self.to_stack(lambda: self._carry_out(message))

    def _pong(self, number: int) -> None:
        if time.monotonic_ns() - self._clock.last_ns < CLOCK_STALLED_S * 1e9:
            self._tell(Pong(number))

    def _lose_control(self) -> None:
        """Any thread, once: close every gate first, the rest is for the stack thread."""
        with self._shuts_lock:
            if self._orphan.is_set():
                return
            self._orphan.set()
            recordings = list(self._recordings.values())
        for recording in recordings:
            recording.close(CONTROL_LOST)
        self._outbox.put(None)
        _log.error("the control process is gone")
        self.to_stack(self._fall_back)

    def _fall_back(self) -> None:
        for leg in list(self._legs.values()):
            if leg.incoming and leg.state in ("new", "ringing"):
                self._answer_busy(leg, 503, (("Retry-After", str(RETRY_AFTER_S)),))
            elif leg.incoming and leg.peer is None:
                self._connect_fallback(leg)

    def _connect_fallback(self, leg: Leg) -> None:
        """Connect a waiting caller unrecorded. A leg that is being dialled for him already is good enough."""
        self._cut(leg)
        if leg.state not in ("answering", "up") or leg.fallen_back:
            return
        if any(other.beside is leg for other in self._legs.values()):
            leg.fallen_back = True
            for other in list(self._legs.values()):
                if other.beside is leg and other.state == "up":
                    self._bridge(leg, other)
            return
        if not leg.fallback_uri:
            return
        leg.fallen_back = True
        number, name = leg.identity
        self._dial(Dial(f"fallback-{secrets.token_hex(8)}", leg.id, leg.fallback_uri, number, name))

    def _shut_down(self) -> None:
        self._ending = self._ending or time.monotonic() + EXIT_GRACE_S
        for recording in list(self._recordings.values()):
            recording.close("worker ended")
        for leg in list(self._legs.values()):
            self.hang_up(leg, 503)

    # --- once a second, and deadlines ---------------------------------------------------------------------

    def _every_second(self, now: float) -> None:
        p99, greatest = self._clock.gaps_ms()
        self._tell(Health(round(p99, 2), round(greatest, 2), len(self._legs), len(self._recordings)))
        for leg in list(self._legs.values()):
            if leg.state == "up" and leg.audio is not None and leg.call is not None:
                self._watch_media(leg, now)

    def _watch_media(self, leg: Leg, now: float) -> None:
        try:
            statistics = leg.call.getStreamStat(0)  # type: ignore[union-attr]
            packets = int(statistics.rtcp.rxStat.pkt)
        except pj.Error:
            return
        if packets != leg.rx_packets or leg.held or not leg.can_hear:
            leg.rx_packets, leg.rx_seen = packets, now
        elif now - leg.rx_seen > self._config.media_lost_s:
            leg.ended_by = "media"
            leg.ended_code = 408
            self.hang_up(leg, 408)

    def _check_deadlines(self, now: float) -> None:
        for leg in list(self._legs.values()):
            if leg.deadline and now > leg.deadline:
                leg.deadline = 0.0
                leg.ended_by, leg.ended_code = "timeout", 408 if not leg.incoming else 480
                self.hang_up(leg, 480)

    # --- legs ---------------------------------------------------------------------------------------------

    def _add_leg(self, leg: Leg) -> None:
        leg.media = LegMedia(
            self._clock,
            on_key=lambda what, digit, age_ms, length_ms: self._inband(leg, what, digit, age_ms, length_ms),
            on_played=lambda prompt: self._played(leg, prompt),
            inband=self._config.inband_dtmf,
        )
        leg.port = self._idle_ports.popleft() if self._idle_ports else self._make_port()
        leg.port.media = leg.media
        self._legs[leg.id] = leg

    def _free_pairs(self) -> int:
        callers = sum(1 for leg in self._legs.values() if leg.incoming)
        strays = sum(
            1
            for leg in self._legs.values()
            if not leg.incoming and (leg.beside is None or leg.beside.id not in self._legs)
        )
        return (self._max_calls - 2 * callers - strays) // 2

    def incoming(self, leg: Leg, rdata: Any) -> None:
        """A new INVITE: refuse, redirect, or report it."""
        assert leg.call is not None
        address = str(rdata.srcAddress)
        if not self._allowed(address):
            _log.warning("an INVITE from an unknown source was refused")
            self._answer_busy(leg, 403)
        elif self._orphan.is_set() or self._ending:
            self._answer_busy(leg, 503, (("Retry-After", str(RETRY_AFTER_S)),))
        elif self._free_pairs() < 1:
            public = self._config.public_address
            if public:
                self._answer_busy(leg, 302, (("Contact", f"<sip:{public}>"),))
            else:
                self._answer_busy(leg, 486)
        else:
            fields = header_fields(str(rdata.wholeMsg))
            values = dict(reversed(fields))
            caller, called = party(values.get("from", "")), party(values.get("to", ""))
            self._add_leg(leg)
            leg.state = "ringing"
            leg.identity = (caller.number, caller.name)
            leg.sip_call_id = values.get("call-id", "")
            leg.deadline = time.monotonic() + self._config.unanswered_s
            self._tell(
                Incoming(
                    time.monotonic_ns(),
                    leg.id,
                    leg.sip_call_id[:256],
                    caller.number,
                    caller.name,
                    called.number,
                    via_source(fields, address),
                    passed_on(fields),
                )
            )

    def _allowed(self, address: str) -> bool:
        host = address.rpartition(":")[0].strip("[]")
        try:
            source = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(source in network for network in self._sources)

    def _answer_busy(self, leg: Leg, code: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        assert leg.call is not None
        if leg.id not in self._legs:
            self.bury(leg.call)
        leg.ended_by = leg.ended_by or "local"
        with suppress(pj.Error):
            leg.call.answer(_op(code, headers=headers))

    def hang_up(self, leg: Leg, code: int) -> None:
        """End a leg whatever its state; gone already: nothing."""
        if leg.id not in self._legs or leg.call is None:
            return
        leg.ended_by = leg.ended_by or "local"
        if leg.call.getId() == pj.PJSUA_INVALID_ID:  # hanging that up would abort the process
            self._end_leg(leg, code)
            return
        try:
            leg.call.hangup(_op(code))
        except pj.Error:
            self._end_leg(leg, code)

    def call_state(self, leg: Leg) -> None:
        """Stack thread, from the library: the dialog moved on."""
        if leg.call is None:
            return
        info = leg.call.getInfo()
        state = info.state
        if not leg.sip_call_id:
            leg.sip_call_id = str(info.callIdString)
        if state == pj.PJSIP_INV_STATE_EARLY and not leg.incoming and leg.id in self._legs:
            self._ringing(leg, int(info.lastStatusCode))
        elif state == pj.PJSIP_INV_STATE_CONFIRMED:
            leg.state = "confirmed"
            leg.deadline = 0.0
            self._check_answered(leg)
        elif state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._end_leg(leg, int(info.lastStatusCode))

    def _ringing(self, leg: Leg, code: int) -> None:
        leg.state = "ringing"
        early = leg.audio is not None and leg.can_hear
        self._tell(LegRinging(time.monotonic_ns(), leg.id, code, early))
        caller = leg.beside
        if caller is not None and caller.id in self._legs and caller.peer is None and not early:
            caller.media.ring(True)

    def _check_answered(self, leg: Leg) -> None:
        if leg.state != "confirmed" or leg.audio is None or leg.call is None:
            return
        leg.state = "up"
        leg.rx_seen = time.monotonic()
        try:
            codec = str(leg.call.getStreamInfo(0).codecName)
        except pj.Error:
            codec = ""
        if leg.beside is not None and leg.beside.id in self._legs:
            leg.beside.media.ring(False)
        self._tell(LegAnswered(time.monotonic_ns(), leg.id, leg.sip_call_id[:256], codec))
        if self._orphan.is_set():
            caller = leg.beside
            if caller is not None and caller.id in self._legs and caller.peer is None:
                self._bridge(caller, leg)
            elif leg.incoming and leg.peer is None:
                self._connect_fallback(leg)

    def _end_leg(self, leg: Leg, code: int) -> None:
        if self._legs.pop(leg.id, None) is None:
            if leg.call is not None:
                self.bury(leg.call)
            return
        self._cut(leg)
        leg.state = "ended"
        leg.audio = None
        if leg.port is not None:
            leg.port.media = None
            self._idle_ports.append(leg.port)
            leg.port = None
        if leg.call is not None:
            self.bury(leg.call)
            leg.call = None
        self._tell(LegEnded(time.monotonic_ns(), leg.id, leg.ended_code or code, leg.ended_by or "remote"))  # type: ignore[arg-type]
        self._end_neighbours(leg, code)
        self._end_recordings(leg)

    def _end_neighbours(self, leg: Leg, code: int) -> None:
        for other in list(self._legs.values()):
            if other.peer is leg:
                other.peer = None
                self.hang_up(other, 603)
            elif other.beside is leg:
                self.hang_up(other, 487)
        caller = leg.beside
        if caller is not None and caller.id in self._legs:
            caller.media.ring(False)
            if caller.early is leg:
                caller.early = None
                self._wire(caller)
            if (
                self._orphan.is_set()
                and caller.peer is None
                and not any(other.beside is caller for other in self._legs.values())
            ):
                self.hang_up(caller, code if code >= 400 else 480)

    def _end_recordings(self, leg: Leg) -> None:
        """A recording whose both legs are gone ends by itself."""
        for side, listener in leg.media.listeners:
            if isinstance(listener, Recording):
                others = [
                    other
                    for other in self._legs.values()
                    if any(item is listener and at != side for at, item in other.media.listeners)
                ]
                if not others:
                    listener.close("call ended")
        leg.media.listeners = ()

    # --- media --------------------------------------------------------------------------------------------

    def call_media(self, leg: Leg) -> None:
        """Stack thread, from the library: the audio of a leg appeared, changed or went."""
        if leg.call is None or leg.id not in self._legs:
            return
        leg.audio, leg.can_hear, leg.can_speak = None, False, False
        info = leg.call.getInfo()  # must outlive the loop: the binding's vector belongs to it
        for index, media in enumerate(info.media):
            if media.type != pj.PJMEDIA_TYPE_AUDIO or media.status in (
                pj.PJSUA_CALL_MEDIA_NONE,
                pj.PJSUA_CALL_MEDIA_ERROR,
            ):
                continue
            leg.audio = leg.call.getAudioMedia(index)
            leg.can_hear = bool(media.dir & pj.PJMEDIA_DIR_DECODING)
            leg.can_speak = bool(media.dir & pj.PJMEDIA_DIR_ENCODING)
            break
        leg.port_says = False
        leg.heard_by.clear()
        caller = leg.beside
        if caller is not None and caller.id in self._legs and leg.can_hear and caller.peer is None:
            caller.early = leg
            caller.media.ring(False)
            if leg.state == "ringing" and not leg.early_told:
                leg.early_told = True
                self._tell(LegRinging(time.monotonic_ns(), leg.id, 183, True))
        self._wire(leg)
        held = leg.state in ("confirmed", "up") and not (leg.can_speak and leg.can_hear)
        if leg.state == "up" and held != leg.held:
            self._tell(LegHeld(time.monotonic_ns(), leg.id, held))
        leg.held = held
        self._check_answered(leg)

    def call_reinvited(self, leg: Leg) -> None:
        """Stack thread, from the library, before a re-INVITE is carried out: that throws the jitter buffer away.

        The last words before a hold are still in it. A leg that is being recorded gets them out first, which takes
        as long as they last.
        """
        if leg.id in self._legs and leg.media.listeners:
            time.sleep(min(MAX_DRAIN_MS, self._delay_ms(leg) + 20) / 1000)

    def _wire(self, leg: Leg) -> None:
        """Bring the conference's connections of a leg, and of those it talks to, to what they should be."""
        if leg.id not in self._legs:
            return
        if leg.audio is not None and leg.port is not None and leg.can_hear:
            leg.audio.startTransmit(leg.port)
        self._wire_speech(leg)
        for other in list(self._legs.values()):
            if other.peer is leg or other.early is leg:
                self._wire_speech(other)

    def _wire_speech(self, leg: Leg) -> None:
        """Who is heard by *leg*: the leg it is connected to, its own port while that has something to say."""
        if leg.audio is None or leg.port is None:
            return
        source = leg.peer or leg.early
        connected = source is not None and source.audio is not None and source.can_hear and leg.can_speak
        for other in list(self._legs.values()):
            if leg.id in other.heard_by and (other is not source or not connected):
                other.heard_by.discard(leg.id)
                if other.audio is not None:
                    with suppress(pj.Error):
                        other.audio.stopTransmit(leg.audio)
        if connected:
            assert source is not None
            source.audio.startTransmit(leg.audio)
            source.heard_by.add(leg.id)
        says = leg.can_speak and (not connected or leg.media.playing)
        if says:
            leg.port.startTransmit(leg.audio)
        elif leg.port_says:
            with suppress(pj.Error):
                leg.port.stopTransmit(leg.audio)
        leg.port_says = says

    def _bridge(self, a: Leg, b: Leg) -> None:
        for leg, other in ((a, b), (b, a)):
            leg.peer = other
            leg.early = None
            leg.media.ring(False)
        self._wire(a)
        self._wire(b)

    def _played(self, leg: Leg, prompt: Prompt, *, rewire: bool = True) -> None:
        self._tell(
            PlayFinished(time.monotonic_ns(), leg.id, prompt.play, prompt.played_ms, prompt.length_ms, prompt.completed)
        )
        if rewire:
            self.to_stack(lambda: self._wire_speech(leg) if leg.id in self._legs else None)

    def _cut(self, leg: Leg, play: str | None = None) -> None:
        prompt = leg.media.cut(play)
        if prompt is not None:
            self._played(leg, prompt)

    # --- digits -------------------------------------------------------------------------------------------

    def call_dtmf(self, leg: Leg, prm: Any) -> None:
        """From the library: the media thread for RFC 4733, the stack thread for SIP INFO."""
        info = prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO
        transport: DtmfTransport = "info" if info else "rfc4733"
        digit, flags, duration = str(prm.digit).upper()[:1], int(prm.flags), int(prm.duration)
        if digit not in DTMF_ALLOWED:
            return
        if info or not flags & 1:
            self._key_down(leg, digit, transport)
        if flags & 2:
            self._key_up(leg, digit, transport, duration)

    def _inband(self, leg: Leg, what: str, digit: str, age_ms: int, length_ms: int) -> None:
        if what == "down":
            self._key_down(leg, digit, "inband", age_ms)
        else:
            self._key_up(leg, digit, "inband", length_ms, age_ms)

    def _key_down(self, leg: Leg, digit: str, transport: DtmfTransport, age_ms: int = 0) -> None:
        at_ns = time.monotonic_ns() - age_ms * 1_000_000
        if leg.presses.down(digit, transport, at_ns / 1e6):
            self._tell(Digit(at_ns, leg.id, digit, transport))

    def _key_up(self, leg: Leg, digit: str, transport: DtmfTransport, duration_ms: int, age_ms: int = 0) -> None:
        at_ns = time.monotonic_ns() - age_ms * 1_000_000
        held_ms = leg.presses.up(digit, transport, at_ns / 1e6, duration_ms)
        if held_ms is not None:
            self._tell(DigitEnded(at_ns, leg.id, digit, held_ms))

    # --- commands -----------------------------------------------------------------------------------------

    def _carry_out(self, command: MediaCommand) -> None:
        if isinstance(command, Dial):
            self._dial(command)
            return
        if isinstance(command, Bridge):
            a, b = self._legs.get(command.a), self._legs.get(command.b)
            if a is not None and b is not None:
                self._bridge(a, b)
            return
        leg = self._legs.get(getattr(command, "leg", ""))
        if leg is None or leg.call is None:
            if isinstance(command, Play):
                self._tell(PlayFinished(time.monotonic_ns(), command.leg, command.play, 0, 0, False))
            return
        if isinstance(command, Answer):
            leg.fallback_uri = command.fallback_uri
            if leg.incoming and leg.state == "ringing":
                leg.state = "answering"
                leg.call.answer(_op(200))
        elif isinstance(command, Reject):
            headers = (("Contact", f"<{command.contact}>"),) if command.contact else ()
            leg.ended_by = leg.ended_by or "local"
            leg.call.answer(_op(command.code, command.reason, headers))
        elif isinstance(command, Play):
            self._play(leg, command)
        elif isinstance(command, StopPlay):
            self._cut(leg, command.play)
        elif isinstance(command, HangUp):
            self.hang_up(leg, command.code)
        elif isinstance(command, SendDtmf) and set(command.digits) <= DTMF_ALLOWED:
            leg.call.dialDtmf(command.digits)

    def _play(self, leg: Leg, command: Play) -> None:
        try:
            prompt = Prompt(command.play, load_prompt(command.path))
        except (OSError, NotAPrompt) as error:
            _log.error("a prompt cannot be played: it must be a WAV file, 8 kHz mono int16", error=type(error).__name__)
            self._tell(PlayFinished(time.monotonic_ns(), leg.id, command.play, 0, 0, False))
            return
        cut = leg.media.play(prompt)
        if cut is not None:
            self._played(leg, cut, rewire=False)
        self._wire_speech(leg)

    def _dial(self, command: Dial) -> None:
        beside = self._legs.get(command.beside)
        leg = Leg(command.leg, incoming=False)
        if beside is None:
            self._tell(LegEnded(time.monotonic_ns(), leg.id, 487, "local"))
            return
        try:
            prm = _op(0, headers=command.headers)
            prm.txOption.localUri = name_addr(command.from_name, command.from_number, f"{self._host}:{self._port}")
            uri = refuse_control(command.uri, MAX_VALUE)
        except Refused:
            self._tell(LegEnded(time.monotonic_ns(), leg.id, 400, "local"))
            return
        leg.beside = beside
        leg.deadline = time.monotonic() + command.timeout_ms / 1000
        self._add_leg(leg)
        leg.state = "dialling"
        call = leg.call = SipCall(self, leg, self._account, int(pj.PJSUA_INVALID_ID))
        try:
            call.makeCall(uri, prm)
        except pj.Error as error:
            leg.ended_by = "local"
            self._end_leg(leg, 503 if error.status == TOO_MANY else 400)

    # --- recordings ---------------------------------------------------------------------------------------

    def _skip(self, leg: Leg | None) -> int:
        """Frames of this leg that were sent before now and are still to come out of its jitter buffer."""
        return 0 if leg is None or leg.call is None else frames_to_skip(self._delay_ms(leg))

    def _delay_ms(self, leg: Leg) -> float:
        """What the leg's jitter buffer holds."""
        delay_ms = float(self._config.jitter_buffer_ms)
        with suppress(pj.Error):
            statistics = leg.call.getStreamStat(0)  # type: ignore[union-attr]  # must outlive its member
            buffer = statistics.jbuf
            # The library keeps G.711 in frames of 10 ms; no codec it has uses longer ones than 30 ms for 8 kHz.
            delay_ms = max(int(buffer.size) * 10.0, float(buffer.avgDelayMsec))
        return delay_ms

    def _open_or_resume(self, command: RecordOpen | RecordResume, shuts_then: int) -> None:
        with self._shuts_lock:
            overtaken = self._shuts.get(command.recording, 0) != shuts_then
        if isinstance(command, RecordResume):
            recording = self._recordings.get(command.recording)
            if recording is not None and not overtaken:
                left, right = (self._listening(recording, side) for side in (LEFT, RIGHT))
                recording.resume(command.cause, (self._skip(left), self._skip(right)))
            return
        self._open(command, paused=command.paused or overtaken)

    def _listening(self, recording: Recording, side: int) -> Leg | None:
        for leg in self._legs.values():
            if any(listener is recording and at == side for at, listener in leg.media.listeners):
                return leg
        return None

    def _open(self, command: RecordOpen, *, paused: bool) -> None:
        left, right = self._legs.get(command.left), self._legs.get(command.right)
        gate = RecordingGate(
            look_behind=max(0, command.look_behind_ms) // 20,
            fill=command.paused_fill,
            paused=paused,
            cause=command.cause,
            skip=(self._skip(left), self._skip(right)),
        )
        recording = Recording(
            command.recording,
            command.path,
            gate,
            self._open_writer(command.path, command.recipient),
            emit=self._tell,
            on_closed=lambda closed: self.to_stack(lambda: self._forget(closed)),
        )
        with self._shuts_lock:
            if command.recording in self._recordings:
                return
            self._recordings[command.recording] = recording
            orphan = self._orphan.is_set()
        if orphan or (left is None and right is None):
            recording.close(CONTROL_LOST if orphan else "call ended")
        for side, leg in ((LEFT, left), (RIGHT, right)):
            if leg is not None:
                leg.media.listeners = (*leg.media.listeners, (side, recording))
        self._clock.recordings = (*self._clock.recordings, recording)

    def _shut(self, recording: Recording, command: RecordPause | RecordClose) -> None:
        if isinstance(command, RecordPause):
            recording.pause(command.cause)
        else:
            recording.close(command.cause, purge=command.purge)

    def _shut_late(self, command: RecordPause | RecordClose) -> None:
        recording = self._recordings.get(command.recording)
        if recording is not None:
            self._shut(recording, command)

    def _forget(self, recording: Recording) -> None:
        with self._shuts_lock:
            self._recordings.pop(recording.id, None)
            self._shuts.pop(recording.id, None)
        self._clock.recordings = tuple(item for item in self._clock.recordings if item is not recording)
        for leg in self._legs.values():
            leg.media.listeners = tuple(item for item in leg.media.listeners if item[1] is not recording)


def _true_max_calls(configured: int) -> int:
    """How many dialogs the loaded library really allows. It clamps the setting without a word, and the Python
    binding has no way to ask, so the C function is called; a build that hides it is taken as the wheel (4)."""
    try:
        library = ctypes.CDLL(pj._pjsua2.__file__)
        return min(int(library.pjsua_call_get_max_count()), configured)
    except (AttributeError, OSError):
        _log.warning("the library does not tell its limit of calls: 4 are assumed")
        return min(4, configured)


def _never_discard(media: Any) -> None:
    """Tell the jitter buffer never to drop a frame to win back delay: each would be missing in a recording.

    The binding exposes this C enumeration as an untyped pointer only, so it is set through memory.
    """
    try:
        algorithm = media.jbDiscardAlgo
        ctypes.c_int.from_address(int(algorithm)).value = JB_DISCARD_NONE
        media.jbDiscardAlgo = algorithm
    except (AttributeError, TypeError):
        _log.warning("the jitter buffer's discard setting is not reachable")
