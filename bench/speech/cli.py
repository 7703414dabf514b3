"""`python -m bench speech`: how often a spoken answer is taken for what it is, and for what it is not."""

import argparse
import dataclasses
import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

from bench import machine
from bench.speech import corpus, hearing
from bench.speech.corpus import Clip
from bench.speech.hearing import CONDITIONS, Heard
from bench.speech.judging import OUTCOMES, interval, judge
from bench.speech.sound import SoundError
from bench.speech.texts import TEXTS
from bench.speech.voices import VoicesMissing
from gateway.adapters.config.settings import Speech
from gateway.adapters.speech.models import PACKAGED, Choice, read_model
from gateway.domain import spoken
from gateway.ports.recogniser import RecogniserUnusable

NAMES = {
    "yes": "yes, of any kind",
    "yes.asked": "yes, as the prompt asks for it",
    "yes.asked, native": "the same, without an accent",
    "yes.phrase": "yes, another phrase",
    "yes.phrase, native": "the same, without an accent",
    "no": "no",
    "no, native": "the same, without an accent",
}
"""What is summed up of who answered."""
HEADS = ("yes", "asked back", "no", "repeat", "unheard")


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench speech", description=__doc__)
    parser.add_argument("--language", action="append", choices=[*TEXTS, "all"], help="English when not given")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="measure DIR/LABEL/*.wav instead of the voices")
    parser.add_argument(
        "--engine", action="append", help=f"{', '.join(PACKAGED)}; twice: the second is asked where the first doubts"
    )
    parser.add_argument("--condition", action="append", choices=[*CONDITIONS], help="all when not given")
    parser.add_argument(
        "--seen", action="store_true", help="English texts and voices that the rule was changed on since"
    )
    parser.add_argument("--quick", action="store_true", help="a part of the corpus: a try, not a measurement")
    parser.add_argument("--heard", type=Path, metavar="FILE", help="write what was heard of each clip there")
    parser.add_argument("--again", type=Path, metavar="FILE", help="judge anew what --heard wrote: only the rule runs")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def measured(language: str, clips: list[Clip], asked: argparse.Namespace) -> dict[str, Any]:
    """Hear and judge *clips*. Raises `RecogniserUnusable`, `SoundError`."""
    names = asked.engine or [name for name in Speech().engines if language in PACKAGED[name].languages]
    models = [read_model(Choice(name)) for name in names]
    for model in models:
        if language not in model.languages:
            known = ", ".join(model.languages)
            raise RecogniserUnusable(f"the model {model.name} does not serve {language}: there are {known}")
    begin = time.monotonic()
    conditions = asked.condition or [*CONDITIONS]
    heard = []
    with opened(asked.heard) as file:
        for one in hearing.hear_all(clips, conditions, language, names):
            heard.append(one)
            file.write(json.dumps(line(clips[one.clip], one, language), ensure_ascii=False) + "\n")
            if len(heard) % 2_500 == 0:
                part, minutes = len(heard) / len(clips) / len(conditions), (time.monotonic() - begin) / 60
                print(f"{100 * part:.0f} % heard after {minutes:.0f} minutes", file=sys.stderr, flush=True)
    listened = [one for one in heard if one.hearings]
    return {
        "language": language,
        "engine": ", ".join(f"{model.name} ({model.origin})" for model in models),
        "model_sha256": [model.sha256 for model in models],
        "corpus": Counter(clip.kind for clip in clips),
        "speakers": len({clip.speaker for clip in clips}),
        "listened_to": len(listened),
        "took_s": round(time.monotonic() - begin),
        "cpu_ms": spread([one.cpu_ms for one in listened]),
        "took_ms": spread([one.took_ms for one in listened]),
        "conditions": judge(clips, heard, language),
    }


def opened(file: Path | None) -> TextIO:
    """Open what is heard for writing: before the first hour is spent. Raises `SoundError`."""
    try:
        return (file or Path(os.devnull)).open("a", encoding="utf-8")
    except OSError as error:
        raise SoundError(f"{file}: what is heard cannot be written there ({error.strerror})") from None


def spread(values: list[float]) -> list[int] | None:
    """Return the median, the 95th and the 99th percentile; None of nothing."""
    return [round(machine.quantile(values, part)) for part in (0.5, 0.95, 0.99)] if values else None


def line(clip: Clip, heard: Heard, language: str) -> dict[str, Any]:
    """What was heard of one clip, to look at, and to judge anew."""
    ruling = spoken.decide(heard.hearings, language, spoken.Question.ASK, 1)
    return {
        "language": language,
        **dataclasses.asdict(clip),
        "condition": heard.condition,
        "utterances": heard.utterances,
        "decision": str(ruling.decision),
        "because": ruling.because,
        "passes": [dataclasses.asdict(one) for one in heard.hearings],
    }


def again(file: Path, language: str) -> dict[str, Any]:
    """Judge what was heard in an earlier run. Raises `SoundError` for a file that is not what `--heard` writes."""
    clips: dict[Clip, int] = {}
    heard = []
    number = 0
    try:
        for text in file.read_text(encoding="utf-8").splitlines():
            number += 1
            said = json.loads(text)
            if said["language"] == language:
                clip = Clip(*(said[part.name] for part in dataclasses.fields(Clip)))
                passes = tuple(
                    spoken.Hearing(
                        one["window_ms"],
                        one["no_speech"],
                        tuple(spoken.Hypothesis(**each) for each in one["hypotheses"]),
                    )
                    for one in said["passes"]
                )
                at = clips.setdefault(clip, len(clips))
                heard.append(Heard(at, said["condition"], passes, said["utterances"], 0.0, 0.0))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SoundError(f"{file}: line {number}: not what --heard writes ({error!r})") from None
    if not heard:
        raise SoundError(f"{file}: nothing was heard in {language}")
    return {
        "language": language,
        "engine": f"as heard before, {file.name}",
        "corpus": Counter(clip.kind for clip in clips),
        "speakers": len({clip.speaker for clip in clips}),
        "cpu_ms": None,
        "conditions": judge(list(clips), heard, language),
    }


# --- tables ---


def share(count: int, total: int) -> str:
    """A share in percent with its interval."""
    low, high = interval(count, total)
    digits = 3 if count == 0 or count / total < 0.01 else 1
    return f"{100 * count / total:.{digits}f} % ({100 * low:.{digits}f} to {100 * high:.{digits}f})"


def show(found: dict[str, Any]) -> None:
    """Print one language's tables."""
    clips = sum(found["corpus"].values())
    print(f"\n== {found['language']}: {found['engine']}, {clips} clips of {found['speakers']} speakers ==")
    for condition, rows in found["conditions"].items():
        print(f"\n{condition:24}{'clips':>7}", *(f"{head:>11}" for head in HEADS))
        for kind, row in sorted(rows.items(), key=lambda item: (order(item[0]), item[0])):
            name = kind if "." not in kind else f"  {kind.partition('.')[2]}"
            print(f"{name:24}{row['clips']:7}", *(f"{row['first'][outcome]:11}" for outcome in OUTCOMES))
        for text in summary(rows):
            print(f"  {text}")
    if found["cpu_ms"]:
        count, seconds = found["listened_to"], found["took_s"]
        print(f"\n{count} answers listened to, a recogniser on each core, in {seconds} s; p50/p95/p99:")
        for name, title in (("cpu_ms", "processor time"), ("took_ms", "elapsed time")):
            print(f"  {title} an answer: {'/'.join(map(str, found[name]))} ms")


def order(kind: str) -> int:
    return corpus.LABELS.index(re.split(r"[.,]", kind)[0])


def summary(rows: dict[str, Any]) -> list[str]:
    """What the issue asks for, with 95 % intervals."""
    lines = []
    for kind, name in NAMES.items():
        if row := rows.get(kind):
            right = re.split(r"[.,]", kind)[0]
            first, two = (share(row[turn][right], row["clips"]) for turn in ("first", "two_turns"))
            lines.append(f"{name}: right {first} in the first turn, {two} within two")
    for label in ("no", "other"):
        if row := rows.get(label):
            first, two, worst = (
                share(count, row["clips"])
                for count in (row["first"]["yes"], row["two_turns"]["yes"], row["obstinate_yes"])
            )
            lines.append(f"{label} taken for yes: {first} in the first turn, {two} within two;")
            lines.append(f"    {worst} when the very same sounds come again")
    return lines


def main(arguments: list[str]) -> None:
    asked = options(arguments)
    wanted = asked.language or ["en"]
    try:
        for language in TEXTS if "all" in wanted else wanted:
            if asked.again:
                found = again(asked.again, language)
            else:
                clips = (
                    corpus.own(asked.corpus) if asked.corpus else corpus.built(language, asked.quick, seen=asked.seen)
                )
                found = measured(language, clips, asked)
            print(json.dumps(found)) if asked.json else show(found)
            sys.stdout.flush()
    except (VoicesMissing, SoundError, RecogniserUnusable) as error:
        raise SystemExit(f"bench speech: {error}") from None
