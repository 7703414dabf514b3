"""What the demonstration tells of a call that stays in Asterisk, and what it calls wrong."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.adapters.asterisk.local import installation
from gateway.cli import demo, demo_asterisk
from gateway.cli.demo_people import Script
from gateway.cli.demo_summary import not_as_expected
from gateway.cli.demo_transcript import Transcript
from gateway.cli.main import app
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.commands import Command
from gateway.domain.events import Event

MS = 1_000_000
ARRIVED = ev.CallArrived(at_ns=0, facts={"basis": "consent", "channel": "1795794433.0"})


def told(capsys: pytest.CaptureFixture[str], *story: tuple[int, Event | Command]) -> tuple[Transcript, list[str]]:
    """Let a transcript hear a story (ms, what); returns it, and what it printed without the times."""
    transcript = Transcript(quiet=False)
    for at_ms, what in story:
        transcript("01K0W9G9V7R5D2Q4M8T3X6Y1ZB", what, at_ms * MS)
    return transcript, [line.partition(" s  ")[2] for line in capsys.readouterr().out.splitlines()]


def pressed(at_ms: int, transport: str, leg: str = "caller", value: str = "1") -> tuple[int, Event]:
    return at_ms, ev.DigitPressed(at_ns=at_ms * MS, leg=leg, value=value, transport=transport)


def seen(at_ms: int, state: str, how: str = "acknowledged") -> tuple[int, Event]:
    return at_ms, ev.RecorderObserved(at_ns=at_ms * MS, recording="r", state=state, how=how)


def test_both_names_of_the_call_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = told(capsys, (0, ARRIVED))
    assert lines == ["caller    calls; our call id 01K0W9G9V7R5D2Q4M8T3X6Y1ZB, Asterisk's Uniqueid 1795794433.0"]


def test_a_key_that_asterisk_tells_of_too_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = told(
        capsys, pressed(10, "rfc4733"), pressed(90, "ami"), pressed(300, "rfc4733"), pressed(2_000, "ami"),
        pressed(2_100, "ami", "agent", "7"), pressed(2_200, "ami", "agent", "7"),
    )  # fmt: skip
    assert lines == [
        "caller    presses 1 (rfc4733)",
        "caller    presses 1 (rfc4733)",
        "caller    presses 1 (ami)",
        "agent     presses 7 (ami)",
        "agent     presses 7 (ami)",
    ]


def test_states_have_the_cause_of_the_command_and_a_state_seen_twice_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    transcript, lines = told(
        capsys,
        (0, ARRIVED),
        (5, do.OpenRecorder("r", 1, "conversation began")),
        seen(10, "on", "started"),
        (20, do.PauseRecorder("r", "agent_key")),
        seen(30, "paused"),
        seen(40, "paused", "the growing file is silent"),
        (50, do.ResumeRecorder("r", 1, "agent_key cleared")),
        seen(140, "on"),
        (200, ev.RecorderClosed(at_ns=200 * MS, recording="r", facts={"file": "f.wav", "checked": "read"})),
    )
    assert [(span["state"], span["from_ms"], span["cause"]) for span in transcript.recorder(300 * MS)] == [
        ("off", 0, "call arrived"),
        ("on", 10, "conversation began"),
        ("paused", 30, "agent_key"),
        ("on", 140, "agent_key cleared"),
        ("off", 200, "closed"),
    ]
    assert transcript.pauses == [(30 * MS, 50 * MS)], "what is sent after the resume was decided may be recorded"
    assert lines[1:] == [
        "gateway   tells Asterisk over AMI: verdict pending, it may record",
        "recorder  on (conversation began): started",
        "recorder  paused (agent_key): acknowledged",
        "recorder  still paused: the growing file is silent",
        "recorder  on (agent_key cleared): acknowledged",
        "recorder  off (closed)",
        "evidence  Asterisk's file f.wav: read",
    ]


def test_a_recorder_that_nobody_allowed_is_an_alarm_and_no_state_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    foreign = ev.RecorderObserved(at_ns=MS, recording="foreign", state="on")
    transcript, lines = told(capsys, (0, ARRIVED), (1, foreign), (1, do.RaiseAlarm("recorder_unexpected")))
    assert lines[1:] == ["recorder  one that nobody allowed is running", "ALARM     recorder_unexpected"]
    assert [span["state"] for span in transcript.recorder(2 * MS)] == ["off"]
    assert transcript.alarms == ["recorder_unexpected"]


def test_a_pause_that_lasts_ends_with_the_recording(capsys: pytest.CaptureFixture[str]) -> None:
    closed = ev.RecorderClosed(at_ns=90 * MS, recording="r")
    transcript, _ = told(capsys, (0, ARRIVED), seen(10, "on"), seen(30, "paused"), (90, closed))
    assert transcript.pauses == [(30 * MS, 90 * MS)]


def test_the_leg_that_asks_and_the_callers_channel_end_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = told(
        capsys,
        (0, ARRIVED),
        (1, ev.LegEnded(at_ns=1, leg="caller", by="local")),
        (2, ev.LegEnded(at_ns=2, leg="caller", by="remote")),
        (3, ev.LegEnded(at_ns=3, leg="channel", by="remote")),
        (4, ev.LegEnded(at_ns=4, leg="channel", by="lost")),
    )
    assert lines[1:] == [
        "gateway   has left the call to Asterisk",
        "gateway   is out of the call",
        "caller    has hung up",
        "caller    is gone (lost)",
    ]


# --- what is wrong ---

SCRIPT = Script("dtmf-yes", None, 0, 0, 0, 10, "en")
GOOD: dict[str, Any] = {
    "verdict": "granted",
    "verified": True,
    "recording": "x",
    "samples_before_verdict": 0,
    "samples_while_paused": 0,
}


@pytest.mark.parametrize(
    ("change", "told_agent", "wrong"),
    [
        ({}, "granted", []),
        ({"verdict": "refused"}, "granted", ["the verdict is refused, not granted"]),
        ({"verified": False}, "granted", ["the evidence does not verify"]),
        ({"recording": None}, "granted", ["there is no recording"]),
        ({"samples_before_verdict": 160}, "granted", ["audio from before the verdict was recorded"]),
        ({"samples_while_paused": 160}, "granted", ["audio from a paused span was recorded"]),
        ({}, "unknown", ["the agent's phone was told unknown"]),
        ({}, "", ["the agent's phone was told no verdict"]),
    ],
)
def test_what_the_script_does_not_want_is_named(change: dict[str, Any], told_agent: str, wrong: list[str]) -> None:
    assert not_as_expected(SCRIPT, GOOD | change, told_agent) == wrong


@pytest.mark.parametrize(("answer", "verdict"), [("dtmf-no", "refused"), ("silence", "unanswered")])
def test_a_recording_without_a_yes_is_wrong(answer: str, verdict: str) -> None:
    script = Script(answer, None, 0, 0, 0, 10, "en")
    assert not_as_expected(script, GOOD | {"verdict": verdict}, verdict) == ["there is a recording"]
    assert not_as_expected(script, GOOD | {"verdict": verdict, "recording": None}, verdict) == []


def test_who_hung_up_rings_nobody() -> None:
    script = Script("hangup", None, 0, 0, 0, 10, "en")
    result = GOOD | {"verdict": "unanswered", "recording": None}
    assert not_as_expected(script, result, "") == []
    assert not_as_expected(script, result, "unanswered") == ["the agent's phone was told unanswered"]


# --- what is missing ---


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without an Asterisk, and a folder in place of the checkout."""
    monkeypatch.setattr(demo_asterisk, "ROOT", tmp_path)
    monkeypatch.setattr(installation, "BESIDE_THE_PATH", ())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(demo, "configure_logging", lambda: None)
    return tmp_path


def test_without_an_asterisk_one_line_says_what_brings_it(elsewhere: Path) -> None:
    said = CliRunner().invoke(app, ["demo", "--path", "asterisk", "--out", str(elsewhere / "out")])
    assert (said.exit_code, said.stdout) == (3, "")
    assert said.stderr.startswith("the demonstration cannot run here: there is no Asterisk, neither in ")
    assert "run `make asterisk` once, as root" in said.stderr and len(said.stderr.splitlines()) == 1


def test_without_the_dialplan_one_line_says_where_it_comes_from(elsewhere: Path) -> None:
    usr = elsewhere / ".cache" / "asterisk" / "root" / "usr"
    for name in ("sbin/asterisk", "lib/x/ld-linux-x.so.2", "lib/asterisk/modules/chan_pjsip.so"):
        (usr / name).parent.mkdir(parents=True, exist_ok=True)
        (usr / name).touch()
    (usr / "share" / "asterisk" / "documentation").mkdir(parents=True)
    said = CliRunner().invoke(app, ["demo", "--path", "asterisk", "--out", str(elsewhere / "out")])
    assert (said.exit_code, said.stdout) == (3, "")
    assert f"the dialplan is not here: no {elsewhere}/dialplan/asterisk/" in said.stderr
    assert "in a checkout" in said.stderr and len(said.stderr.splitlines()) == 1
