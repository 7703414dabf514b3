"""What the library can tell of a leg's audio. Stack thread only.

None always means that it cannot be told, never that there is nothing.
"""

from contextlib import suppress
from typing import Any, Final

import pjsua2 as pj

from gateway.adapters.sip.leg import Leg
from gateway.adapters.sip.sockets import waiting_bytes
from gateway.media.drain import NO_STREAM, JitterBuffer

FRAME_MS: Final = 10
"""The library keeps G.711 in frames of 10 ms; for the length of any other codec's frame it is asked."""


def packets_received(leg: Leg) -> int | None:
    """RTP packets that the leg's present stream has received, duplicates and all."""
    statistics = _statistics(leg)
    return None if statistics is None else int(statistics.rtcp.rxStat.pkt)


def socket_bytes(leg: Leg) -> int | None:
    """Bytes of RTP that wait in the leg's socket."""
    if leg.call is None or leg.audio_index is None:
        return None
    with suppress(pj.Error):
        transport = leg.call.getMedTransportInfo(leg.audio_index)  # must outlive its member
        return waiting_bytes(int(str(transport.localRtpName).rpartition(":")[2] or 0))
    return None


def jitter_buffer(leg: Leg) -> JitterBuffer | None:
    """What the leg's jitter buffer holds; `NO_STREAM` when the leg has no audio that could be heard.

    Every packet's frames are counted as put, and what the buffer had already, or had played by then, as discarded:
    the counters of duplicates that RTCP keeps miss every one that is not next to its first.
    """
    if leg.audio_index is None or not leg.can_hear:
        return NO_STREAM
    statistics = _statistics(leg)
    if statistics is None:
        return None
    buffer = statistics.jbuf
    put = int(statistics.rtcp.rxStat.bytes) // max(1, int(buffer.frameSize))
    return JitterBuffer(int(buffer.size), put, int(buffer.discard), _frame_ms(leg))


def delay_ms(leg: Leg) -> float | None:
    """How much of the leg's audio waits in its jitter buffer, now or on average: the greater figure."""
    statistics = _statistics(leg)
    if statistics is None:
        return None
    buffer = statistics.jbuf
    return max(float(int(buffer.size) * _frame_ms(leg)), float(buffer.avgDelayMsec))


def codec_name(leg: Leg) -> str:
    """The name of the leg's codec, "" when it cannot be told."""
    stream = _stream(leg)
    return "" if stream is None else str(stream.codecName)


def _frame_ms(leg: Leg) -> int:
    stream = _stream(leg)  # must outlive its members
    return FRAME_MS if stream is None else int(stream.audCodecParam.info.frameLen) or FRAME_MS


def _stream(leg: Leg) -> Any:
    if leg.call is not None and leg.audio_index is not None:
        with suppress(pj.Error):
            return leg.call.getStreamInfo(leg.audio_index)
    return None


def _statistics(leg: Leg) -> Any:
    """The stream's statistics, which must outlive their members."""
    if leg.call is not None and leg.audio_index is not None:
        with suppress(pj.Error):
            return leg.call.getStreamStat(leg.audio_index)
    return None
