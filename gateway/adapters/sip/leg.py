"""A leg and the library's objects behind it. Every callback is wrapped: an exception must not leave a call hanging."""

from contextlib import suppress
from typing import Any, Literal, Protocol

import pjsua2 as pj
import structlog

from gateway.adapters.sip.legmedia import LegMedia, LegPort
from gateway.adapters.sip.protocol import MAX_CALL_ID
from gateway.adapters.sip.stack import call_op
from gateway.media.echo import AudibleDigits
from gateway.media.liveness import Liveness
from gateway.media.presses import KeyPresses

_log = structlog.get_logger(__name__)

LegState = Literal["new", "ringing", "dialling", "answering", "confirmed", "up", "ended"]
"""*ringing*: an incoming leg waits for the control process, or a dialled one for its far end; *confirmed*: the dialog
stands, its audio does not yet; *up*: both do."""

EndedBy = Literal["", "remote", "local", "timeout", "media"]


class Leg:
    """One SIP dialog. Touched by the stack thread only, but for `media`, `port`, `presses` and the audible digits."""

    def __init__(self, leg: str, *, incoming: bool) -> None:
        self.id = leg
        self.incoming = incoming
        self.state: LegState = "new"
        self.call: SipCall | None = None
        self.sip_call_id = ""
        self.identity = ("", "")
        """The caller's number and display name."""
        self.fallback_uri = ""
        self.fallen_back = False
        self.early_told = False
        self.deadline = 0.0
        self.ended_by: EndedBy = ""
        self.ended_code = 0
        # neighbours: connected to, dialled for, heard before the answer
        self.peer: Leg | None = None
        self.beside: Leg | None = None
        self.early: Leg | None = None
        self.isolated = False
        """It hears prompts only, whoever its neighbours are."""
        self.isolated_at_ms = 0.0
        # audio
        self.media: LegMedia
        self.port: LegPort | None = None
        self.audio: Any = None
        self.audio_index: int | None = None
        """Which stream of the session is the audio: an offer may name others before it."""
        self.can_hear = False
        self.can_speak = False
        self.port_says = False
        self.heard_by: set[str] = set()
        self.held = False
        self.presses = KeyPresses()
        self.spoken = AudibleDigits()
        """Digits in its audio, which its peer hears."""
        self.sent_digits = AudibleDigits()
        """Digits we sent it, which its far end may turn into tones."""
        self.sending_until_ms = 0.0
        self.liveness = Liveness()


class CallEvents(Protocol):
    """What a worker wants to know of its calls. In the stack thread, but `call_dtmf` also from the media thread."""

    def new_leg_id(self) -> str: ...
    def incoming(self, leg: Leg, rdata: Any) -> None: ...
    def call_state(self, leg: Leg) -> None: ...
    def call_media(self, leg: Leg) -> None: ...
    def call_reinvited(self, leg: Leg) -> None: ...
    def call_transaction(self, leg: Leg, prm: Any) -> None: ...
    def call_dtmf(self, leg: Leg, prm: Any) -> None: ...
    def call_failed(self, leg: Leg) -> None: ...
    def bury(self, call: "SipCall") -> None: ...


class SipCall(pj.Call):  # type: ignore[misc]
    """The library's call of one leg. Dropping the last reference hangs up, so a leg holds it until it is buried."""

    def __init__(self, events: CallEvents, leg: Leg, account: Any, call_id: int) -> None:
        super().__init__(account, call_id)
        self._events = events
        self._leg = leg

    def keeps_slot(self) -> bool:
        """Tell whether the library still keeps a slot for this call, and not for one that came after it."""
        if self.getId() == pj.PJSUA_INVALID_ID:
            return False
        with suppress(pj.Error):
            return str(self.getInfo().callIdString)[:MAX_CALL_ID] == self._leg.sip_call_id
        return False

    def _guard(self, act: Any, *arguments: Any) -> None:
        try:
            act(self._leg, *arguments)
        except Exception as error:
            _log.error("a call callback failed", error=type(error).__name__, callback=act.__name__)
            self._events.call_failed(self._leg)

    def onCallState(self, prm: Any) -> None:
        self._guard(self._events.call_state)

    def onCallMediaState(self, prm: Any) -> None:
        self._guard(self._events.call_media)

    def onCallRxReinvite(self, prm: Any) -> None:
        self._guard(self._events.call_reinvited)

    def onCallTsxState(self, prm: Any) -> None:
        self._guard(self._events.call_transaction, prm)

    def onDtmfEvent(self, prm: Any) -> None:
        self._guard(self._events.call_dtmf, prm)

    def onCallTransferRequest(self, prm: Any) -> None:
        prm.statusCode = pj.PJSIP_SC_DECLINE

    def onCallReplaceRequest(self, prm: Any) -> None:
        prm.statusCode = pj.PJSIP_SC_DECLINE

    def onCallRedirected(self, prm: Any) -> int:
        return int(pj.PJSIP_REDIRECT_REJECT)


class SipAccount(pj.Account):  # type: ignore[misc]
    """Where new INVITEs come in."""

    def __init__(self, events: CallEvents) -> None:
        super().__init__()
        self._events = events

    def onIncomingCall(self, prm: Any) -> None:
        leg = Leg(self._events.new_leg_id(), incoming=True)
        try:
            leg.call = SipCall(self._events, leg, self, prm.callId)
            self._events.incoming(leg, prm.rdata)
        except Exception as error:
            _log.error("an incoming call could not be taken", error=type(error).__name__)
            if leg.call is not None:
                self._events.bury(leg.call)
                with suppress(pj.Error):
                    leg.call.answer(call_op(500))
