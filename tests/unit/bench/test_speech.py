"""The harness that measures spoken answers: it counts what it should, and refuses what it cannot read."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.speech import cli, corpus, hearing, sound
from bench.speech.corpus import Clip
from bench.speech.hearing import Heard
from bench.speech.judging import OUTCOMES, UNHEARD, answer, interval, judge, second_turn
from bench.speech.sound import SoundError
from bench.speech.texts import TEXTS
from bench.speech.voices import VOICES
from gateway.domain.spoken import Hearing, Hypothesis, Meaning, Question, read_text
from tests.support import spoken

RECORDINGS = spoken.RECORDINGS / "en"


def heard(text: str | None, clip: int = 0, condition: str = "clean", *, utterances: int = 1, looks: int = 1) -> Heard:
    hearings = () if text is None else (Hearing(8_000, 0.01, (Hypothesis(text, -0.1),)),) * looks
    return Heard(clip, condition, hearings, utterances, 50.0, 50.0)


# --- how sure a share is ---


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (1, 100, 0.0003, 0.0545)],
)
def test_the_interval_is_the_exact_one(count: int, total: int, low: float, high: float) -> None:
    """Clopper and Pearson, "The use of confidence or fiducial limits", 1934; values of R's `binom.test`."""
    assert interval(count, total) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_an_interval_holds_its_share_and_mirrors(counts: tuple[int, int]) -> None:
    count, total = counts
    low, high = interval(count, total)
    assert 0 <= low <= count / total <= high <= 1
    assert interval(total - count, total) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_nothing_measured_says_nothing() -> None:
    assert interval(0, 0) == (0.0, 1.0)


# --- turns ---


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("Yes, I agree.", "yes"),
        ("Yes.", "confirm"),
        ("No.", "no"),
        ("Yes, but no.", "repeat"),
        (None, "repeat"),
    ],
)
def test_a_first_answer(text: str | None, outcome: str) -> None:
    assert answer(heard(text), "en", Question.ASK, 1) == outcome


def test_what_is_not_cut_out_is_unheard() -> None:
    assert answer(heard(None, utterances=0), "en", Question.ASK, 1) == UNHEARD


@pytest.mark.parametrize(
    ("first", "again", "outcome"),
    [
        ("yes", "No.", "yes"),
        ("no", "Yes, I agree.", "no"),
        ("confirm", "Yes, I agree.", "yes"),
        ("confirm", "Yes.", "give_up"),
        ("confirm", "No.", "no"),
        ("confirm", "Hello?", "give_up"),
        ("repeat", "Yes, I agree.", "yes"),
        ("repeat", "Yes.", "confirm"),
        ("repeat", "Hello?", "give_up"),
        (UNHEARD, "Hello?", "repeat"),
    ],
)
def test_a_second_turn(first: str, again: str, outcome: str) -> None:
    assert second_turn(first, heard(again), "en") == outcome


def test_who_does_not_agree_never_borrows_a_yes() -> None:
    """What is said in the second turn is the same speaker's, and on the same side."""
    clips = [
        Clip("yes.phrase", "ann", "/1"),
        Clip("other.polite", "ann", "/2"),
        Clip("no", "ann", "/3"),
        Clip("yes.word", "bob", "/4"),
        Clip("other.polite", "bob", "/5"),
    ]
    texts = ["Yes, I agree.", "Hello?", "No.", "Yes.", "Yeah."]
    rows = judge(clips, [heard(text, number, looks=2) for number, text in enumerate(texts)], "en")["clean"]
    assert rows["yes"]["clips"] == 2 and rows["yes"]["two_turns"] == {"yes": 2, "no": 0}
    assert rows["yes.phrase"]["first"] == {"yes": 1, "confirm": 0, "no": 0, "repeat": 0, UNHEARD: 0}
    assert rows["other"]["first"]["yes"] == 0 and rows["other"]["first"]["confirm"] == 1
    assert rows["other"]["two_turns"]["yes"] == 1, "Bob says nothing but yeah, and was asked twice"
    assert rows["other"]["obstinate_yes"] == 1
    assert rows["no"]["first"]["no"] == 1


def test_every_first_answer_has_a_column() -> None:
    texts = ["Yes, I agree.", "Yes.", "No.", "Hello?"]
    clips = [Clip("other", "x", f"/{number}") for number in range(5)]
    all_heard = [heard(text, number) for number, text in enumerate(texts)] + [heard(None, 4, utterances=0)]
    row = judge(clips, all_heard, "en")["clean"]["other"]
    assert [row["first"][outcome] for outcome in OUTCOMES] == [1] * 5


# --- texts and voices ---


@pytest.mark.parametrize("language", TEXTS)
def test_what_is_asked_for_is_on_the_list_and_what_must_not_be_a_yes_is_not(language: str) -> None:
    for kind, texts in TEXTS[language].items():
        for text in texts:
            meaning = read_text(text, language).meaning
            if kind == "yes.phrase":
                assert meaning is Meaning.YES, text
            elif not kind.startswith("yes"):
                assert meaning is not Meaning.YES, text


def test_english_is_measured_on_more_than_3000_clips_that_are_no_consent() -> None:
    spoken = [clip for _, clip in corpus._spoken("en", VOICES["en"], quick=False)]
    assert len({clip.path for clip in spoken}) == len(spoken)
    assert sum(clip.label != "yes" for clip in spoken) > 1_000, "2,215 recordings of people come on top"


def test_no_voice_speaks_english_that_anything_was_tuned_on() -> None:
    for voice in VOICES["en"]:
        assert voice.engine not in ("espeak", "flite")
        assert voice.engine != "kokoro" or "+" in voice.name or voice.name[0] not in "ab"


# --- the operator's own recordings ---


def write(path: Path, data: bytes, *, rate: int = 8_000, channels: int = 1, width: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


def tone(rate: int, seconds: float = 0.8, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000])
def test_any_rate_is_read(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", (tone(rate) * 32767).astype("<i2").tobytes(), rate=rate)
    audio = sound.read(path)
    assert len(audio) == 6_400
    assert np.abs(audio - tone(8_000)[: len(audio)])[80:-80].max() < 0.01


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_any_width_is_read(tmp_path: Path, width: int) -> None:
    if width == 1:
        data = (tone(8_000) * 127 + 128).astype(np.uint8).tobytes()
    else:
        whole = (tone(8_000) * (2 ** (8 * width - 1) - 1)).astype("<i8").view(np.uint8).reshape(-1, 8)
        data = whole[:, :width].tobytes()
    audio = sound.read(write(tmp_path / "a.wav", data, width=width))
    assert np.abs(audio - tone(8_000)).max() < 0.02


def test_both_channels_are_heard(tmp_path: Path) -> None:
    both = np.stack((tone(8_000), np.zeros(6_400)), axis=1)
    audio = sound.read(write(tmp_path / "a.wav", (both * 32767).astype("<i2").tobytes(), channels=2))
    assert np.abs(audio - tone(8_000) / 2).max() < 0.01


@pytest.mark.parametrize("data", [b"", b"RIFF", b"ID3\x03" + bytes(100), b"OggS" + bytes(400)])
def test_what_is_no_wav_file_is_said_with_what_to_do(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(SoundError, match=r"a\.wav: not a WAV file.*sox"):
        sound.read(path)


def test_a_file_without_sound_is_said(tmp_path: Path) -> None:
    with pytest.raises(SoundError, match="no sound in it"):
        sound.read(write(tmp_path / "a.wav", b"\0\0"))


def test_a_folder_is_read_by_its_labels(tmp_path: Path) -> None:
    data = (tone(8_000) * 32767).astype("<i2").tobytes()
    for name in ("yes/1.wav", "no/2.WAV", "other/deep/3.wav", "music/4.wav"):
        write(tmp_path / name, data)
    kinds = {Path(clip.path).stem: (clip.kind, clip.label) for clip in corpus.own(tmp_path)}
    assert kinds == {
        "1": ("yes", "yes"),
        "2": ("no", "no"),
        "3": ("other", "other"),
        "4": ("other.music", "other"),
    }


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_recordings_is_said(tmp_path: Path, made: bool, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "corpus"
    if made:
        (folder / "yes").mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"bench speech: .*corpus"):
        cli.main(["--corpus", str(folder)])


def test_a_broken_recording_stops_before_anything_is_measured(tmp_path: Path) -> None:
    write(tmp_path / "yes" / "good.wav", (tone(8_000) * 32767).astype("<i2").tobytes())
    (tmp_path / "no").mkdir()
    (tmp_path / "no" / "bad.wav").write_bytes(b"mp3")
    with pytest.raises(SystemExit, match=r"bad\.wav"):
        cli.main(["--corpus", str(tmp_path)])


@pytest.mark.parametrize("text", ["", "{}", "no json", '{"language": "en"}', '{"language": "de"}'])
def test_what_was_not_heard_is_not_judged_again(tmp_path: Path, text: str) -> None:
    file = tmp_path / "heard.jsonl"
    file.write_text(text)
    with pytest.raises(SystemExit, match=r"heard\.jsonl: "):
        cli.main(["--again", str(file)])


def test_where_nothing_can_be_written_is_said_before_anything_is_heard(tmp_path: Path) -> None:
    write(tmp_path / "yes" / "a.wav", (tone(8_000) * 32767).astype("<i2").tobytes())
    with pytest.raises(SystemExit, match=r"heard\.jsonl: what is heard cannot be written there"):
        cli.main(["--corpus", str(tmp_path), "--heard", str(tmp_path / "none" / "heard.jsonl")])


def test_an_engine_that_does_not_speak_the_language_is_said(tmp_path: Path) -> None:
    write(tmp_path / "yes" / "a.wav", (tone(8_000) * 32767).astype("<i2").tobytes())
    with pytest.raises(SystemExit, match=r"tiny\.en does not serve de"):
        cli.main(["--corpus", str(tmp_path), "--language", "de", "--engine", "tiny.en"])


# --- the line ---


@pytest.mark.parametrize("condition", hearing.CONDITIONS)
def test_a_clip_arrives_the_same_each_time(condition: str) -> None:
    clip = Clip("yes", "x", str(RECORDINGS / "yes-i-agree.wav"))
    line = hearing.on_the_line(clip, condition)
    assert line.dtype == np.int16 and len(line) % 160 == 0
    assert np.array_equal(line, hearing.on_the_line(clip, condition))
    utterance, count = hearing.first_utterance(line)
    assert utterance is not None and count == 1


@pytest.mark.parametrize("what", sorted(set(corpus._MADE) - {"music"}))
def test_machines_make_sounds_of_their_own(what: str) -> None:
    one, same, other = (Clip(f"other.{what}", what, f"made:{what}:{seed}").audio() for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert 0.05 < len(one) / 8_000 <= corpus.LONGEST_S and 0 < np.abs(one).max() <= 1


# --- all of it ---


@pytest.mark.slow
def test_the_recordings_of_the_tests_are_measured_as_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in RECORDINGS.glob("*.wav"):
        label = "yes" if path.stem in ("yes-i-agree", "yes-please", "yes") else "other"
        label = "no" if path.stem in ("no", "no-thank-you", "i-do-not-agree") else label
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / path.name).symlink_to(path)
    kept = tmp_path / "heard.jsonl"
    cli.main(["--corpus", str(tmp_path), "--condition", "clean", "--json", "--heard", str(kept)])
    rows = json.loads(capsys.readouterr().out)["conditions"]["clean"]
    assert rows["other"]["first"]["yes"] == rows["no"]["first"]["yes"] == 0
    assert rows["yes"]["first"]["yes"] == 1 and rows["yes"]["first"]["confirm"] == 2
    assert rows["no"]["first"]["no"] == 3
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert len(lines) == 11 and any(line["passes"] and line["decision"] == "confirm" for line in lines)
    cli.main(["--again", str(kept), "--json"])
    assert json.loads(capsys.readouterr().out)["conditions"]["clean"] == rows, "the rule alone says the same again"
    cli.main(["--corpus", str(tmp_path), "--condition", "clean"])
    text = capsys.readouterr().out
    assert "other taken for yes: 0.000 % (0.000 to" in text and "p95" in text


@pytest.mark.slow
@pytest.mark.parametrize("condition", ["clean", "10 dB"])
def test_nobody_who_says_something_else_has_agreed(condition: str) -> None:
    """A part of the whole measurement: voices and recordings of people that come in Debian packages."""
    voices = [voice for voice in VOICES["en"] if voice.engine == "festival"]
    clips = [*corpus.speak("en", voices), *corpus.machines(quick=True)]
    clips += [
        Clip("other.people", "en", str(path)) for path in corpus.recorded("en")[:: 1 if condition == "clean" else 4]
    ]
    rows = judge(clips, hearing.hear_all(clips, [condition], "en", ["tiny.en", "base"]), "en")[condition]
    assert len(voices) == 2 and rows["other"]["clips"] > 250
    assert rows["other"]["first"]["yes"] == 0
    assert rows["other"]["two_turns"]["yes"] <= 1, '"Yes?" and then "Yes! What a goal!" is beyond anybody'
    assert rows["no"]["first"]["yes"] == rows["no"]["two_turns"]["yes"] == 0
    assert rows["no"]["first"]["no"] > rows["no"]["clips"] / 2, "who refuses is understood"
    assert rows["yes.phrase"]["two_turns"]["yes"] > 2, "and so is who agrees"
