"""The demonstration's two people: a caller who answers by a script, and an agent with a phone."""

import asyncio
import wave
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gateway.adapters.config.settings import ROOT
from gateway.adapters.softphone import Call, Softphone
from gateway.app.pbx_session import PbxSession
from gateway.app.session import CallSession
from gateway.app.tasks import spawn
from gateway.bootstrap import Gateway
from gateway.cli.demo_transcript import Transcript
from gateway.domain.call import Phase
from gateway.media import g711
from gateway.policy.book import parse_policy

T = TypeVar("T")
CALLER_NUMBER = "+4915550100"
DEMO = ROOT / "ivr_prompts" / "demo"
SILENCE = bytes([g711.SILENCE["PCMU"]]) * 160


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
    answer_wav: Path | None = None

    @property
    def speaks(self) -> bool:
        """Whether the caller answers by voice."""
        return self.answer in ("say-yes", "say-no")

    @property
    def agrees(self) -> bool:
        """Whether the answer is a yes."""
        return self.answer in ("dtmf-yes", "say-yes")

    @property
    def withdraws(self) -> bool:
        """Whether the caller takes his consent back."""
        return 0 < self.withdraw_after < self.talk

    @property
    def policy(self) -> bytes:
        """The demonstration's policy: the built-in one, in the language asked for."""
        from importlib import resources

        text = (resources.files("gateway.policy") / "default.toml").read_text(encoding="utf-8")
        if self.speaks:
            text = text.replace("by_voice = false", "by_voice = true")
        return text.replace('language = "en"', f'language = "{self.language}"').encode()


@dataclass(slots=True)
class Played:
    """The phones' sides of a call that is over. *told*: the verdict that the agent's INVITE came with."""

    caller: Call
    agent: Call | None = None
    told: str = ""


class NotAnAnswer(ValueError):
    """A file that cannot be what the caller says."""


def read_answer(path: Path) -> NDArray[np.int16]:
    """Return a WAV file as samples at 8 kHz. Raises `NotAnAnswer`, which says what it has to be."""
    try:
        with wave.open(str(path), "rb") as file:
            form = file.getnchannels(), file.getsampwidth(), file.getframerate()
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") if form[1] == 2 else None
    except (OSError, EOFError, wave.Error) as error:
        raise NotAnAnswer(f"{path} is no WAV file that can be read ({error})") from None
    if samples is None or form != (1, 2, 8000) or not len(samples):
        named = f"{form[0]} channels, {8 * form[1]} bit, {form[2]} Hz"
        raise NotAnAnswer(f"{path} has {named}; it has to be mono, 16 bit, 8000 Hz: sox IN -c 1 -b 16 -r 8000 OUT")
    return samples


def _frames(samples: NDArray[Any]) -> list[bytes]:
    """Return the payloads of whole packets."""
    coded = g711.encode("PCMU", samples[: len(samples) // 160 * 160].astype(np.int16))
    return [coded[at : at + 160] for at in range(0, len(coded), 160)]


def speech(role: str, *, loudness: float = 1.0) -> Callable[[int], bytes]:
    """Return an audio source that repeats the demonstration's recorded speech of "caller" or "agent"."""
    frames = _frames(read_answer(DEMO / f"{role}.wav") * loudness)
    return lambda packet: frames[packet % len(frames)]


class Answering:
    """The audio source of a caller who answers by voice: silent, then his answer, silent again, then his speech."""

    def __init__(self, answer: NDArray[np.int16], *, loudness: float) -> None:
        self._answer = _frames(np.pad(answer, (0, -len(answer) % 160)))
        self._speech = speech("caller", loudness=loudness)
        self._last = 0
        self._answers_at: int | None = None
        self._talks_at: int | None = None

    def __call__(self, packet: int) -> bytes:
        self._last = max(self._last, packet)
        if self._talks_at is not None and packet >= self._talks_at:
            return self._speech(packet - self._talks_at)
        if self._answers_at is not None and 0 <= packet - self._answers_at < len(self._answer):
            return self._answer[packet - self._answers_at]
        return SILENCE

    def answers(self) -> None:
        """Say the answer from now on."""
        self._answers_at = self._last + 2

    def talks(self) -> None:
        """Talk from now on."""
        self._talks_at = self._last + 2


@dataclass(slots=True)
class People:
    """The two, and how loud they speak (1: as recorded)."""

    script: Script
    caller: Softphone
    agent: Softphone
    transcript: Transcript
    loudness: float = 1.0
    _voice: Answering | None = None

    async def play(self, gateway: Gateway, uri: str) -> Played:
        """Let the caller call *uri*, and both follow the script until the call is over. Raises `CallFailed` when it is
        refused, `RuntimeError` when it does not come about."""
        call = await self.caller.call(uri, from_number=CALLER_NUMBER)
        played = Played(call)
        agent = spawn(self._agent(played), name="demo agent")
        try:
            if self.script.speaks:
                answer = read_answer(self.script.answer_wav or DEMO / f"{self.script.answer}.wav")
                self._voice = call.audio_source = Answering(answer, loudness=self.loudness)
            else:
                call.audio_source = speech("caller", loudness=self.loudness)
            await in_time(call.answered(), 10, "the call was not answered")
            session = await in_time(_session(gateway), 10, "the call did not come to the gateway")
            await self._answer(gateway, session, call)
            await self._talk(session, call)
            await call.hang_up()
            await in_time(session.over.wait(), 15, "the call did not end")
        finally:
            agent.cancel()
        return played

    async def _answer(self, gateway: Gateway, session: CallSession, call: Call) -> None:
        """Answer the prompt as the script says: by default when it has been heard to its end."""
        script = self.script
        if self._voice is not None and not session.call.rules.by_voice:
            raise RuntimeError(
                f'nobody listens for spoken answers in "{script.language}": there has to be the extra '
                "(pip install 'consent-gateway[speech]') and prompts for it (consent-gateway prompts check)"
            )
        prompt = gateway.prompts.prompt(script.language, "ask" if self._voice is None else "ask_spoken")
        after_ms = prompt.duration_ms + 300 if script.answer_after_ms is None else script.answer_after_ms
        if script.answer == "silence":
            return
        if script.answer == "hangup":
            await asyncio.sleep((2_000 if script.answer_after_ms is None else after_ms) / 1000)
            return
        rules = session.call.rules
        keys = rules.accept_keys if script.agrees else rules.refuse_keys
        await asyncio.sleep(after_ms / 1000)
        if self._voice is None:
            await call.send_digit(min(keys))
        else:
            self._voice.answers()

    async def _talk(self, session: CallSession, call: Call) -> None:
        """Wait for the conversation, talk, withdraw when the script says so."""
        script = self.script
        if script.answer == "hangup":
            return
        await session.wait_for(lambda: _talking(session), 120_000)
        if self._voice is not None:
            self._voice.talks()
        await asyncio.sleep(script.withdraw_after if script.withdraws else script.talk)
        if script.withdraws:
            await _type(call, session.call.rules.withdraw_code)
            await asyncio.sleep(script.talk - script.withdraw_after)

    async def _agent(self, played: Played) -> None:
        """The agent answers, talks, pauses and resumes by the keys of the policy."""
        script = self.script
        call = played.agent = await self.agent.incoming(120)
        call.audio_source = speech("agent", loudness=self.loudness)
        played.told = next((value for name, value in call.headers if name.lower() == "x-consent-verdict"), "")
        self.transcript.now("agent", f"rings; X-Consent-Verdict: {played.told or 'none'}")
        call.ring()
        await asyncio.sleep(0.3)
        await call.accept()
        if not script.pause_after or not script.agrees:
            return
        rules = parse_policy(script.policy, "demo").file
        await asyncio.sleep(script.pause_after)
        await _type(call, rules.codes.pause)
        if script.resume_after:
            await asyncio.sleep(script.resume_after)
            await _type(call, rules.codes.resume)


async def in_time(what: Awaitable[T], timeout_s: float, otherwise: str) -> T:
    """Wait for something. Raises `RuntimeError` (*otherwise*) when it takes longer."""
    try:
        return await asyncio.wait_for(what, timeout_s)
    except TimeoutError:
        raise RuntimeError(f"{otherwise} within {timeout_s:g} s") from None


def _talking(session: CallSession) -> bool:
    """Whether caller and agent are connected, or never will be."""
    if session.call.phase in (Phase.ENDING, Phase.OVER):
        return True
    return session.call.phase is Phase.TALKING and (not isinstance(session, PbxSession) or bool(session.lines))


async def _session(gateway: Gateway) -> CallSession:
    async for change in gateway.switchboard.feed.follow(0):
        return gateway.switchboard.session(change.data["call_id"])
    raise RuntimeError("the gateway stopped before the call arrived")


async def _type(call: Call, digits: str) -> None:
    for digit in digits:
        if call.is_over:
            return
        await call.send_digit(digit)
        await asyncio.sleep(0.06)
