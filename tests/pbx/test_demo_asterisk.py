"""`consent-gateway demo --path asterisk` as anybody runs it: a real call through a real Asterisk, and nothing left."""

import asyncio
import hashlib
import itertools
import json
import os
import signal
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

from tests.support.demos import FIELDS, LATENCIES, SPOKEN, Ended, all_at_once, run

pytestmark = pytest.mark.slow

SCRIPTS = {
    "yes": ["--json", "--answer", "dtmf-yes", "--talk", "6", "--pause-after", "2", "--resume-after", "2"],
    "no": ["--json", "--answer", "dtmf-no", "--talk", "2"],
    "silence": ["--json", "--answer", "silence", "--talk", "1"],
    "hangup": ["--json", "--answer", "hangup"],
    "withdraw": ["--json", "--withdraw-after", "2", "--talk", "4", "--pause-after", "0"],
    "says yes": ["--json", "--answer", "say-yes", "--talk", "2", "--pause-after", "0"],
    "says no": ["--json", "--answer", "say-no", "--talk", "1"],
    "paused to the end": ["--json", "--talk", "3", "--pause-after", "0.8", "--resume-after", "0"],
    "early": ["--json", "--answer-after-ms", "500", "--talk", "1"],
    "for people": ["--talk", "3", "--pause-after", "0"],
    "no, for people": ["--answer", "dtmf-no", "--talk", "1"],
}
FOR_PROGRAMS = [name for name, script in SCRIPTS.items() if "--json" in script]
RECORDED = ["yes", "withdraw", "paused to the end", "says yes"]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    return all_at_once(tmp_path_factory.mktemp("a"), SCRIPTS, "--path", "asterisk")


def entries(demo: Ended, kind: str) -> list[dict[str, Any]]:
    """The facts of the bundle's entries of a kind."""
    bundle = json.loads((demo.out / "evidence.json").read_bytes())
    return [e["entry"]["facts"] for e in bundle["entries"] if e["entry"]["kind"] == kind]


def processes_of(folder: Path) -> list[int]:
    """Whatever was started with a path below *folder*."""
    found = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in cmdline.read_bytes():
                found.append(int(cmdline.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("script", "code", "verdict", "states"),
    [
        ("yes", 0, "granted", ["off", "on", "paused", "on", "off"]),
        ("no", 0, "refused", ["off"]),
        ("silence", 0, "unanswered", ["off"]),
        ("hangup", 0, "unanswered", ["off"]),
        ("withdraw", 0, "withdrawn", ["off", "on", "off"]),
        ("paused to the end", 0, "granted", ["off", "on", "paused", "off"]),
        ("early", 1, "unanswered", ["off"]),
        ("says yes", 0, "granted", ["off", "on", "off"]),
        ("says no", 0, "refused", ["off"]),
    ],
)
def test_what_it_prints(demos: dict[str, Ended], script: str, code: int, verdict: str, states: list[str]) -> None:
    demo = demos[script]
    assert demo.code == code, demo.stderr
    assert "Traceback" not in demo.stderr
    said = demo.said
    assert set(said) == FIELDS | (SPOKEN if script.startswith("says") else set())
    assert set(said["latency_ms"]) == LATENCIES
    assert (said["verdict"], said["basis"], said["verified"]) == (verdict, "consent", True)
    assert (said["samples_before_verdict"], said["samples_while_paused"]) == (0, 0)
    assert demo.states == states
    spans = said["recorder"]
    assert spans[0]["from_ms"] == 0
    assert all(span["cause"] and span["from_ms"] <= span["to_ms"] for span in spans)
    assert all(before["to_ms"] == after["from_ms"] for before, after in itertools.pairwise(spans))


@pytest.mark.parametrize("script", FOR_PROGRAMS)
def test_the_call_went_through_asterisk_and_the_log_names_its_channel(demos: dict[str, Ended], script: str) -> None:
    (arrived,) = entries(demos[script], "call.arrived")
    assert (arrived["path"], arrived["server"]) == ("asterisk", "asterisk")
    assert arrived["channel"] == arrived["linkedid"]
    assert "Asterisk 22." in (demos[script].out / "asterisk.log").read_text()


@pytest.mark.parametrize("script", RECORDED)
def test_the_recording_is_asterisks_file_and_the_one_of_the_evidence(demos: dict[str, Ended], script: str) -> None:
    demo = demos[script]
    recording = demo.out / "recording.wav"
    assert demo.said["recording"] == str(recording)
    (closed,) = entries(demo, "recording.closed")
    assert closed["sha256"] == hashlib.sha256(recording.read_bytes()).hexdigest()
    with wave.open(str(recording), "rb") as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (1, 8000, 2)
        assert any(file.readframes(file.getnframes()))
    assert [path for path in demo.out.rglob("*.wav*") if path != recording] == []


@pytest.mark.parametrize("script", ["no", "silence", "hangup", "early", "says no", "no, for people"])
def test_without_a_yes_there_is_no_sound_of_the_call_anywhere(demos: dict[str, Ended], script: str) -> None:
    assert list(demos[script].out.rglob("*.wav*")) == []
    assert entries(demos[script], "recorder.command") == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_nothing_of_asterisk_is_left(demos: dict[str, Ended], script: str) -> None:
    assert list(demos[script].temporary.iterdir()) == []
    assert processes_of(demos[script].temporary) == []


def test_the_paused_span_is_silence(demos: dict[str, Ended]) -> None:
    demo = demos["yes"]
    with wave.open(demo.said["recording"], "rb") as file:
        frames = file.readframes(file.getnframes())
    on, resumed = (span for span in demo.said["recorder"] if span["state"] == "on")
    # The file begins when both are connected, and ends with the call.
    ended_ms = resumed["to_ms"]
    silent = frames[(on["to_ms"] - ended_ms + 150) * 16 : (resumed["from_ms"] - ended_ms - 150) * 16]
    assert len(silent) > 1_500 * 16 and not any(silent)
    assert any(frames[: (on["to_ms"] - ended_ms - 150) * 16])
    assert any(frames[(resumed["from_ms"] - ended_ms + 150) * 16 :])


def test_latencies_are_there_where_there_was_something_to_measure(demos: dict[str, Ended]) -> None:
    for script, measured in (
        ("yes", LATENCIES),
        ("no", {"answer_to_verdict"}),
        ("silence", set()),
        ("hangup", set()),
        ("withdraw", {"answer_to_verdict", "verdict_to_recording"}),
    ):
        latency = demos[script].said["latency_ms"]
        assert {name for name, value in latency.items() if value is not None} == measured, script
        assert all(0 <= value < 2_000 for value in latency.values() if value is not None), latency


def test_what_it_tells_people(demos: dict[str, Ended]) -> None:
    yes, no = demos["for people"], demos["no, for people"]
    assert (yes.code, no.code) == (0, 0), yes.stdout + no.stdout
    lines = yes.stdout.splitlines()
    assert lines[0].startswith("Asterisk 22.") and "booted in" in lines[0] and lines[0].endswith("dialplan/asterisk")
    told = [line.partition(" s  ")[2] for line in lines]
    story = [
        "caller    calls; our call id ",
        "caller    presses 1 (rfc4733)",
        "evidence  verdict granted is durable",
        "gateway   tells Asterisk over AMI: verdict granted, it may record",
        "recorder  on (",
        "agent     rings; X-Consent-Verdict: granted",
        "agent     answers; both are connected",
        "caller    has hung up",
        "gateway   call over: caller hung up",
    ]
    places = [next((at for at, line in enumerate(told) if line.startswith(begin)), -1) for begin in story]
    assert -1 not in places, (story[places.index(-1)], yes.stdout)
    assert sum("presses 1" in line for line in lines) == 1, "a key that is heard twice is told once"
    assert "sent before the verdict: 0, in paused spans: 0" in yes.stdout and "of anything else: 0" in yes.stdout
    assert lines[-1] == "As it should be."
    assert "rings; X-Consent-Verdict: refused" in no.stdout and "verdict refused, nothing is recorded" in no.stdout
    assert "Recording  none: nothing was recorded, there is no file" in no.stdout


async def test_the_evidence_verifies_in_an_empty_folder(demos: dict[str, Ended], tmp_path: Path) -> None:
    for script in SCRIPTS:
        out = demos[script].out
        arguments = ("evidence", "verify", str(out / "evidence.json"), "--key", str(out / "log.pub"))
        code, said, complaint = await run(*arguments, cwd=tmp_path)
        assert (code, complaint) == (0, ""), script
        assert said.startswith("proven:")


@pytest.mark.parametrize(
    "how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda how: how.name
)
@pytest.mark.parametrize("when", ["while it starts", "in the call"])
async def test_whatever_ends_it_ends_asterisk(tmp_path: Path, how: signal.Signals, when: str) -> None:
    temporary = tmp_path / "t"
    temporary.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli.main", "demo", "--path", "asterisk", "--out", str(tmp_path / "out")),
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        if when == "in the call":
            while b"plays to the caller" not in await process.stdout.readline():
                pass
        else:
            while not processes_of(temporary):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.005)
    os.killpg(process.pid, how)  # as a terminal does
    _, complaint = await asyncio.wait_for(process.communicate(), 30)
    codes = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143, signal.SIGKILL: -9}
    assert process.returncode == codes[how], complaint.decode()
    assert b"Traceback" not in complaint, complaint.decode()
    async with asyncio.timeout(5):
        while processes_of(temporary):  # noqa: ASYNC110 (the kernel ends them when we are gone)
            await asyncio.sleep(0.01)
    if how is not signal.SIGKILL:
        assert list(temporary.iterdir()) == []
