"""`consent-gateway demo` as anybody runs it: what it prints, what it leaves, and that its evidence convinces alone."""

import itertools
import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.adapters.config.settings import ROOT
from gateway.cli.main import app
from tests.support.demos import FIELDS, LATENCIES, SPOKEN, Ended, all_at_once, run

pytestmark = pytest.mark.slow

MINIMUM_MS = json.loads((ROOT / "ivr_prompts" / "en" / "manifest.json").read_bytes())["prompts"]["ask_spoken"][
    "minimum_heard_ms"
]
"""From here on a key counts, whether the question may be answered by voice or not: without, it counts sooner."""
NO_ANSWER = ROOT / "tests" / "recordings" / "speech" / "en" / "no-problem.wav"
SCRIPTS = {
    "yes": ["--answer", "dtmf-yes", "--talk", "6", "--pause-after", "2", "--resume-after", "2"],
    "no": ["--answer", "dtmf-no", "--talk", "2"],
    "silence": ["--answer", "silence", "--talk", "1"],
    "hangup": ["--answer", "hangup"],
    "withdraw": ["--withdraw-after", "2", "--talk", "4", "--pause-after", "0"],
    "early": ["--answer-after-ms", "500", "--talk", "1"],
    "barge-in": ["--answer-after-ms", str(MINIMUM_MS + 700), "--talk", "2", "--pause-after", "0"],
    "german": ["--language", "de", "--talk", "2", "--pause-after", "0"],
    "says yes": ["--answer", "say-yes", "--talk", "2", "--pause-after", "0"],
    "says no": ["--answer", "say-no", "--talk", "1"],
    "says something else": ["--answer", "say-yes", "--answer-wav", str(NO_ANSWER), "--talk", "1"],
    "paused to the end": ["--talk", "3", "--pause-after", "0.8", "--resume-after", "0"],
}


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    return all_at_once(tmp_path_factory.mktemp("demos"), SCRIPTS, "--json")


@pytest.mark.parametrize(
    ("script", "code", "verdict", "states"),
    [
        ("yes", 0, "granted", ["off", "on", "paused", "on", "off"]),
        ("no", 0, "refused", ["off"]),
        ("silence", 0, "unanswered", ["off"]),
        ("hangup", 0, "unanswered", ["off"]),
        ("withdraw", 0, "withdrawn", ["off", "on", "off"]),
        ("early", 1, "unanswered", ["off"]),
        ("barge-in", 0, "granted", ["off", "on", "off"]),
        ("german", 0, "granted", ["off", "on", "off"]),
        ("says yes", 0, "granted", ["off", "on", "off"]),
        ("says no", 0, "refused", ["off"]),
        ("says something else", 1, "unclear", ["off"]),
        ("paused to the end", 0, "granted", ["off", "on", "paused", "off"]),
    ],
)
def test_what_it_prints(demos: dict[str, Ended], script: str, code: int, verdict: str, states: list[str]) -> None:
    demo = demos[script]
    assert demo.code == code, demo.stderr
    assert "Traceback" not in demo.stderr
    said = demo.said
    assert set(said) == FIELDS | (SPOKEN if script.startswith("says") else set())
    assert (said["verdict"], said["basis"], said["verified"]) == (verdict, "consent", True)
    assert (said["samples_before_verdict"], said["samples_while_paused"]) == (0, 0)
    assert len(said["call_id"]) == 26
    assert said["evidence"] == str(demo.out / "evidence.json")
    assert demo.states == states
    spans = said["recorder"]
    assert spans[0]["from_ms"] == 0
    assert all(span["cause"] and span["from_ms"] <= span["to_ms"] for span in spans)
    assert all(before["to_ms"] == after["from_ms"] for before, after in itertools.pairwise(spans))


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_it_leaves(demos: dict[str, Ended], script: str) -> None:
    demo = demos[script]
    recorded = "on" in demo.states
    sealed = [path.name for path in demo.out.rglob("*.age")]
    if not recorded:
        assert demo.said["recording"] is None
        assert sealed == []
        assert list(demo.out.rglob("*.wav*")) == []
        return
    assert demo.said["recording"] == str(demo.out / "recording.wav")
    assert sorted(sealed) == sorted(["recording.wav.age", f"{demo.said['call_id']}-1.wav.age"])
    with wave.open(demo.said["recording"], "rb") as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 8000, 2)
        length_ms = file.getnframes() / 8
        assert any(file.readframes(file.getnframes()))
    live = [span for span in demo.said["recorder"] if span["state"] != "off"]
    assert length_ms == pytest.approx(live[-1]["to_ms"] - live[0]["from_ms"], abs=250)
    plain = [path for path in demo.out.rglob("*.wav") if path != demo.out / "recording.wav"]
    assert plain == [], "the only plain audio is the copy to listen to"


def test_the_paused_span_is_silence_of_the_same_length(demos: dict[str, Ended]) -> None:
    demo = demos["yes"]
    with wave.open(demo.said["recording"], "rb") as file:
        frames = file.readframes(file.getnframes())
    begin, paused, resumed = (span["from_ms"] for span in demo.said["recorder"][1:4])
    silent = frames[(paused - begin + 100) * 32 : (resumed - begin - 100) * 32]
    assert len(silent) > 1_500 * 32 and not any(silent)
    assert resumed - paused == pytest.approx(2_000, abs=900)
    assert any(frames[: (paused - begin - 100) * 32]) and any(frames[(resumed - begin + 100) * 32 :])


def test_latencies_are_there_where_there_was_something_to_measure(demos: dict[str, Ended]) -> None:
    for script, measured in (
        ("yes", LATENCIES),
        ("no", {"answer_to_verdict"}),
        ("silence", set()),
        ("hangup", set()),
        ("barge-in", {"answer_to_verdict", "verdict_to_recording"}),
    ):
        latency = demos[script].said["latency_ms"]
        assert set(latency) == LATENCIES
        assert {name for name, value in latency.items() if value is not None} == measured, script
        assert all(0 <= value < 2_000 for value in latency.values() if value is not None), latency


def test_what_was_heard_is_printed_and_in_the_evidence(demos: dict[str, Ended]) -> None:
    for script, word, meaning in (("says yes", "agree", "yes"), ("says no", "no", "no")):
        (heard,) = demos[script].said["hypotheses"]
        assert word in heard["text"].lower() and heard["meaning"] == meaning and heard["because"]
        bundle = json.loads((demos[script].out / "evidence.json").read_bytes())
        (spoken,) = [e["entry"]["facts"] for e in bundle["entries"] if e["entry"]["kind"] == "answer.speech"]
        assert spoken["counted"] and spoken["meaning"] == meaning and spoken["pinned"]
        assert 0 < demos[script].said["latency_ms"]["answer_to_verdict"] < 2_000
    assert {one["meaning"] for one in demos["says something else"].said["hypotheses"]} == {"unclear"}


async def test_an_answer_that_is_no_answer_of_a_caller_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    code, _, complaint = await run("demo", "--answer", "say-yes", "--answer-wav", "text.wav", cwd=tmp_path)
    assert code == 2 and "text.wav is no WAV file" in complaint
    code, _, complaint = await run("demo", "--answer-wav", "text.wav", cwd=tmp_path)
    assert code == 2 and "--answer say-yes" in complaint and len(complaint.splitlines()) == 1
    with wave.open(str(tmp_path / "stereo.wav"), "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
        file.writeframes(bytes(400))
    code, _, complaint = await run("demo", "--answer", "say-no", "--answer-wav", "stereo.wav", cwd=tmp_path)
    assert code == 2 and "2 channels, 16 bit, 44100 Hz" in complaint and "sox" in complaint


async def test_a_language_that_nobody_understands_is_said(tmp_path: Path) -> None:
    english = {"CONSENT_GATEWAY_SPEECH__ENGINES": '["tiny.en"]'}
    spoken = ("demo", "--answer", "say-yes", "--language", "de", "--answer-wav", str(NO_ANSWER))
    code, _, complaint = await run(*spoken, cwd=tmp_path, **english)
    assert code == 3 and 'nobody listens for spoken answers in "de"' in complaint


async def test_the_demonstrations_own_caller_speaks_english_and_says_so(tmp_path: Path) -> None:
    code, _, complaint = await run("demo", "--answer", "say-no", "--language", "fr", cwd=tmp_path)
    assert code == 2 and "answers in English only" in complaint and "--answer-wav FILE" in complaint


def test_barging_in_ends_the_prompt_and_an_early_key_counts_for_nothing(demos: dict[str, Ended]) -> None:
    def facts(script: str, kind: str) -> list[dict[str, Any]]:
        bundle = json.loads((demos[script].out / "evidence.json").read_bytes())
        return [e["entry"]["facts"] for e in bundle["entries"] if e["entry"]["kind"] == kind]

    (prompt,) = facts("barge-in", "prompt.played")
    assert not prompt["completed"] and MINIMUM_MS <= prompt["played_ms"] < prompt["length_ms"]
    (early,) = facts("early", "answer.digit")
    assert not early["counted"]
    assert len(facts("early", "prompt.played")) == 2
    assert facts("german", "prompt.played")[0]["language"] == "de"


# --- the evidence, alone ---


@pytest.mark.parametrize("script", SCRIPTS)
async def test_the_evidence_verifies_in_an_empty_folder(demos: dict[str, Ended], script: str, tmp_path: Path) -> None:
    out = demos[script].out
    arguments = ("evidence", "verify", str(out / "evidence.json"), "--key", str(out / "log.pub"))
    code, said, complaint = await run(*arguments, cwd=tmp_path)
    assert code == 0, complaint
    assert said.startswith("proven:") and complaint == ""
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240


def _object(edit: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def tamper(data: bytes) -> bytes:
        bundle = json.loads(data)
        edit(bundle)
        return json.dumps(bundle, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"

    return tamper


def _byte(at: float) -> Callable[[bytes], bytes]:
    def tamper(data: bytes) -> bytes:
        place = int((len(data) - 1) * at)
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return tamper


def _removed(bundle: dict[str, Any]) -> None:
    del bundle["entries"][4]


def _removed_and_counted(bundle: dict[str, Any]) -> None:
    del bundle["entries"][-1]
    bundle["count"] -= 1


def _swapped(bundle: dict[str, Any]) -> None:
    entries = bundle["entries"]
    entries[2], entries[3] = entries[3], entries[2]


def _swapped_content(bundle: dict[str, Any]) -> None:
    entries = bundle["entries"]
    entries[2]["entry"], entries[3]["entry"] = entries[3]["entry"], entries[2]["entry"]


def _truncated_tree(bundle: dict[str, Any]) -> None:
    lines = bundle["checkpoint"].split("\n")
    lines[1] = str(int(lines[1]) - 1)
    bundle["checkpoint"] = "\n".join(lines)


def _truncated_proof(bundle: dict[str, Any]) -> None:
    del bundle["entries"][0]["proof"][-1]


def _empty(bundle: dict[str, Any]) -> None:
    bundle.update(entries=[], openings=[], recordings=[], count=0)


TAMPERINGS: dict[str, Callable[[bytes], bytes]] = {
    **{f"byte at {at:.0%}": _byte(at) for at in (0, 0.05, 0.3, 0.5, 0.77, 0.95, 0.99, 1)},
    "entry removed": _object(_removed),
    "last entry removed": _object(_removed_and_counted),
    "entries swapped": _object(_swapped),
    "contents swapped": _object(_swapped_content),
    "tree truncated": _object(_truncated_tree),
    "proof truncated": _object(_truncated_proof),
    "cut off": lambda data: data[: len(data) // 2],
    "empty file": lambda data: b"",
    "empty object": lambda data: b"{}",
    "empty list": lambda data: b"[]\n",
    "empty bundle": _object(_empty),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_whatever_is_done_to_it_shows(
    demos: dict[str, Ended], tampering: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = demos["yes"].out
    monkeypatch.chdir(tmp_path)
    Path("bundle.json").write_bytes(TAMPERINGS[tampering]((out / "evidence.json").read_bytes()))
    said = CliRunner().invoke(app, ["evidence", "verify", "bundle.json", "--key", str(out / "log.pub"), "--json"])
    assert said.exit_code == 1, said.stderr
    assert json.loads(said.stdout)["verified"] is False
    assert len(json.loads(said.stdout)["because"]) > 10, "it says what is wrong"


async def test_a_tampered_bundle_ends_the_command_with_1(demos: dict[str, Ended], tmp_path: Path) -> None:
    out = demos["yes"].out
    (tmp_path / "bundle.json").write_bytes(_byte(0.4)((out / "evidence.json").read_bytes()))
    code, said, complaint = await run("evidence", "verify", "bundle.json", "--key", str(out / "log.pub"), cwd=tmp_path)
    assert (code, said) == (1, "")
    assert complaint.startswith("NOT VALID:")


async def test_another_logs_key_does_not_verify_it(demos: dict[str, Ended], tmp_path: Path) -> None:
    bundle, key = demos["yes"].out / "evidence.json", demos["no"].out / "log.pub"
    code, _, complaint = await run("evidence", "verify", str(bundle), "--key", str(key), cwd=tmp_path)
    assert code == 1
    assert complaint.startswith("NOT VALID:") and len(complaint.splitlines()) == 1


async def test_files_out_of_reach_are_3_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("x")
    for arguments in (("nowhere", "--key", "here"), ("here", "--key", "nowhere")):
        code, _, complaint = await run("evidence", "verify", *arguments, cwd=tmp_path)
        assert code == 3
        assert "nowhere" in complaint and len(complaint.splitlines()) == 1


async def test_an_unknown_language_is_wrong_usage(tmp_path: Path) -> None:
    code, _, complaint = await run("demo", "--language", "tlh", "--out", "out", cwd=tmp_path)
    assert code == 2
    assert "tlh" in complaint and "en" in complaint and len(complaint.splitlines()) == 1
