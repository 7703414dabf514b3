"""What a media server reports, in the words of the domain."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.domain import events as ev
from gateway.ports import media


def _answered(event: media.LegAnswered, leg: str) -> ev.Event:
    return ev.LegAnswered(at_ns=event.mono_ns, leg=leg, codec=event.codec)


def _ringing(event: media.LegRinging, leg: str) -> ev.Event:
    return ev.LegRang(at_ns=event.mono_ns, leg=leg)


def _held(event: media.LegHeld, leg: str) -> ev.Event:
    return ev.LegHeld(at_ns=event.mono_ns, leg=leg, held=event.held)


def _ended(event: media.LegEnded, leg: str) -> ev.Event:
    return ev.LegEnded(at_ns=event.mono_ns, leg=leg, code=event.code, by=event.by)


def _digit(event: media.Digit, leg: str) -> ev.Event:
    return ev.DigitPressed(at_ns=event.mono_ns, leg=leg, value=event.value, transport=event.transport)


def _spoke(event: media.SpeechStarted, leg: str) -> ev.Event:
    return ev.SpeechBegan(at_ns=event.mono_ns, leg=leg)


def _play_started(event: media.PlayStarted, leg: str) -> ev.Event:
    return ev.PromptStarted(at_ns=event.mono_ns, play=event.play)


def _play_finished(event: media.PlayFinished, leg: str) -> ev.Event:
    return ev.PromptFinished(
        at_ns=event.mono_ns,
        play=event.play,
        played_ms=event.played_ms,
        length_ms=event.length_ms,
        completed=event.completed,
    )


LEG_EVENTS: Mapping[type[media.MediaEvent], Callable[[Any, str], ev.Event]] = {
    media.LegAnswered: _answered,
    media.LegRinging: _ringing,
    media.LegHeld: _held,
    media.LegEnded: _ended,
    media.Digit: _digit,
    media.SpeechStarted: _spoke,
    media.PlayStarted: _play_started,
    media.PlayFinished: _play_finished,
}
"""Every event of one leg that the domain knows; `DigitEnded` is a fact for the log, not for the call."""
