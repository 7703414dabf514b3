"""Who hears whom: the conference's connections, always brought to what the legs' state asks for.

A leg hears the leg it is connected to; before that, the dialled leg's early media; and its own port (prompts, ring-back
tone, silence) while that has something to say or nobody else is there. An isolated leg hears its own port only; others
hear it as before. One source alone is passed on bit for bit.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

import pjsua2 as pj

from gateway.adapters.sip.leg import Leg


class Wiring:
    """Works on the worker's table of legs. Stack thread only."""

    def __init__(self, legs: Mapping[str, Leg]) -> None:
        self._legs = legs

    def bridge(self, a: Leg, b: Leg) -> None:
        """Connect two legs both ways, now or as soon as they have audio."""
        for leg, other in ((a, b), (b, a)):
            leg.peer = other
            leg.early = None
            leg.media.ring(False)
        self.refresh(a)
        self.refresh(b)

    def isolate(self, leg: Leg, isolated: bool) -> None:
        """Let a leg hear nothing but its port, or its neighbours again."""
        if isolated and not leg.isolated:
            leg.isolated_at_ms = time.monotonic_ns() / 1e6
        leg.isolated = isolated
        self.refresh_speech(leg)

    def find_audio(self, leg: Leg) -> None:
        """Read from the library where the leg's audio is now and which ways it flows."""
        leg.audio, leg.audio_index, leg.can_hear, leg.can_speak = None, None, False, False
        leg.port_says = False
        leg.heard_by.clear()
        assert leg.call is not None
        info = leg.call.getInfo()  # must outlive the loop: the binding's vector belongs to it
        for place, media in enumerate(info.media):
            unusable = media.status in (pj.PJSUA_CALL_MEDIA_NONE, pj.PJSUA_CALL_MEDIA_ERROR)
            if media.type == pj.PJMEDIA_TYPE_AUDIO and not unusable:
                # The list leaves out streams that the library does not know; only this method goes by the place in it.
                leg.audio, leg.audio_index = leg.call.getAudioMedia(place), int(media.index)
                leg.can_hear = bool(media.dir & pj.PJMEDIA_DIR_DECODING)
                leg.can_speak = bool(media.dir & pj.PJMEDIA_DIR_ENCODING)
                return

    def refresh(self, leg: Leg) -> None:
        """Connect the leg's audio to its port, and correct what it and its neighbours hear."""
        if leg.id not in self._legs:
            return
        if leg.audio is not None and leg.port is not None and leg.can_hear:
            leg.audio.startTransmit(leg.port)
        self.refresh_speech(leg)
        for other in self._others(leg):
            if other.peer is leg or other.early is leg:
                self.refresh_speech(other)

    def refresh_speech(self, leg: Leg) -> None:
        """Correct what the leg hears."""
        if leg.audio is None or leg.port is None or leg.id not in self._legs:
            return
        source = None if leg.isolated else leg.peer or leg.early
        heard = source if source is not None and source.audio is not None and source.can_hear else None
        if not leg.can_speak:
            heard = None
        for other in self._others(leg):
            if leg.id in other.heard_by and other is not heard:
                other.heard_by.discard(leg.id)
                if other.audio is not None:
                    with suppress(pj.Error):
                        other.audio.stopTransmit(leg.audio)
        if heard is not None:
            heard.audio.startTransmit(leg.audio)
            heard.heard_by.add(leg.id)
        self._let_port_speak(leg, leg.can_speak and (heard is None or leg.media.playing))

    def _let_port_speak(self, leg: Leg, says: bool) -> None:
        assert leg.port is not None
        if says:
            leg.port.startTransmit(leg.audio)
        elif leg.port_says:
            with suppress(pj.Error):
                leg.port.stopTransmit(leg.audio)
        leg.port_says = says

    def _others(self, leg: Leg) -> Iterable[Leg]:
        return [other for other in self._legs.values() if other is not leg]
