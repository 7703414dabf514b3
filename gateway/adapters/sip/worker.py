"""A media worker: one process, one pjsua2 endpoint, a few calls. It carries out commands and decides nothing.

Threads: *stack* (the main thread) owns pjsua2 and is the only one to call into it; *media* is the library's
conference clock and calls the Python ports; *reader* and *writer* talk to the control process. A control process
that hangs therefore never blocks audio, and a pause reaches the recorder's gate without waiting for the stack.

When the control process dies the worker becomes an orphan: recordings are sealed at once, callers that were waiting
are connected to their fallback unrecorded, bridged calls stay up, and the process ends with its last call.
"""

import gc
import ipaddress
import os
import secrets
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pjsua2 as pj
import structlog

from gateway.adapters.sip import readings
from gateway.adapters.sip.desk import RecordingDesk
from gateway.adapters.sip.ear import Ear
from gateway.adapters.sip.ended import EndedCalls
from gateway.adapters.sip.headers import (
    MAX_VALUE,
    Refused,
    called_number,
    header_fields,
    moved_to,
    name_addr,
    party,
    passed_on,
    refuse_control,
    request_uri,
    via_source,
)
from gateway.adapters.sip.keys import DTMF_ALLOWED, Keys
from gateway.adapters.sip.leg import Leg, SipAccount, SipCall
from gateway.adapters.sip.legmedia import LegMedia
from gateway.adapters.sip.link import ControlLink
from gateway.adapters.sip.protocol import (
    MAX_CALL_ID,
    Health,
    Lingering,
    Ping,
    Pong,
    Ready,
    Shutdown,
    WorkerConfig,
)
from gateway.adapters.sip.sound import NotAPrompt, Prompt, load_prompt
from gateway.adapters.sip.stack import SipStack, call_op, options_request
from gateway.adapters.sip.wiring import Wiring
from gateway.ports.media import (
    Answer,
    Bridge,
    Dial,
    HangUp,
    Incoming,
    Isolate,
    LegAnswered,
    LegEnded,
    LegHeld,
    LegRinging,
    Listen,
    MediaCommand,
    Play,
    PlayFinished,
    PlayStarted,
    RecordClose,
    RecordOpen,
    RecordPause,
    RecordResume,
    Reject,
    SendDtmf,
    StopPlay,
)
from gateway.ports.recording import OpenWriter

__all__ = ["Worker", "run_worker"]

_log = structlog.get_logger(__name__)

POLL_MS: Final = 10
CLOCK_STALLED_S: Final = 1.5
EXIT_GRACE_S: Final = 4.0
MEDIA_WITHIN_S: Final = 5.0
"""An answered leg without audio is given up after this."""

RETRY_AFTER_S: Final = 5
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


class Worker:
    """The calls of one worker process."""

    def __init__(self, config: WorkerConfig, open_writer: OpenWriter) -> None:
        self._config = config
        self._jobs: deque[Callable[[], None]] = deque()
        self._legs: dict[str, Leg] = {}
        self._ended_calls = EndedCalls()
        self._lingering = 0
        self._sources = _networks(config)
        self._ending = 0.0
        self._next_second = 0.0
        self._stack = SipStack(config)
        self._link = ControlLink(
            socket.socket(fileno=config.control_fd), on_message=self._received, on_lost=self._control_lost
        )
        self._tell = self._link.tell
        self._wiring = Wiring(self._legs)
        self._keys = Keys(self._tell)
        self._desk = RecordingDesk(
            self._legs,
            self._stack.clock,
            open_writer,
            tell=self._tell,
            to_stack=self._to_stack,
            usual_delay_ms=config.jitter_buffer_ms,
            longest_delay_ms=config.jitter_buffer_max_ms,
        )
        self._account = SipAccount(self)

    # --- life ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until the control process or the last orphaned call ends it."""
        sys.setswitchinterval(0.001)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, -10)
        self._stack.open_account(self._account)
        self._link.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        stack = self._stack
        self._tell(Ready(stack.host, stack.port, stack.max_calls, stack.version, stack.fast_frames))
        while not self._finished():
            self._stack.poll(POLL_MS)
            self._run_jobs()
            self._desk.poll()
            now = time.monotonic()
            if now >= self._next_second:
                self._next_second = now + 1.0
                self._every_second(now)
            self._check_deadlines(now)
        self._desk.close_all("worker ended")
        self._desk.wait_closed(EXIT_GRACE_S)
        self._link.finish(1.0)

    def _finished(self) -> bool:
        if self._ending and time.monotonic() > self._ending:
            return True
        return not self._legs and not self._jobs and (self._link.lost or self._ending > 0)

    def _run_jobs(self) -> None:
        while self._jobs:
            job = self._jobs.popleft()
            try:
                job()
            except Exception as error:
                _log.error("a command failed", error=type(error).__name__)
        self._ended_calls.look(time.monotonic())
        self._tell_lingering()

    def _to_stack(self, job: Callable[[], None]) -> None:
        """Any thread: have *job* run by the thread that owns the SIP stack."""
        self._jobs.append(job)

    def _every_second(self, now: float) -> None:
        p99, greatest = self._stack.clock.gaps_ms()
        self._tell(Health(round(p99, 2), round(greatest, 2), len(self._legs), len(self._desk)))
        for leg in list(self._legs.values()):
            if leg.state == "up" and leg.call is not None and not leg.ended_by:
                self._watch(leg, leg.call, now)

    def _watch(self, leg: Leg, call: SipCall, now: float) -> None:
        """End a leg whose far end is gone; ask the one that may be silent whether it is."""
        sign = leg.liveness.look(
            now,
            readings.packets_received(leg),
            audio_due=leg.can_hear and not leg.held,
            limit_s=self._config.media_lost_s,
        )
        if sign == "lost":
            leg.ended_by, leg.ended_code = "media", 408
            self._hang_up(leg, 408)
        elif sign == "ask":
            with suppress(pj.Error):
                call.sendRequest(options_request())

    def _check_deadlines(self, now: float) -> None:
        for leg in list(self._legs.values()):
            if leg.deadline and now > leg.deadline:
                leg.deadline = 0.0
                if leg.state == "confirmed":
                    leg.ended_by, leg.ended_code = "media", 488
                else:
                    leg.ended_by, leg.ended_code = "timeout", 480 if leg.incoming else 408
                self._hang_up(leg, 480)

    # --- the control process ------------------------------------------------------------------------------

    def _received(self, message: object) -> None:
        """Reader thread."""
        if isinstance(message, RecordOpen | RecordPause | RecordResume | RecordClose):
            self._desk.received(message)
        elif isinstance(message, Ping):
            self._to_stack(lambda: self._pong(message.number))
        elif isinstance(message, Shutdown):
            self._to_stack(self._shut_down)
        elif isinstance(message, MediaCommand):
            self._to_stack(lambda: self._obey(message))

    def _pong(self, number: int) -> None:
        if time.monotonic_ns() - self._stack.clock.last_ns < CLOCK_STALLED_S * 1e9:
            self._tell(Pong(number))

    def _shut_down(self) -> None:
        self._ending = self._ending or time.monotonic() + EXIT_GRACE_S
        self._desk.close_all("worker ended")
        for leg in list(self._legs.values()):
            self._hang_up(leg, 503)

    def _control_lost(self) -> None:
        """Any thread, once: close every gate first, the rest is for the stack thread."""
        self._desk.lose_control()
        _log.error("the control process is gone")
        self._to_stack(self._fall_back)

    def _fall_back(self) -> None:
        for leg in list(self._legs.values()):
            if leg.isolated:
                self._wiring.isolate(leg, False)
            if leg.incoming and leg.state == "ringing":
                self._turn_away(leg, 503, (("Retry-After", str(RETRY_AFTER_S)),))
            elif leg.incoming and leg.peer is None:
                self._connect_fallback(leg)

    def _connect_fallback(self, leg: Leg) -> None:
        """Connect a waiting caller unrecorded. A leg that is being dialled for him already is good enough. Nowhere to
        connect him to: whoever sent him goes on when his leg ends."""
        self._cut(leg)
        if leg.state not in ("answering", "confirmed", "up") or leg.fallen_back:
            return
        dialled = self._dialled_for(leg)
        if dialled or leg.fallback_uri:
            leg.fallen_back = True
        for other in dialled:
            if other.state == "up":
                self._wiring.bridge(leg, other)
        if not dialled and not leg.fallback_uri:
            self._hang_up(leg, 503)
        elif not dialled:
            number, name = leg.identity
            self._dial(Dial(f"fallback-{secrets.token_hex(8)}", leg.id, leg.fallback_uri, number, name))

    def _dialled_for(self, caller: Leg) -> list[Leg]:
        return [leg for leg in self._legs.values() if leg.beside is caller]

    # --- legs come and go ---------------------------------------------------------------------------------

    def new_leg_id(self) -> str:
        """The id of an incoming leg: no other has it, in this process or any."""
        return f"in-{self._config.index}-{secrets.token_hex(8)}"

    def bury(self, call: SipCall) -> None:
        """Keep an ended call alive until the library is rid of it."""
        self._ended_calls.bury(call, time.monotonic())

    def _tell_lingering(self) -> None:
        """Tell the pool how many slots belong to ended calls, if that has changed."""
        slots = self._ended_calls.slots
        if slots:
            slots -= {leg.call.getId() for leg in self._legs.values() if leg.call is not None}
        if len(slots) != self._lingering:
            self._lingering = len(slots)
            self._tell(Lingering(self._lingering))

    def _add_leg(self, leg: Leg) -> None:
        leg.media = LegMedia(
            self._stack.clock,
            on_digit=lambda edge, age_ms, counts: self._keys.sounded(leg, edge, age_ms, counts),
            on_begun=lambda prompt: self._tell(PlayStarted(time.monotonic_ns(), leg.id, prompt.play)),
            on_played=lambda prompt: self._played(leg, prompt),
            inband=self._config.inband_dtmf,
        )
        leg.port = self._stack.lend_port()
        leg.port.media = leg.media
        self._legs[leg.id] = leg

    def _free_pairs(self) -> int:
        """Calls there is room for: each incoming leg holds a second slot for the leg that is dialled for it, and an
        ended call one for as long as the library has it."""
        callers = sum(1 for leg in self._legs.values() if leg.incoming)
        strays = sum(
            1 for leg in self._legs.values() if not leg.incoming and (leg.beside is None or leg.beside.state == "ended")
        )
        return (self._stack.max_calls - 2 * callers - strays - self._lingering) // 2

    def incoming(self, leg: Leg, rdata: Any) -> None:
        """A new INVITE: refuse, redirect, or report it."""
        address = str(rdata.srcAddress)
        if not self._allowed(address):
            _log.warning("an INVITE from an unknown source was refused")
            self._turn_away(leg, 403)
        elif self._link.lost or self._ending:
            self._turn_away(leg, 503, (("Retry-After", str(RETRY_AFTER_S)),))
        elif self._free_pairs() < 1:
            public = self._config.public_address
            contact = (("Contact", moved_to(request_uri(str(rdata.wholeMsg)), public)),)
            self._turn_away(leg, 302 if public else 486, contact if public else ())
        else:
            self._take_in(leg, str(rdata.wholeMsg), address)

    def _take_in(self, leg: Leg, message: str, address: str) -> None:
        fields = header_fields(message)
        values = dict(reversed(fields))
        caller = party(values.get("from", ""))
        self._add_leg(leg)
        leg.state = "ringing"
        leg.identity = (caller.number, caller.name)
        leg.sip_call_id = values.get("call-id", "")[:MAX_CALL_ID]
        leg.deadline = time.monotonic() + self._config.unanswered_s
        self._tell(
            Incoming(
                time.monotonic_ns(),
                leg.id,
                leg.sip_call_id,
                caller.number,
                caller.name,
                called_number(request_uri(message), values.get("to", "")),
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

    def _turn_away(self, leg: Leg, code: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        call = leg.call
        assert call is not None
        if leg.id not in self._legs:
            self.bury(call)
        leg.ended_by = leg.ended_by or "local"
        with suppress(pj.Error):
            call.answer(call_op(code, headers=headers))

    def _hang_up(self, leg: Leg, code: int) -> None:
        """End a leg whatever its state; gone already: nothing."""
        if leg.id not in self._legs or leg.call is None:
            return
        leg.ended_by = leg.ended_by or "local"
        if leg.call.getId() == pj.PJSUA_INVALID_ID:  # hanging that up would abort the process
            self._end_leg(leg, code)
            return
        try:
            leg.call.hangup(call_op(code))
        except pj.Error:
            self._end_leg(leg, code)

    def call_failed(self, leg: Leg) -> None:
        """A callback of ours failed: the call ends with 500 rather than hang."""
        self._to_stack(lambda: self._hang_up(leg, 500))

    def call_state(self, leg: Leg) -> None:
        """From the library: the dialog moved on."""
        if leg.call is None:
            return
        info = leg.call.getInfo()
        state = info.state
        if not leg.sip_call_id:
            leg.sip_call_id = str(info.callIdString)[:MAX_CALL_ID]
        if state == pj.PJSIP_INV_STATE_EARLY and not leg.incoming and leg.id in self._legs:
            self._ringing(leg, int(info.lastStatusCode))
        elif state == pj.PJSIP_INV_STATE_CONFIRMED:
            leg.state = "confirmed"
            leg.deadline = time.monotonic() + MEDIA_WITHIN_S
            self._check_answered(leg)
        elif state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._end_leg(leg, int(info.lastStatusCode))

    def _ringing(self, leg: Leg, code: int) -> None:
        leg.state = "ringing"
        early = leg.audio is not None and leg.can_hear
        leg.early_told = leg.early_told or early
        self._tell(LegRinging(time.monotonic_ns(), leg.id, code, early))
        caller = leg.beside
        if caller is not None and caller.id in self._legs and caller.peer is None and not early:
            caller.media.ring(True)

    def _check_answered(self, leg: Leg) -> None:
        if leg.state != "confirmed" or leg.audio is None or leg.call is None:
            return
        leg.state = "up"
        leg.deadline = 0.0
        leg.liveness.begin(time.monotonic())
        caller = leg.beside
        if caller is not None and caller.id in self._legs:
            caller.media.ring(False)
        self._tell(LegAnswered(time.monotonic_ns(), leg.id, leg.sip_call_id, readings.codec_name(leg)))
        if not self._link.lost:
            return
        if caller is not None and caller.id in self._legs and caller.peer is None:
            self._wiring.bridge(caller, leg)
        elif leg.incoming and leg.peer is None:
            self._connect_fallback(leg)

    def _end_leg(self, leg: Leg, code: int) -> None:
        call, leg.call = leg.call, None  # leg and call refer to each other: a collector must not find them later
        if call is not None:
            self.bury(call)
        if self._legs.pop(leg.id, None) is None:
            return
        if leg.ended_by:
            self._tell_lingering()
        self._cut(leg)
        leg.state = "ended"
        leg.audio = None
        if leg.port is not None:
            self._stack.return_port(leg.port)
            leg.port = None
        self._tell(LegEnded(time.monotonic_ns(), leg.id, leg.ended_code or code, leg.ended_by or "remote"))
        self._desk.leg_ended(leg)
        for other in list(self._legs.values()):
            if other.peer is leg:
                other.peer = None
                self._hang_up(other, 603)
            elif other.beside is leg:
                self._hang_up(other, 487)
        self._release_caller(leg, code)

    def _release_caller(self, leg: Leg, code: int) -> None:
        """The leg dialled for a caller ended: he hears neither its ringing nor its early media any more."""
        caller = leg.beside
        if caller is None or caller.id not in self._legs:
            return
        caller.media.ring(False)
        if caller.early is leg:
            caller.early = None
            self._wiring.refresh(caller)
        if self._link.lost and caller.peer is None and not self._dialled_for(caller):
            self._hang_up(caller, code if code >= 400 else 480)

    # --- audio --------------------------------------------------------------------------------------------

    def call_media(self, leg: Leg) -> None:
        """From the library: the audio of a leg appeared, changed or went."""
        if leg.call is None or leg.id not in self._legs:
            return
        self._wiring.find_audio(leg)
        leg.liveness.begin(time.monotonic())
        caller = leg.beside
        if caller is not None and caller.id in self._legs and leg.can_hear and caller.peer is None:
            caller.early = leg
            caller.media.ring(False)
            if leg.state == "ringing" and not leg.early_told:
                leg.early_told = True
                self._tell(LegRinging(time.monotonic_ns(), leg.id, 183, True))
        self._wiring.refresh(leg)
        held = leg.state in ("confirmed", "up") and not (leg.can_speak and leg.can_hear)
        if leg.state == "up" and held != leg.held:
            self._tell(LegHeld(time.monotonic_ns(), leg.id, held))
        leg.held = held
        self._check_answered(leg)

    def call_reinvited(self, leg: Leg) -> None:
        """From the library, before a re-INVITE is carried out, which throws the jitter buffer away.

        The last words before a hold are still in it. A leg that is being recorded gets them out first, which takes
        as long as they last.
        """
        if leg.id in self._legs and leg.media.listeners:
            time.sleep(min(MAX_DRAIN_MS, self._desk.delay_ms(leg) + 20) / 1000)

    def call_transaction(self, leg: Leg, prm: Any) -> None:
        """From the library: a transaction of the dialog moved on; the message that made it do so is a sign of life."""
        if prm.e.body.tsxState.type == pj.PJSIP_EVENT_RX_MSG:
            leg.liveness.spoke(time.monotonic())

    def _played(self, leg: Leg, prompt: Prompt) -> None:
        """A prompt ended, whole (from the media thread) or cut short (from the stack thread)."""
        self._tell(
            PlayFinished(time.monotonic_ns(), leg.id, prompt.play, prompt.played_ms, prompt.length_ms, prompt.completed)
        )
        self._to_stack(lambda: self._wiring.refresh_speech(leg))

    def _cut(self, leg: Leg, play: str | None = None) -> None:
        prompt = leg.media.cut(play)
        if prompt is not None:
            self._played(leg, prompt)

    def call_dtmf(self, leg: Leg, prm: Any) -> None:
        """From the library: a key by RFC 4733 (media thread) or SIP INFO (stack thread)."""
        self._keys.signalled(leg, prm)

    # --- commands -----------------------------------------------------------------------------------------

    def _obey(self, command: MediaCommand) -> None:
        """Carry a command out; one that fails says which it was and what the library said (never its text)."""
        try:
            self._carry_out(command)
        except pj.Error as error:
            status = int(error.status)
            _log.error("the SIP library refused a command", command=type(command).__name__, status=status)

    def _carry_out(self, command: MediaCommand) -> None:
        if isinstance(command, Dial):
            self._dial(command)
        elif isinstance(command, Bridge):
            a, b = self._legs.get(command.a), self._legs.get(command.b)
            if a is not None and b is not None:
                self._wiring.bridge(a, b)
        else:
            leg = self._legs.get(getattr(command, "leg", ""))
            if leg is not None and leg.call is not None:
                self._carry_out_on(leg, leg.call, command)
            elif isinstance(command, Play):
                self._tell(PlayFinished(time.monotonic_ns(), command.leg, command.play, 0, 0, False))

    def _carry_out_on(self, leg: Leg, call: SipCall, command: MediaCommand) -> None:
        if isinstance(command, Answer):
            leg.fallback_uri = command.fallback_uri
            if leg.incoming and leg.state == "ringing":
                leg.state = "answering"
                call.answer(call_op(200))
        elif isinstance(command, Reject):
            headers = (("Contact", f"<{command.contact}>"),) if command.contact else ()
            leg.ended_by = leg.ended_by or "local"
            call.answer(call_op(command.code, command.reason, headers))
        elif isinstance(command, Play):
            self._play(leg, command)
        elif isinstance(command, StopPlay):
            self._cut(leg, command.play)
        elif isinstance(command, Listen):
            leg.media.ear = Ear(leg.id, self._tell) if command.listening else None
        elif isinstance(command, Isolate):
            self._wiring.isolate(leg, command.isolated)
        elif isinstance(command, HangUp):
            self._hang_up(leg, command.code)
        elif isinstance(command, SendDtmf) and command.digits and set(command.digits) <= DTMF_ALLOWED:
            self._keys.sent(leg, command.digits)
            call.dialDtmf(command.digits)

    def _play(self, leg: Leg, command: Play) -> None:
        try:
            prompt = Prompt(command.play, load_prompt(command.path))
        except (OSError, NotAPrompt) as error:
            _log.error("a prompt cannot be played: it must be a WAV file, 8 kHz mono int16", error=type(error).__name__)
            self._tell(PlayFinished(time.monotonic_ns(), leg.id, command.play, 0, 0, False))
            return
        cut = leg.media.play(prompt)
        if cut is not None:
            self._played(leg, cut)
        self._wiring.refresh_speech(leg)

    def _dial(self, command: Dial) -> None:
        beside = self._legs.get(command.beside)
        if beside is None:
            self._tell(LegEnded(time.monotonic_ns(), command.leg, 487, "local"))
            return
        try:
            operation = call_op(0, headers=command.headers)
            here = f"{self._stack.host}:{self._stack.port}"
            operation.txOption.localUri = name_addr(command.from_name, command.from_number, here)
            uri = refuse_control(command.uri, MAX_VALUE)
        except Refused:
            self._tell(LegEnded(time.monotonic_ns(), command.leg, 400, "local"))
            return
        leg = Leg(command.leg, incoming=False)
        leg.beside = beside
        leg.deadline = time.monotonic() + command.timeout_ms / 1000
        self._add_leg(leg)
        leg.state = "dialling"
        call = leg.call = SipCall(self, leg, self._account, int(pj.PJSUA_INVALID_ID))
        try:
            call.makeCall(uri, operation)
        except pj.Error as error:
            leg.ended_by = "local"
            self._end_leg(leg, 503 if error.status == TOO_MANY else 400)


def _networks(config: WorkerConfig) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """The configured sources, and our own front: it has checked the source of what it passes on."""
    networks = [ipaddress.ip_network(source, strict=False) for source in config.sources]
    for host in (config.public_address.rpartition(":")[0].strip("[]"), config.bind_host):
        with suppress(ValueError):
            if not ipaddress.ip_address(host).is_unspecified:
                networks.append(ipaddress.ip_network(host))
    return tuple(networks)
