"""Which stream of a call is the audio, and what is said of it when the library does not answer."""

from types import SimpleNamespace
from typing import Any

import pjsua2 as pj
import pytest

from gateway.adapters.sip import readings
from gateway.adapters.sip.leg import Leg
from gateway.adapters.sip.wiring import Wiring
from gateway.media.drain import NO_STREAM, JitterBuffer


class LibraryCall:
    """A call as the library shows it: its list of media leaves out video, which it was built without, but the streams
    are numbered as the session has them. It has figures for audio only."""

    def __init__(self, *kinds: int, answers: bool = True) -> None:
        self.kinds = kinds
        self.answers = answers

    def getInfo(self) -> Any:
        media = [
            SimpleNamespace(
                index=index,
                type=kind,
                status=pj.PJSUA_CALL_MEDIA_ACTIVE,
                dir=pj.PJMEDIA_DIR_ENCODING_DECODING,
            )
            for index, kind in enumerate(self.kinds)
            if kind == pj.PJMEDIA_TYPE_AUDIO
        ]
        return SimpleNamespace(media=media)

    def _of(self, index: int, value: Any) -> Any:
        if not self.answers or self.kinds[index] != pj.PJMEDIA_TYPE_AUDIO:
            raise pj.Error
        return value

    def getAudioMedia(self, place: int) -> Any:
        return f"audio of stream {self.getInfo().media[place].index}"

    def getStreamStat(self, index: int) -> Any:
        buffer = SimpleNamespace(size=7, frameSize=80, discard=4, avgDelayMsec=65)
        received = SimpleNamespace(pkt=12, bytes=1_930)
        return self._of(index, SimpleNamespace(jbuf=buffer, rtcp=SimpleNamespace(rxStat=received)))

    def getStreamInfo(self, index: int) -> Any:
        codec = SimpleNamespace(info=SimpleNamespace(frameLen=20))
        return self._of(index, SimpleNamespace(codecName="PCMA", audCodecParam=codec))

    def getMedTransportInfo(self, index: int) -> Any:
        return self._of(index, SimpleNamespace(localRtpName="127.0.0.1:40000"))


def leg_of(call: LibraryCall) -> Leg:
    leg = Leg("leg", incoming=True)
    leg.call = call  # type: ignore[assignment]
    Wiring({"leg": leg}).find_audio(leg)
    return leg


VIDEO, AUDIO = pj.PJMEDIA_TYPE_VIDEO, pj.PJMEDIA_TYPE_AUDIO


@pytest.mark.parametrize("kinds", [(AUDIO,), (VIDEO, AUDIO), (VIDEO, VIDEO, AUDIO, VIDEO)])
def test_the_audio_is_read_wherever_the_offer_has_it(kinds: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "waiting_bytes", lambda port: port)
    leg = leg_of(LibraryCall(*kinds))
    assert leg.audio == f"audio of stream {kinds.index(AUDIO)}"
    assert readings.packets_received(leg) == 12
    assert readings.jitter_buffer(leg) == JitterBuffer(size=7, put=24, discarded=4, frame_ms=20)
    assert readings.delay_ms(leg) == 140.0
    assert readings.codec_name(leg) == "PCMA"
    assert readings.socket_bytes(leg) == 40_000


def test_what_the_library_does_not_tell_is_unknown_and_not_nothing() -> None:
    call = LibraryCall(VIDEO, AUDIO)
    leg = leg_of(call)
    call.answers = False
    assert readings.packets_received(leg) is None
    assert readings.jitter_buffer(leg) is None
    assert readings.delay_ms(leg) is None
    assert readings.socket_bytes(leg) is None
    assert readings.codec_name(leg) == ""


def test_a_call_whose_audio_was_taken_out_has_no_stream() -> None:
    call = LibraryCall(VIDEO, AUDIO)
    leg = leg_of(call)
    call.kinds = (VIDEO, VIDEO)
    Wiring({"leg": leg}).find_audio(leg)
    assert (leg.audio, leg.audio_index) == (None, None)
    assert readings.jitter_buffer(leg) is NO_STREAM
    assert readings.packets_received(leg) is None
    assert readings.socket_bytes(leg) is None


def test_a_leg_that_is_not_heard_holds_nothing_back() -> None:
    leg = leg_of(LibraryCall(AUDIO))
    leg.can_hear = False
    assert readings.jitter_buffer(leg) is NO_STREAM
