"""What holds whatever is fed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.media.endpointing import Endpointing
from gateway.media.g711 import Samples
from gateway.media.segmenter import MonologueOver, Segmenter, SpeechBegan, SpeechEnded, SpeechEvent
from tests.support import speech

TALK = speech.frames(speech.line(speech.monologue(12)))
NOISE = speech.frames(speech.line(speech.noise("pink", 12, -30, 1)))
RULES = Endpointing(hangover_frames=10, maximum_frames=40, rest_frames=20, preroll_frames=8, postroll_frames=4)


class Always:
    def is_voice(self, frame: Samples) -> bool:
        return True


def stretch(kind: str, length: int, seed: int) -> list[Samples]:
    """Return frames of one kind of sound."""
    rng = np.random.default_rng(seed)
    if kind == "random":
        scale = 10 ** rng.uniform(0, 4.5)
        return list(np.clip(rng.normal(0, scale, (length, 160)), -32768, 32767).astype(np.int16))
    if kind == "constant":
        return [np.full(160, rng.choice((-32768, -1, 0, 1, 32767)), np.int16)] * length
    source = TALK if kind == "talk" else NOISE
    return [source[(seed + at) % len(source)] for at in range(length)]


STRETCHES = st.lists(
    st.tuples(
        st.sampled_from(("talk", "talk", "noise", "random", "constant")), st.integers(1, 90), st.integers(0, 599)
    ),
    max_size=8,
).map(lambda parts: [frame for part in parts for frame in stretch(*part)])


def run(segmenter: Segmenter, fed: list[Samples], played: list[Samples], keys: list[bool]) -> list[SpeechEvent | None]:
    return [
        segmenter.feed(
            frame,
            played[at % len(played)] if played else None,
            key=keys[at % len(keys)] if keys else False,
        )
        for at, frame in enumerate(fed)
    ]


@settings(max_examples=120, deadline=None)
@given(STRETCHES, STRETCHES, st.lists(st.booleans(), max_size=40), st.booleans())
def test_whatever_is_fed(fed: list[Samples], played: list[Samples], keys: list[bool], deaf: bool) -> None:
    def make() -> Segmenter:
        return Segmenter(RULES) if deaf else Segmenter(RULES, Always())

    with np.errstate(all="raise", under="ignore"):
        found = run(make(), fed, played, keys)
    assert run(make(), [frame.copy() for frame in fed], played, keys) == found
    past, began, cut = 0, None, None
    for at, event in enumerate(found, 1):
        if event is None:
            continue
        assert past <= event.from_frame < at
        if isinstance(event, SpeechBegan):
            assert began is None and cut is None and event.at_frame == at
            began = event
            continue
        assert event.from_frame < event.to_frame <= at
        past = event.to_frame
        if isinstance(event, MonologueOver):
            assert cut is not None and event.from_frame == cut.to_frame
            cut = None
            continue
        assert began is not None and event.from_frame == began.from_frame
        began = None
        assert event.to_frame - event.from_frame <= RULES.maximum_frames
        if isinstance(event, SpeechEnded):
            assert np.array_equal(event.samples, np.concatenate(fed[event.from_frame : event.to_frame]))
            assert RULES.minimum_frames <= event.speech_frames
            assert -80 < event.level_dbov <= 0.1
            cut = event if event.cut else None


@settings(max_examples=40, deadline=None)
@given(STRETCHES, STRETCHES)
def test_what_comes_later_changes_nothing(before: list[Samples], after: list[Samples]) -> None:
    assert run(Segmenter(RULES), before + after, [], [])[: len(before)] == run(Segmenter(RULES), before, [], [])


@settings(max_examples=40, deadline=None)
@given(STRETCHES)
def test_nothing_is_kept_but_the_present(fed: list[Samples]) -> None:
    segmenter = Segmenter(RULES)
    for frame in fed:
        segmenter.feed(frame)
        most = RULES.maximum_frames + RULES.hangover_frames + 2 if segmenter.speaking else 0
        assert len(segmenter._heard) <= max(most, RULES.preroll_frames + RULES.onset_within)
