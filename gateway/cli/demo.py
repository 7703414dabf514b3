"""One complete real call on loopback: a scripted caller, the gateway with its production code, a scripted agent."""

import asyncio
import shutil
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.adapters.config.settings import ROOT, Policies, Settings, Sip, Storage
from gateway.adapters.prompts.library import load_prompts
from gateway.adapters.recorder.reader import export_wav, open_recording
from gateway.adapters.softphone import Call, Softphone
from gateway.app.latency import LatencyTap
from gateway.app.session import CallSession
from gateway.app.tasks import spawn
from gateway.bootstrap import Gateway, configure_logging, start_gateway
from gateway.cli.output import NO, OK, OUT_OF_REACH, complain, say, say_json
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import Phase
from gateway.domain.commands import Command
from gateway.domain.events import Event
from gateway.evidence.bundle import verify_bundle
from gateway.evidence.errors import EvidenceInvalid
from gateway.media import g711
from gateway.policy.book import parse_policy
from gateway.ports.evidence import EvidenceUnavailable
from gateway.ports.registry import RegistryUnavailable

Audio = NDArray[np.int16]
AGENT_USER = "agent7"
CALLER_NUMBER = "+4915550100"
CALLER_NAME = "Demo Caller"
STRETCH = 400
"""Samples compared at once to find recorded sound in what was sent."""


@dataclass(frozen=True, slots=True)
class Script:
    """What happens in the demonstration. Times in seconds of talk unless named otherwise; 0 is never."""

    answer: str
    answer_after_ms: int | None
    pause_after: float
    resume_after: float
    withdraw_after: float
    talk: float
    language: str


@dataclass(slots=True)
class Transcript:
    """A tap that tells the call as it happens and keeps what the summary needs."""

    quiet: bool
    begun_ns: int = 0
    call_id: str = ""
    verdict: str = "pending"
    basis: str = ""
    verdict_ns: int = 0
    """When the answer's verdict was durable; a withdrawal later does not move it."""
    states: list[tuple[str, int, str]] = field(default_factory=list)
    closed: list[ev.RecorderClosed] = field(default_factory=list)
    spans: list[dict[str, Any]] = field(default_factory=list)
    _verdict_token: int = 0

    def line(self, mono_ns: int, who: str, what: str) -> None:
        """Print one line of the transcript."""
        if not self.quiet:
            say(f"{(mono_ns - self.begun_ns) / 1e9:8.3f} s  {who:<9} {what}")

    def __call__(self, call_id: str, what: Event | Command, mono_ns: int) -> None:
        match what:
            case ev.CallArrived():
                self.begun_ns, self.call_id = mono_ns, call_id
                self.basis = str(what.facts.get("basis", ""))
                self.line(mono_ns, "caller", f"calls; our call id {call_id}")
            case ev.PromptStarted():
                self.line(mono_ns, "gateway", f"plays to the {what.play.partition(':')[0]}")
            case ev.PromptFinished():
                heard = "to its end" if what.completed else "cut short"
                self.line(mono_ns, "gateway", f"prompt heard {heard}: {what.played_ms} of {what.length_ms} ms")
            case ev.DigitPressed():
                self.line(mono_ns, what.leg, f"presses {what.value} ({what.transport})")
            case do.AppendEvidence(kind="verdict") if what.facts["party"] == "caller":
                self.verdict = str(what.facts["verdict"])
                self._verdict_token = what.token
            case ev.EvidenceDurable() if what.token == self._verdict_token:
                self.verdict_ns = self.verdict_ns or what.at_ns
                self.line(mono_ns, "evidence", f"verdict {self.verdict} is durable")
            case ev.LegAnswered(leg="agent"):
                self.line(mono_ns, "agent", "answers; both are connected")
            case do.OpenRecorder():
                self.line(mono_ns, "gateway", "opens the recorder")
            case ev.RecorderObserved():
                self._state(what.state, what.at_ns, what.cause)
            case ev.RecorderClosed():
                self.closed.append(what)
                spans = what.facts.get("spans")
                self.spans += (
                    [{"recording": what.recording, **span} for span in spans] if isinstance(spans, list) else []
                )
                self._state("off", what.at_ns, what.failed or "closed")
                self.line(
                    mono_ns, "evidence", f"recording checked against its timeline: {what.facts.get('checked', '-')}"
                )
            case ev.LegEnded():
                self.line(mono_ns, what.leg, f"leg ended ({what.code}, {what.by})")
            case do.RaiseAlarm():
                self.line(mono_ns, "ALARM", what.alarm)
            case do.CallOver():
                self.line(mono_ns, "gateway", f"call over: {what.cause}")

    @property
    def on_ns(self) -> int:
        """When the recorder was first seen running."""
        return next((at for state, at, _ in self.states if state == "on"), 0)

    def _state(self, state: str, at_ns: int, cause: str) -> None:
        self.states.append((state, at_ns, cause))
        self.line(at_ns, "recorder", f"{state} ({cause})")

    def recorder(self, end_ns: int) -> list[dict[str, Any]]:
        """Return the recorder's observed states, in ms since the call arrived."""
        moments = [("off", self.begun_ns, "call arrived"), *self.states]
        ends = [at for _, at, _ in moments[1:]] + [max(end_ns, moments[-1][1])]
        return [
            {"state": state, "from_ms": self._ms(at), "to_ms": self._ms(end), "cause": cause}
            for (state, at, cause), end in zip(moments, ends, strict=True)
        ]

    def _ms(self, at_ns: int) -> int:
        return max(0, (at_ns - self.begun_ns) // 1_000_000)


def run(script: Script, out: Path, *, as_json: bool) -> int:
    """Play the script; return the exit code: 0 only when everything was as the script demands."""
    prompts, _ = load_prompts(ROOT / "ivr_prompts")
    if script.language not in prompts.languages():
        complain(f'no prompts in language "{script.language}"; there are: {", ".join(prompts.languages()) or "none"}')
        return 2
    if (out / "var").exists():
        shutil.rmtree(out / "var")
    out.mkdir(parents=True, exist_ok=True)
    for old in ("recording.wav", "recording.wav.age", "evidence.json", "log.pub"):
        (out / old).unlink(missing_ok=True)
    configure_logging()
    try:
        return asyncio.run(_demonstrate(script, out, as_json))
    except OSError as error:
        complain(f"the demonstration cannot run here: {type(error).__name__}: {error.strerror or error}")
    except (EvidenceUnavailable, RegistryUnavailable, RuntimeError) as error:
        complain(f"the demonstration cannot run here: {error}")
    return OUT_OF_REACH


def _policy(language: str) -> bytes:
    """The demonstration's policy: the built-in one, in the language asked for."""
    from importlib import resources

    text = (resources.files("gateway.policy") / "default.toml").read_text(encoding="utf-8")
    return text.replace('language = "en"', f'language = "{language}"').encode()


async def _demonstrate(script: Script, out: Path, as_json: bool) -> int:
    transcript = Transcript(quiet=as_json)
    latency = LatencyTap()
    policies = out / "var" / "policy.d"
    policies.mkdir(parents=True)
    (policies / "demo.toml").write_bytes(_policy(script.language))
    async with await Softphone.open(user=AGENT_USER) as agent_phone:
        settings = Settings(
            sip=Sip(bind="127.0.0.1:0", calls=1, agent=f"sip:{AGENT_USER}@{agent_phone.address}"),
            storage=Storage(folder=out / "var"),
            policy=Policies(folder=policies),
        )
        gateway = await start_gateway(settings)
        gateway.services.taps += [transcript, latency]
        try:
            async with await Softphone.open(user="caller", display_name=CALLER_NAME) as caller_phone:
                caller = await _play(script, gateway, caller_phone, agent_phone)
            return await _summary(script, gateway, transcript, latency, caller, out, as_json)
        finally:
            await gateway.stop()


# --- the two people ---


def speech(role: str) -> Callable[[int], bytes]:
    """Return an audio source that repeats the demonstration's recorded speech of "caller" or "agent"."""
    with wave.open(str(ROOT / "ivr_prompts" / "demo" / f"{role}.wav"), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    frames = g711.encode("PCMU", samples[: len(samples) // 160 * 160].astype(np.int16))
    count = len(frames) // 160

    def source(packet: int) -> bytes:
        at = packet % count * 160
        return frames[at : at + 160]

    return source


async def _play(script: Script, gateway: Gateway, caller_phone: Softphone, agent_phone: Softphone) -> Call:
    """Let caller and agent follow the script; returns the caller's side of the call once it is over."""
    agent = spawn(_agent(script, agent_phone), name="demo agent")
    call = await caller_phone.call(
        f"sip:support@{gateway.front.address}", from_number=CALLER_NUMBER, from_name=CALLER_NAME
    )
    call.audio_source = speech("caller")
    await call.answered(10)
    session = await _session(gateway)
    await _answer(script, gateway, session, call)
    await _talk(script, session, call)
    await call.hang_up()
    await asyncio.wait_for(session.over.wait(), 15)
    agent.cancel()
    return call


async def _session(gateway: Gateway) -> CallSession:
    async for change in gateway.switchboard.feed.follow(0):
        return gateway.switchboard.session(change.data["call_id"])
    raise RuntimeError("the gateway stopped before the call arrived")


async def _answer(script: Script, gateway: Gateway, session: CallSession, call: Call) -> None:
    """Answer the prompt as the script says: by default when it has been heard to its end."""
    prompt = gateway.prompts.prompt(script.language, "ask")
    after_ms = prompt.duration_ms + 300 if script.answer_after_ms is None else script.answer_after_ms
    if script.answer == "silence":
        return
    if script.answer == "hangup":
        await asyncio.sleep((2_000 if script.answer_after_ms is None else after_ms) / 1000)
        return
    rules = session.call.rules
    keys = rules.accept_keys if script.answer == "dtmf-yes" else rules.refuse_keys
    await asyncio.sleep(after_ms / 1000)
    await call.send_digit(min(keys))


async def _talk(script: Script, session: CallSession, call: Call) -> None:
    """Wait for the conversation, talk, withdraw when the script says so."""
    if script.answer == "hangup":
        return
    await session.wait_for(lambda: session.call.phase in (Phase.TALKING, Phase.ENDING, Phase.OVER), 120_000)
    withdraw = 0 < script.withdraw_after < script.talk
    await asyncio.sleep(script.withdraw_after if withdraw else script.talk)
    if withdraw:
        await _type(call, session.call.rules.withdraw_code)
        await asyncio.sleep(script.talk - script.withdraw_after)


async def _agent(script: Script, phone: Softphone) -> None:
    """The agent answers, talks, pauses and resumes by the keys of the policy."""
    call = await phone.incoming(120)
    call.audio_source = speech("agent")
    call.ring()
    await asyncio.sleep(0.3)
    await call.accept()
    if not script.pause_after or script.answer != "dtmf-yes":
        return
    rules = parse_policy(_policy(script.language), "demo").file
    await asyncio.sleep(script.pause_after)
    await _type(call, rules.codes.pause)
    if script.resume_after:
        await asyncio.sleep(script.resume_after)
        await _type(call, rules.codes.resume)


async def _type(call: Call, digits: str) -> None:
    for digit in digits:
        if call.is_over:
            return
        await call.send_digit(digit)
        await asyncio.sleep(0.06)


# --- the summary ---


async def _summary(
    script: Script,
    gateway: Gateway,
    transcript: Transcript,
    latency: LatencyTap,
    caller: Call,
    out: Path,
    as_json: bool,
) -> int:
    bundle = await gateway.evidence.export(transcript.call_id)
    (out / "evidence.json").write_bytes(bundle)
    (out / "log.pub").write_text(gateway.evidence.verifier_key() + "\n", encoding="utf-8")
    try:
        report = verify_bundle(bundle, gateway.evidence.verifier_key())
        verified, said = True, str(report)
    except EvidenceInvalid as error:
        verified, said = False, str(error)
    exact = await _export_recording(gateway, transcript, caller, out)
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
    expected = _as_expected(script, result)
    if as_json:
        say_json(result)
    else:
        _print_summary(result, said, out, exact, expected)
    return OK if not expected else NO


@dataclass(frozen=True, slots=True)
class Exactness:
    """The recording compared with what the caller really sent, and when."""

    path: Path | None = None
    seconds: float = 0.0
    before_verdict: int = 0
    while_paused: int = 0


async def _export_recording(gateway: Gateway, transcript: Transcript, caller: Call, out: Path) -> Exactness:
    """Decrypt the call's recording into `out`, and count the samples that should not be there."""
    records = [record for record in await gateway.services.registry.recordings(transcript.call_id) if record.size]
    if not records:
        return Exactness()
    record = records[0]
    identity = gateway.services.keys.unwrap(record.recording, record.wrapped)
    shutil.copyfile(record.path, out / "recording.wav.age")
    with (out / "recording.wav").open("wb") as file:
        export_wav(record.path, identity, file)
    samples = open_recording(record.path, identity).samples
    paused = sum(
        int(np.count_nonzero(samples[span["from_frame"] * 160 : span["to_frame"] * 160]))
        for span in transcript.spans
        if span["recording"] == record.recording and span["state"] == "paused"
    )
    before = samples_before(samples[:, 0], caller, transcript.verdict_ns, transcript.on_ns)
    return Exactness(out / "recording.wav", len(samples) / 8000, before, paused)


def samples_before(left: Audio, caller: Call, verdict_ns: int, on_ns: int) -> int:
    """Return how many recorded samples the caller sent before *verdict_ns*.

    A stretch of sound near the recording's beginning is looked up, bit for bit, in what the caller sent; the packets
    carry the time they were sent. Repeated speech can match more than once: the match nearest to the time the recorder
    was seen running (*on_ns*) is taken. A recording without a stretch of sound has no such samples. Raises
    `ValueError` when it has sound that was never sent.
    """
    source = caller.audio_source
    assert source is not None
    sent = sorted(caller.sent)
    stream = g711.decode("PCMU", b"".join(source(packet) for packet, _ in sent))
    windows = np.lib.stride_tricks.sliding_window_view(stream, STRETCH)
    silent = True
    for begin in range(0, min(len(left) - STRETCH, 80_000), 160):
        stretch = left[begin : begin + STRETCH]
        if np.count_nonzero(stretch) < STRETCH // 2:
            continue
        silent = False
        places = np.flatnonzero((windows == stretch).all(axis=1)) - begin
        if len(places):
            times = [sent[max(0, int(place)) // 160][1] for place in places]
            sent_ns = min(times, key=lambda at_ns: abs(at_ns - on_ns))
            return max(0, (verdict_ns - sent_ns) * 8 // 1_000_000)
    if silent:
        return 0
    raise ValueError("the recording has no sound that the caller sent")


def _as_expected(script: Script, result: dict[str, Any]) -> list[str]:
    """Return what is not as the script demands; empty when all is well."""
    wanted = {"dtmf-yes": "granted", "dtmf-no": "refused", "silence": "unanswered", "hangup": "unanswered"}[
        script.answer
    ]
    wanted = "withdrawn" if script.answer == "dtmf-yes" and 0 < script.withdraw_after < script.talk else wanted
    wrong = []
    if result["verdict"] != wanted:
        wrong.append(f"the verdict is {result['verdict']}, not {wanted}")
    if not result["verified"]:
        wrong.append("the evidence does not verify")
    if (result["recording"] is None) == (script.answer == "dtmf-yes"):
        wrong.append("there is no recording" if script.answer == "dtmf-yes" else "there is a recording")
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
        say(f"Recording  {exact.path} ({exact.seconds:.1f} s; left the caller, right the agent)")
        say(f"           a plain copy for you to hear; {out / 'recording.wav.age'} is the sealed original")
        say(
            f"           samples sent before the verdict: {exact.before_verdict}, in paused spans: {exact.while_paused}"
        )
    else:
        say("Recording  none: nothing was recorded, there is no file")
    for name, value in result["latency_ms"].items():
        if value is not None:
            say(f"Latency    {name.replace('_', ' ')}: {value:.1f} ms")
    say(f"Evidence   {result['evidence']}")
    for line in said.splitlines():
        say(f"           {line}")
    say(f"           check it yourself: consent-gateway evidence verify {result['evidence']} --key {out / 'log.pub'}")
    say()
    say("As it should be." if not wrong else "NOT as it should be: " + "; ".join(wrong) + ".")
