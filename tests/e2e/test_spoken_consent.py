"""Callers who answer by voice: real SIP and RTP, a real recogniser, recorded answers."""

import asyncio
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.adapters.softphone import Call
from gateway.app.session import CallSession
from gateway.domain import commands as do
from gateway.media.g711 import Samples
from gateway.ports import media
from gateway.ports.policy import CallFacts, Decision
from gateway.ports.recogniser import NoRecogniser
from tests.e2e.test_calls import Scene, scene
from tests.e2e.worker_support import echoing
from tests.support.speech import PROMPTS, at_level, monologue, pcm
from tests.support.spoken import recording

pytestmark = pytest.mark.slow

QUIET = np.zeros(1_600, np.int16)
"""0.2 s."""


@asynccontextmanager
async def asking(folder: Path, **more: Any) -> AsyncIterator[Scene]:
    """A gateway that asks for a spoken answer, and waits long enough for one."""
    top = {"ask": "by_voice = true", **more}
    async with scene(folder, speech=True, **top) as s:
        yield s


async def say(call: Call, *parts: str | Samples) -> None:
    """Let a caller say recorded words to their end."""
    sound = [recording(part) if isinstance(part, str) else part for part in parts]
    call.play(np.concatenate([*sound, QUIET]))
    while call.stream.queued_samples:  # noqa: ASYNC110 (nobody calls back)
        await asyncio.sleep(0.02)


async def asked(s: Scene) -> tuple[Call, CallSession]:
    """A caller who has heard the question."""
    call, session = await s.call()
    call.audio_source = None
    assert await session.wait_for(lambda: session.call.parties["caller"].state == "listening", 5_000)
    return call, session


async def decided(session: CallSession, verdict: str) -> None:
    assert await session.wait_for(lambda: session.call.verdict != "pending", 20_000)
    assert session.call.verdict == verdict


def played(s: Scene, session: CallSession) -> list[str]:
    """The prompts that asked, in order."""
    prompts = [what for _, what in s.journal.of(session.call_id, do.PlayPrompt)]
    names = [what.prompt for what in prompts if isinstance(what, do.PlayPrompt)]
    return [name for name in names if name.startswith(("ask", "confirm"))]


async def spoken(s: Scene, session: CallSession) -> list[dict[str, Any]]:
    """What the evidence says of what was said."""
    entries = await s.gateway.services.evidence.entries(session.call_id)
    return [dict(entry.facts) for entry in entries if entry.kind == "answer.speech"]


async def hung_up(s: Scene, call: Call, session: CallSession) -> str:
    await call.hang_up()
    return await s.over(session)


async def test_who_says_yes_i_agree_has_agreed_and_is_recorded(tmp_path: Path) -> None:
    async with asking(tmp_path) as s:
        call, session = await asked(s)
        await say(call, "yes-i-agree")
        await decided(session, "granted")
        agent = await s.agent_answers()
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 10_000)
        await hung_up(s, call, session)
        await agent.ended(5)
        assert played(s, session) == ["ask_spoken"] and len(s.files()) == 1
        (facts,) = await spoken(s, session)
        assert facts["counted"] and facts["decision"] == "yes" and facts["meaning"] == "yes"
        assert facts["engine"] and facts["pinned"] and len(str(facts["model_sha256"])) == 64
        assert facts["began_ms"] < facts["ended_ms"] and facts["passes"][0]["scores"]


async def test_who_says_no_has_refused(tmp_path: Path) -> None:
    async with asking(tmp_path) as s:
        call, session = await asked(s)
        await say(call, "no-thank-you")
        await decided(session, "refused")
        agent = await s.agent_answers()
        await hung_up(s, call, session)
        await agent.ended(5)
        assert not s.files()


THANKS = PROMPTS / "en" / "granted.wav"


@asynccontextmanager
async def thanking(folder: Path) -> AsyncIterator[Scene]:
    """A gateway that tells of a yes in real words."""
    with wave.open(str(THANKS)) as file:
        length_ms = file.getnframes() // 8
        words = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    async with asking(folder, lengths_ms={"granted": length_ms}) as s:
        _speak(Path(s.gateway.services.prompts.prompt("en", "granted").path), words)
        yield s


async def test_who_says_no_while_his_yes_is_told_has_refused(tmp_path: Path) -> None:
    async with thanking(tmp_path) as s:
        call, session = await asked(s)
        await say(call, "yes-i-agree")
        await decided(session, "granted")
        await say(call, "no")
        assert await session.wait_for(lambda: session.call.verdict == "refused", 10_000)
        agent = await s.agent_answers()
        await hung_up(s, call, session)
        await agent.ended(5)
        assert not s.files()


async def test_our_own_thanks_that_come_back_change_nothing(tmp_path: Path) -> None:
    async with thanking(tmp_path) as s:
        call, session = await asked(s)
        await say(call, "yes-i-agree")
        call.audio_source = echoing(call, 150, loss_db=15.0)
        await decided(session, "granted")
        agent = await s.agent_answers()
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 10_000)
        assert session.call.verdict == "granted" and not session.listening
        await hung_up(s, call, session)
        await agent.ended(5)
        assert len(s.files()) == 1


async def test_a_bare_yes_is_asked_back_and_confirmed_by_voice_or_key(tmp_path: Path) -> None:
    for number, confirm in enumerate(("phrase", "word", "key")):
        async with asking(tmp_path / str(number)) as s:
            call, session = await asked(s)
            await say(call, "yes")
            parties = session.call.parties
            assert await session.wait_for(lambda p=parties: p["caller"].confirming, 5_000)
            assert await session.wait_for(lambda p=parties: p["caller"].state == "listening", 5_000)
            await asyncio.sleep(0.4)  # a word so soon after our own that half of it may be their echo is asked back
            if confirm == "key":
                await call.send_digit("1")
            else:
                await say(call, "yes-i-agree" if confirm == "phrase" else "yes")
            await decided(session, "granted")
            assert played(s, session) == ["ask_spoken", "confirm_spoken"]
            facts = (await spoken(s, session))[0]
            assert facts["model"] != facts["second_model"] and len(facts["passes"]) == 2, "a doubt is heard by two"
            await hung_up(s, call, session)


@pytest.mark.parametrize("words", ["yes-but-not-the-recording", "no-problem", "i-dont-know", "hang-on-a-second"])
async def test_what_is_no_answer_is_asked_again_and_then_by_key(tmp_path: Path, words: str) -> None:
    async with asking(tmp_path) as s:
        call, session = await asked(s)
        await say(call, words)
        assert await session.wait_for(lambda: session.call.parties["caller"].attempt == 2, 5_000)
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "listening", 5_000)
        await say(call, words)
        assert await session.wait_for(lambda: not session.call.parties["caller"].by_voice, 5_000)
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "listening", 5_000)
        await say(call, "yes-i-agree")
        await decided(session, "unclear")
        assert played(s, session) == ["ask_spoken", "ask_again_spoken", "ask_again"]
        await hung_up(s, call, session)
        assert not s.files()


async def test_silence_is_unanswered(tmp_path: Path) -> None:
    async with asking(tmp_path) as s:
        call, session = await asked(s)
        await decided(session, "unanswered")
        await hung_up(s, call, session)
        assert not await spoken(s, session)


async def test_a_monologue_is_no_answer(tmp_path: Path) -> None:
    async with asking(tmp_path) as s:
        call, session = await asked(s)
        await say(call, pcm(at_level(monologue(30.0, "en"), -20)))
        await decided(session, "unclear")
        await hung_up(s, call, session)
        assert all(not facts["counted"] or facts["decision"] != "yes" for facts in await spoken(s, session))


async def test_a_key_pressed_while_speaking_wins(tmp_path: Path) -> None:
    async with asking(tmp_path) as s:
        call, session = await asked(s)
        call.play(recording("yes-i-agree"))
        await asyncio.sleep(0.3)
        await call.send_digit("2")
        await decided(session, "refused")
        await hung_up(s, call, session)


LONG = {"ask_spoken": 6_000, "ask_again_spoken": 6_000, "confirm_spoken": 4_000}


async def test_an_answer_over_the_prompt_stops_it(tmp_path: Path) -> None:
    async with asking(tmp_path, lengths_ms=LONG) as s:
        call, session = await s.call()
        call.audio_source = None
        await asyncio.sleep(2)
        await say(call, "no-thank-you")
        await decided(session, "refused")
        (finished, *_) = [what for _, what in s.journal.of(session.call_id, do.StopPrompt)]
        assert isinstance(finished, do.StopPrompt)
        await hung_up(s, call, session)


async def test_what_is_said_before_the_question_was_heard_does_not_count(tmp_path: Path) -> None:
    async with asking(tmp_path, lengths_ms=LONG) as s:
        resolve = s.gateway.services.policy.resolve
        resolve_joining = s.gateway.services.policy.resolve_joining

        class Later:
            """The same policy; an answer counts after five seconds."""

            def resolve(self, facts: CallFacts) -> Decision:
                decision = resolve(facts)
                return replace(decision, rules=replace(decision.rules, minimum_heard_spoken_ms=5_000))

            def resolve_joining(self, facts: CallFacts, joined: Decision) -> Decision:
                return resolve_joining(facts, joined)

        s.gateway.services.policy = Later()
        call, session = await s.call()
        call.audio_source = None
        await asyncio.sleep(1.5)
        await say(call, "yes-i-agree")
        await decided(session, "unanswered")
        await hung_up(s, call, session)
        facts = (await spoken(s, session))[0]
        assert not facts["counted"] and "engine" not in facts, "nobody listens to what cannot count"


async def test_our_own_prompt_that_comes_back_is_no_answer(tmp_path: Path) -> None:
    """The prompt is the very phrase that means yes, and the line echoes it."""
    async with asking(tmp_path) as s:
        folder = s.gateway.settings.prompts.folder
        words = recording("yes-i-agree")
        for name in ("ask_spoken", "ask_again_spoken", "confirm_spoken"):
            play = s.gateway.services.prompts.prompt("en", name)
            assert Path(play.path).is_relative_to(folder)
            _speak(Path(play.path), np.concatenate([np.tile(np.concatenate([words, QUIET]), 3)]))
        call, session = await s.call()
        call.audio_source = echoing(call, 150, loss_db=15.0)
        await decided(session, "unanswered")
        await hung_up(s, call, session)
        assert not s.files()


def _speak(path: Path, sound: Samples) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(sound.astype("<i2").tobytes())


async def test_where_nobody_can_listen_a_key_is_asked_for(tmp_path: Path) -> None:
    async with asking(tmp_path) as s:
        call, session = await asked(s)
        await s.gateway.services.recogniser.stop()
        await say(call, "yes-i-agree")
        assert await session.wait_for(lambda: not session.call.parties["caller"].by_voice, 5_000)
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "listening", 5_000)
        await call.send_digit("1")
        await decided(session, "granted")
        await hung_up(s, call, session)
        facts = (await spoken(s, session))[0]
        assert facts["failure"] == "unavailable" and facts["decision"] == "give_up"


async def test_without_a_recogniser_callers_are_asked_for_a_key(tmp_path: Path) -> None:
    async with asking(tmp_path) as s:
        s.gateway.services.recogniser = NoRecogniser()
        call, session = await s.call()
        call.audio_source = None
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "listening", 5_000)
        await call.send_digit("1")
        await decided(session, "granted")
        assert played(s, session) == ["ask"]
        await hung_up(s, call, session)


async def test_a_policy_may_want_keys_alone(tmp_path: Path) -> None:
    async with asking(tmp_path, ask="by_voice = false") as s:
        call, session = await asked(s)
        await say(call, "yes-i-agree")
        await decided(session, "unanswered")
        assert played(s, session)[0] == "ask"
        await hung_up(s, call, session)
        assert not await spoken(s, session)


def test_the_sound_of_an_answer_shows_in_no_repr() -> None:
    assert "sound" not in repr(media.Utterance(0, "leg", 0, 0, 0, 0.0, 0.0, False, 0, 0, "sound"))
