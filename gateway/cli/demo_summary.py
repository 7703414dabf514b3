"""What the demonstration says at its end: the call's evidence, verified, and its recording, compared with the call."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.app.latency import LatencyTap
from gateway.bootstrap import Gateway
from gateway.cli.demo_people import People, Played, Script
from gateway.cli.output import NO, OK, complain, say, say_json
from gateway.evidence.bundle import verify_bundle
from gateway.evidence.errors import EvidenceInvalid

VERDICTS = {
    "dtmf-yes": "granted",
    "say-yes": "granted",
    "dtmf-no": "refused",
    "say-no": "refused",
    "silence": "unanswered",
    "hangup": "unanswered",
}


@dataclass(frozen=True, slots=True)
class Exactness:
    """The recording compared with what was really sent, and when. *lines*: what else a person is told of it; *wrong*:
    what else is not as it should be."""

    path: Path | None = None
    seconds: float = 0.0
    channels: str = ""
    before_verdict: int = 0
    while_paused: int = 0
    lines: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


async def summarise(
    people: People, gateway: Gateway, latency: LatencyTap, exact: Exactness, played: Played, out: Path
) -> int:
    """Write evidence and key, print what happened, return the exit code."""
    transcript = people.transcript
    bundle = await gateway.evidence.export(transcript.call_id)
    (out / "evidence.json").write_bytes(bundle)
    (out / "log.pub").write_text(gateway.evidence.verifier_key() + "\n", encoding="utf-8")
    try:
        report = verify_bundle(bundle, gateway.evidence.verifier_key())
        verified, said = True, str(report)
    except EvidenceInvalid as error:
        verified, said = False, str(error)
    result = {
        "call_id": transcript.call_id,
        "verdict": transcript.verdict,
        "basis": transcript.basis,
        "recorder": transcript.recorder(time.monotonic_ns()),
        "samples_before_verdict": exact.before_verdict,
        "samples_while_paused": exact.while_paused,
        "recording": str(exact.path) if exact.path else None,
        "evidence": str(out / "evidence.json"),
        "verified": verified,
        "latency_ms": latency.of(transcript.call_id),
    }
    if people.script.speaks:
        result["hypotheses"] = transcript.hypotheses
    alarms = [f"there was the alarm {alarm}" for alarm in transcript.alarms if alarm != "pause_limit"]
    wrong = [*not_as_expected(people.script, result, played.told), *exact.wrong, *alarms]
    if transcript.quiet:
        say_json(result)
        if wrong:
            complain(f"NOT as it should be: {'; '.join(wrong)}.")
    else:
        _print_summary(result, said, out, exact, wrong)
    return OK if not wrong else NO


def not_as_expected(script: Script, result: dict[str, Any], told: str) -> list[str]:
    """Return what is not as the script demands; empty when all is well. *told*: the verdict that the agent's phone came
    to hear, "": it never rang."""
    answered = VERDICTS[script.answer]
    wanted = "withdrawn" if script.agrees and script.withdraws else answered
    wrong = []
    if result["verdict"] != wanted:
        wrong.append(f"the verdict is {result['verdict']}, not {wanted}")
    if told != ("" if script.answer == "hangup" else answered):
        wrong.append(f"the agent's phone was told {told}" if told else "the agent's phone was told no verdict")
    if not result["verified"]:
        wrong.append("the evidence does not verify")
    if (result["recording"] is None) == script.agrees:
        wrong.append("there is no recording" if script.agrees else "there is a recording")
    if result["samples_before_verdict"]:
        wrong.append("audio from before the verdict was recorded")
    if result["samples_while_paused"]:
        wrong.append("audio from a paused span was recorded")
    return wrong


def _print_summary(result: dict[str, Any], said: str, out: Path, exact: Exactness, wrong: list[str]) -> None:
    say()
    say(f"Verdict    {result['verdict']} (basis: {result['basis']})")
    for span in result["recorder"]:
        begin, end = span["from_ms"] / 1000, span["to_ms"] / 1000
        say(f"Recorder   {span['state']:<7} {begin:8.3f} s to {end:8.3f} s  {span['cause']}")
    if exact.path:
        say(f"Recording  {exact.path} ({exact.seconds:.1f} s; {exact.channels})")
        for line in exact.lines:
            say(f"           {line}")
        say(
            f"           samples sent before the verdict: {exact.before_verdict}, in paused spans: {exact.while_paused}"
        )
    else:
        say("Recording  none: nothing was recorded, there is no file")
    for one in result.get("hypotheses", []):
        say(f"Heard      {one['text']!r} (score {one['score']:.2f}): {one['meaning']}, {one['because']}")
    for name, value in result["latency_ms"].items():
        if value is not None:
            say(f"Latency    {name.replace('_', ' ')}: {value:.1f} ms")
    say(f"Evidence   {result['evidence']}")
    for line in said.splitlines():
        say(f"           {line}")
    say(f"           check it yourself: consent-gateway evidence verify {result['evidence']} --key {out / 'log.pub'}")
    say()
    say("As it should be." if not wrong else "NOT as it should be: " + "; ".join(wrong) + ".")
