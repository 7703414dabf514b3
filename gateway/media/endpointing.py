"""Where an answer begins and ends: the parameters of endpointing, and the rules that count frames.

`Hysteresis` is told of each frame of 20 ms whether it is speech, and answers with edges. Frames are its only clock, so
the same frames give the same edges however late they are looked at. Its rules:

* Speech begins with *onset_frames* frames of speech among the last *onset_within*; what it begins with reaches
  *preroll_frames* further back, but never into what was reported before.
* It has ended when *hangover_frames* frames passed without speech, and reaches *postroll_frames* into them. In a pause,
  fewer than *resume_frames* of speech in a row are none: a click does not lengthen it.
* With fewer than *minimum_frames* frames of speech it was a click: dropped.
* What would be longer than *maximum_frames* is cut there, and everything until a pause of *rest_frames* is one
  monologue: nothing in it is an answer, and only its end is reported.
* A frame in which a key sounds is not speech, and takes the frames before with it while speech has not begun: a tone is
  heard a little after it began.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

_ONE_SECOND = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpointing:
    """All parameters of endpointing. Counts are frames of 20 ms, levels dB or dBov (0 is a full-scale square wave).

    Raises `ValueError`, naming parameter, value and bounds, for what makes no sense.
    """

    onset_frames: int = 4
    onset_within: int = 6
    hangover_frames: int = 25
    resume_frames: int = 2
    minimum_frames: int = 6
    maximum_frames: int = 150
    rest_frames: int = 50
    preroll_frames: int = 15
    postroll_frames: int = 15
    noise_margin_db: float = 6.5
    """How far above the noise floor a band has to be for speech to begin."""
    hold_margin_db: float = 4.5
    """The same, while it goes on."""
    echo_margin_db: float = 9.0
    """How far above the echo that is expected in it a band has to be."""
    floor_frames: int = 125
    """How long the quietest moment counts as the noise floor: what lasts longer without a dip is noise."""

    def __post_init__(self) -> None:
        self._within("onset_frames", 1, 25)
        self._within("onset_within", self.onset_frames, 50)
        self._within("hangover_frames", 5, 4 * _ONE_SECOND)
        self._within("resume_frames", 1, self.hangover_frames)
        self._within("maximum_frames", 25, 20 * _ONE_SECOND)
        self._within("preroll_frames", 0, 25)
        self._within("postroll_frames", 0, self.hangover_frames)
        self._within("minimum_frames", 1, self.maximum_frames - self.preroll_frames - self.onset_within)
        self._within("rest_frames", self.hangover_frames, 10 * _ONE_SECOND)
        self._within("noise_margin_db", 3.0, 20.0)
        self._within("hold_margin_db", 3.0, self.noise_margin_db)
        self._within("echo_margin_db", 3.0, 20.0)
        self._within("floor_frames", 25, 10 * _ONE_SECOND)

    def _within(self, name: str, least: float, most: float) -> None:
        value = getattr(self, name)
        if not least <= value <= most:
            raise ValueError(f"endpointing: {name} is {value}, it has to be from {least} to {most}")


@dataclass(frozen=True, slots=True)
class Edge:
    """What a frame decided. *from_frame* and *to_frame* (half open) count from the first frame, 0.

    began: speech has begun, from *from_frame*; *to_frame* is the frame after the present one.
    ended: that is an answer, *cut* when it was still going on at the longest.
    dropped: that was too short to be one.
    monologue_over: the pause after what went on beyond a cut.

    *speech_frames*: how many of them held speech, 0 for a monologue.
    """

    kind: Literal["began", "ended", "dropped", "monologue_over"]
    from_frame: int
    to_frame: int
    speech_frames: int = 0
    cut: bool = False


@dataclass(slots=True)
class Hysteresis:
    """Turns a verdict a frame into edges, by the rules on top of this file. One for each stream."""

    rules: Endpointing
    state: Literal["quiet", "speech", "monologue"] = "quiet"
    _frames: int = 0
    _free_from: int = 0
    """No pre-roll reaches before this frame."""
    _recent: deque[bool] = field(default_factory=deque)
    _from: int = 0
    _last: int = 0
    """The last frame of speech that counts."""
    _run: int = 0
    """Frames of speech in a row up to now: they may turn out to count, so a pause ends with what came before them."""
    _speech: int = 0

    def step(self, speech: bool, *, key: bool = False) -> Edge | None:
        """Take the verdict on the next frame, and whether a key sounds in it."""
        at, self._frames = self._frames, self._frames + 1
        if self.state == "quiet":
            return self._wait(at, speech and not key, key)
        self._count(at, speech and not key)
        return self._speak(at) if self.state == "speech" else self._go_on(at)

    def _wait(self, at: int, speech: bool, key: bool) -> Edge | None:
        if key:
            self._recent.clear()
        self._recent.append(speech)
        if len(self._recent) > self.rules.onset_within:
            self._recent.popleft()
        self._speech = sum(self._recent)
        if self._speech < self.rules.onset_frames:
            return None
        first = at + 1 - len(self._recent) + self._recent.index(True)
        self._from = max(first - self.rules.preroll_frames, self._free_from)
        self._last, self._run, self.state = at, 0, "speech"
        self._recent.clear()
        return Edge("began", self._from, at + 1, self._speech)

    def _count(self, at: int, speech: bool) -> None:
        self._run = self._run + 1 if speech else 0
        if not speech:
            return
        if self._last == at - 1:
            self._speech += 1
            self._last = at
        elif self._run >= self.rules.resume_frames:
            self._speech += self._run
            self._last = at

    def _speak(self, at: int) -> Edge | None:
        longest = self._from + self.rules.maximum_frames
        if self._last >= longest:
            self.state = "monologue"
            self._free_from = longest
            return Edge("ended", self._from, longest, self._speech, cut=True)
        if at - self._last - self._run < self.rules.hangover_frames:
            return None
        end = min(self._last + 1 + self.rules.postroll_frames, longest)
        self.state, self._free_from = "quiet", end
        kind: Literal["ended", "dropped"] = "ended" if self._speech >= self.rules.minimum_frames else "dropped"
        return Edge(kind, self._from, end, self._speech)

    def _go_on(self, at: int) -> Edge | None:
        if at - self._last - self._run < self.rules.rest_frames:
            return None
        began, self._free_from = self._free_from, self._last + 1
        self.state = "quiet"
        return Edge("monologue_over", began, self._last + 1)


__all__ = ["Edge", "Endpointing", "Hysteresis"]
