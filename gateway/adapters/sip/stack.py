"""pjsua2 set up for this gateway: one endpoint, one account, one UDP transport, an 8 kHz conference, Python ports.

Everything here belongs to the thread that owns the library.
"""

import ctypes
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import pjsua2 as pj
import structlog

from gateway.adapters.sip import frames
from gateway.adapters.sip.headers import MAX_VALUE, header_name, refuse_control
from gateway.adapters.sip.legmedia import ConferenceClock, LegPort
from gateway.adapters.sip.protocol import WorkerConfig

_log = structlog.get_logger(__name__)

WHEEL_MAX_CALLS: Final = 4
JB_DISCARD_NONE: Final = 0
PORTS_AT_START: Final = 16


class SipLog(pj.LogWriter):  # type: ignore[misc]
    """The library prints whole SIP messages; none of it may reach a log. What is left is a count."""

    def __init__(self) -> None:
        super().__init__()
        self.errors = 0

    def write(self, entry: Any) -> None:
        self.errors += 1


class SipStack:
    """The running library. One per process, never taken down: the process exits instead."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._log = SipLog()
        self._endpoint = pj.Endpoint()
        with _standard_output_closed():
            self._endpoint.libCreate()
            self._endpoint.libInit(self._settings())
        self.max_calls = true_max_calls(config.max_calls)
        self.host = config.advertised_host or config.bind_host
        self.port = self._open_transport()
        self._endpoint.libStart()
        self._endpoint.audDevManager().setNullDev()
        self._set_codecs()
        self.fast_frames = frames.self_test()
        self.version = str(self._endpoint.libVersion().full)
        self._format = pj.MediaFormatAudio()
        self._format.init(pj.PJMEDIA_FORMAT_PCM, 8_000, 1, 20_000, 16)
        self.clock = ConferenceClock()
        self.clock.createPort("clock", self._format)
        self._made: list[LegPort] = []
        self._idle: deque[LegPort] = deque()
        for _ in range(min(self.max_calls, PORTS_AT_START)):
            self._idle.append(self._make_port())

    def poll(self, at_most_ms: int) -> None:
        """Let the library work: timers, SIP messages, callbacks."""
        self._endpoint.libHandleEvents(at_most_ms)

    def lend_port(self) -> LegPort:
        """A conference port for one leg. Give it back with `return_port`; it is never destroyed."""
        return self._idle.popleft() if self._idle else self._make_port()

    def return_port(self, port: LegPort) -> None:
        port.media = None
        self._idle.append(port)

    def open_account(self, account: Any) -> None:
        """Take calls on *account*, a `pj.Account`."""
        settings = pj.AccountConfig()
        settings.idUri = f"sip:gateway@{self.host}:{self.port}"
        settings.callConfig.timerUse = pj.PJSUA_SIP_TIMER_INACTIVE
        settings.natConfig.contactRewriteUse = 0
        settings.natConfig.viaRewriteUse = 0
        settings.natConfig.sdpNatRewriteUse = 0
        settings.mediaConfig.lockCodecEnabled = False
        first, end = self._config.rtp_ports
        transport = settings.mediaConfig.transportConfig
        transport.port = first
        transport.portRange = max(2, end - first - 2)
        transport.randomizePort = True  # the workers share the range; a taken port is tried again with the next
        transport.boundAddress = self._config.bind_host
        transport.publicAddress = self._config.advertised_host
        account.create(settings)

    def _settings(self) -> Any:
        settings = pj.EpConfig()
        settings.logConfig.level = 1
        settings.logConfig.consoleLevel = 0
        settings.logConfig.msgLogging = 0
        settings.logConfig.writer = self._log
        settings.uaConfig.threadCnt = 0
        settings.uaConfig.mainThreadOnly = False
        settings.uaConfig.maxCalls = self._config.max_calls
        settings.uaConfig.userAgent = "consent-gateway"
        media = settings.medConfig
        media.sndAutoCloseTime = -1  # the conference clock must run on between calls, or the first call waits for it
        media.clockRate = media.sndClockRate = 8_000
        media.channelCount = 1
        media.audioFramePtime = media.ptime = 20
        media.threadCnt = 1
        media.hasIoqueue = True
        media.noVad = True
        media.ecTailLen = 0
        media.jbInit = media.jbMinPre = media.jbMaxPre = self._config.jitter_buffer_ms
        media.jbMax = self._config.jitter_buffer_max_ms
        _never_discard(media)
        return settings

    def _open_transport(self) -> int:
        transport = pj.TransportConfig()
        transport.port = self._config.sip_port
        transport.boundAddress = self._config.bind_host
        transport.publicAddress = self._config.advertised_host
        opened = self._endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
        info = self._endpoint.transportGetInfo(opened)
        return int(str(info.localAddress).rpartition(":")[2])

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
        self._made.append(port)
        port.createPort(f"leg{len(self._made)}", self._format)
        return port


def call_op(code: int, reason: str = "", headers: Iterable[tuple[str, str]] = ()) -> Any:
    """What goes with a call operation: the status and headers of ours. Raises `headers.Refused`."""
    operation = pj.CallOpParam(True)
    operation.statusCode = code
    operation.reason = reason
    operation.opt.audioCount = 1
    operation.opt.videoCount = 0
    vector = pj.SipHeaderVector()
    for name, value in headers:
        header = pj.SipHeader()
        header.hName = header_name(name)
        header.hValue = refuse_control(value, MAX_VALUE)
        vector.append(header)
    operation.txOption.headers = vector
    return operation


def options_request() -> Any:
    """An OPTIONS inside a dialog: any answer says that the far end is there."""
    request = pj.CallSendRequestParam()
    request.method = "OPTIONS"
    return request


def true_max_calls(configured: int) -> int:
    """How many dialogs the loaded library really allows (after `libInit`).

    It clamps the setting without a word and the Python binding has no way to ask, so the C function is called; a
    build that hides it is taken for the wheel.
    """
    try:
        library = ctypes.CDLL(pj._pjsua2.__file__)
        return min(int(library.pjsua_call_get_max_count()), configured)
    except (AttributeError, OSError):
        _log.warning("the library does not tell its limit of calls: that of the wheel is assumed")
        return min(WHEEL_MAX_CALLS, configured)


def _never_discard(media: Any) -> None:
    """Tell the jitter buffer never to drop a frame to win back delay: each would be missing in a recording.

    The binding exposes this C enumeration as an untyped pointer only, so it is set through memory.
    """
    try:
        algorithm = media.jbDiscardAlgo
        ctypes.c_int.from_address(int(algorithm)).value = JB_DISCARD_NONE
        media.jbDiscardAlgo = algorithm
    except (AttributeError, TypeError, ValueError):
        _log.warning("the jitter buffer's discard setting is not reachable")


@contextmanager
def _standard_output_closed() -> Iterator[None]:
    """The library prints on standard output before its log settings count."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
