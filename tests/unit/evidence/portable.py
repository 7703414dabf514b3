"""Calls for the portable forms, as the gateway writes them today, and their bundles."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.unit.evidence.stories import (
    Step,
    arrived,
    bundle_of,
    closed,
    command,
    ended,
    hold,
    observed,
    unhold,
    verdict,
)

NUMBER = "+4930123456"
NAME = "Erika Mustermann"
WORDS = "yes I agree"
VALUES = {"caller_number": NUMBER, "caller_name": NAME, "sip_call_id": "a84b4c76e66710@phone.example"}
PERSONAL = tuple(VALUES)


def asked(language: str = "en", text: str = "May we record?", prompt: str = "ask") -> Step:
    facts = {"prompt": prompt, "attempt": 1, "language": language, "text": text, "sha256": "ef" * 32}
    return "prompt.played", {**facts, "played_ms": 2_500, "length_ms": 2_500, "completed": True}


def key(pressed: str = "1", leg: str = "caller", **more: Any) -> Step:
    facts = {"leg": leg, "transport": "rfc4733", "counted": True, "because": "answer", "key": pressed}
    return "answer.digit", {**facts, **more}


def other_key() -> Step:
    """One that did not count: the log holds no digit."""
    return "answer.digit", {"leg": "caller", "transport": "rfc4733", "counted": False, "because": "not an answer"}


def speech(meaning: str = "yes") -> Step:
    facts = {
        "leg": "caller",
        "began_ms": 3_000,
        "ended_ms": 3_900,
        "speech_ms": 700,
        "counted": True,
        "because": "clear",
    }
    engine = {"engine": "whisper", "engine_version": "4.8.5", "model": "base", "model_sha256": "ab" * 32}
    return "answer.speech", {**facts, **engine, "question": "ask", "meaning": meaning, "decision": "granted"}


def leg(what: str, name: str = "agent", **more: Any) -> Step:
    return f"leg.{what}", {"leg": name, **more}


def joined(party: str, covered: bool = False) -> Step:
    return "party.joined", {"party": party, "covered": covered}


def of(*steps: Step) -> list[Step]:
    """The steps and the end of the call."""
    return [*steps, ended(len(steps) + 1)]


def agents() -> Step:
    """The agent's verdict, as the gateway gives it to him."""
    kind, facts = verdict("not_required", "agent")
    return kind, {**facts, "basis": "contract"}


def recorded(*, first: Sequence[Step] = (), answer: Step | None = None, basis: str = "consent") -> list[Step]:
    """Asked, granted, connected, recorded with one pause and one hold, ended."""
    granted = verdict() if answer is not None else verdict("not_required")
    granted[1]["basis"] = basis
    return of(
        arrived(basis=basis, agent_basis="contract"),
        *(first or (asked(),)),
        *(() if answer is None else (answer,)),
        granted,
        leg("answered", codec="PCMA"),
        agents(),
        command("open"),
        observed("on"),
        leg("held", "caller", held=True),
        leg("held", "caller", held=False),
        hold(),
        command("pause"),
        observed("paused", 50),
        unhold(),
        command("resume"),
        observed("on", 100),
        command("close"),
        closed(("on", 0, 50), ("paused", 50, 100), ("on", 100, 181)),
        leg("ended", "caller", code=200, by="caller"),
    )


def undecided(what: str, answer: Step | None = None) -> list[Step]:
    """Asked, not granted, connected, not recorded, ended."""
    before = [asked()] if answer is None else [asked(), answer]
    return of(arrived(agent_basis="contract"), *before, verdict(what), leg("answered"), agents())


def withdrawn() -> list[Step]:
    """Granted, recorded, taken back by code, closed."""
    return of(
        arrived(agent_basis="contract"),
        asked(),
        key("1"),
        verdict(),
        leg("answered"),
        agents(),
        command("open"),
        observed("on"),
        key("*9", because="withdrawn"),
        verdict("withdrawn"),
        command("close"),
        closed(("on", 0, 200)),
    )


def spoken() -> tuple[list[Step], Mapping[int, Mapping[str, str]]]:
    """A granted call that was answered by voice, and what was heard in which entry."""
    return recorded(answer=speech()), {2: {"heard_1.1": WORDS, "heard_1.2": "yes I degree"}}


PURPOSES = ("recording", "transcription", "analysis", "sharing")


def about(purpose: str, answer: str, *granted: str) -> Step:
    """The verdict that follows from an answer about one purpose."""
    kind, facts = verdict()
    purposes = {name: name in granted for name in PURPOSES}
    return kind, {**facts, "purposes": purposes, **({"asked": purpose, "answer": answer} if purpose else {})}


def one_by_one() -> list[Step]:
    """Recorded, and asked for three more purposes: yes, no, silence."""
    return of(
        arrived(agent_basis="contract", purposes=list(PURPOSES)),
        asked(),
        key("1"),
        about("", "", "recording"),
        asked(text="Into text?", prompt="also_transcription"),
        key("1"),
        about("transcription", "granted", "recording", "transcription"),
        asked(text="Evaluate?", prompt="also_analysis"),
        key("2"),
        about("analysis", "refused", "recording", "transcription"),
        asked(text="Pass on?", prompt="also_sharing"),
        about("sharing", "unanswered", "recording", "transcription"),
        leg("answered"),
        agents(),
        command("open"),
        observed("on"),
        command("close"),
        closed(("on", 0, 200)),
    )


STORIES: Mapping[str, list[Step]] = {
    "granted": recorded(answer=key("1", duration_ms=120)),
    "spoken": spoken()[0],
    "refused": undecided("refused", key("2")),
    "unanswered": undecided("unanswered"),
    "unclear": undecided("unclear", speech("unclear")),
    "withdrawn": withdrawn(),
    "not_required": recorded(first=(asked(text="This is recorded.", prompt="announced"),), basis="legal_obligation"),
    "never_answered": of(arrived(), leg("ended", code=486, by="agent")),
    "hung_up": of(arrived()),
    "silent": of(arrived(), leg("answered")),
    "three": of(arrived(), joined("PJSIP/carol-1"), ("party.gone", {"party": "PJSIP/carol-1"})),
    "open": recorded(answer=key("1"))[:8],
    "destroyed": [*recorded(answer=key("1")), ("recording.destroyed", {"recording": "r1", "cause": "retention"})],
    "one_by_one": one_by_one(),
    "two_recordings": of(
        arrived(), asked(), key(), verdict(), agents(),
        command("open"), observed("on"), command("close"), closed(("on", 0, 10)),
        command("open", "r2"), observed("on", recording="r2"), command("close", "r2"),
        closed(("on", 0, 20), recording="r2"),
    ),
}  # fmt: skip


def bundle(story: str = "granted", *, erased: bool = False, **more: Any) -> bytes:
    """The bundle of a story with a real number and name in it, or of the same story after the person was erased."""
    heard = spoken()[1] if story == "spoken" else None
    opened = () if erased else None
    return bundle_of(STORIES[story], personal=PERSONAL, values=VALUES, heard=heard, opened=opened, **more)
