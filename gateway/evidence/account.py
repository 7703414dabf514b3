"""One call as its verified bundle tells it: who took part, what each was asked and answered, what was recorded.

All portable forms (vCon, consent record, receipt) are written from this account and from nothing else, so they
cannot contradict each other.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gateway.evidence import canonical
from gateway.evidence.bundle import Contents, read_bundle
from gateway.evidence.canonical import Entry
from gateway.evidence.errors import BundleInvalid

FRAME_MS = 20
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
AGENT = "agent"
NO_VERDICT = "none"
"""Stands for the verdict of a party about whom the log holds none."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt that was played: *began* and *at* (its end) in RFC 3339, *played_ms* as handed to the caller."""

    entry: int
    prompt: str
    language: str
    text: str
    sha256: str
    began: str
    at: str
    played_ms: int

    @property
    def asks(self) -> bool:
        """Whether it asks for an answer, other than a prompt that only tells."""
        return self.prompt.startswith(("ask", "confirm", "also_"))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that counted. *how* is `key` or `speech`; *key* is "" where the log does not hold it; *words* is what
    was heard, "" for a key and once the person was erased. *facts* are the entry's."""

    entry: int
    at: str
    how: str
    key: str
    words: str = field(repr=False)
    facts: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """One verdict about one party. *answer* is the answer it followed from, if there was any. *asked*: the one purpose
    that was asked for, and *said* what became of that (a verdict's name); empty for a verdict about the whole."""

    entry: int
    at: str
    verdict: str
    basis: str
    purposes: Mapping[str, bool]
    answer: Answer | None
    asked: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """A party of the call. *decisions* are in the order of the log; *basis* is what the last of them, or else the
    policy, rests on. *listed* is false for somebody the PBX saw joining: nothing is known of his basis."""

    name: str
    role: str
    kind: str
    basis: str
    decisions: tuple[Decision, ...]
    listed: bool = True

    @property
    def verdict(self) -> str:
        return self.decisions[-1].verdict if self.decisions else NO_VERDICT


@dataclass(frozen=True, slots=True)
class Sound:
    """One recording: *began* is the time of its frame 0 in RFC 3339, *heard_ms* and *paused_ms* its two kinds of spans.

    *sha256* is hex, of the file as it lies on the disk, and "" where no file was left; *file* is its name.
    """

    recording: str
    state: str
    began: str
    frames: int
    heard_ms: int
    paused_ms: int
    pauses: int
    sha256: str
    file: str
    failed: str


@dataclass(frozen=True, slots=True)
class Account:
    """The call. *began* is the time of its first entry, *ended* of `call.ended`, "" while the call is open.

    *values* are the personal values of `call.arrived` that still exist.
    """

    call: str
    origin: str
    began: str
    ended: str
    policy: Mapping[str, Any]
    purposes: tuple[str, ...]
    connected: bool
    persons: tuple[Person, ...]
    questions: tuple[Question, ...]
    sounds: tuple[Sound, ...]
    values: Mapping[str, str] = field(repr=False)
    contents: Contents = field(repr=False)

    @property
    def language(self) -> str:
        """The language the caller was last spoken to in; "en" when nobody spoke to him."""
        return self.questions[-1].language if self.questions else "en"


def tell(data: bytes, verifier_key: str) -> Account:
    """Verify a bundle and return what it says. Raises as `verify_bundle` does: of a lie there is no account."""
    return account_of(read_bundle(data, verifier_key))


def account_of(contents: Contents) -> Account:
    """Arrange what a verified bundle says."""
    entries = contents.entries
    arrived = entries[0]
    return Account(
        call=arrived.call,
        origin=arrived.origin,
        began=arrived.at,
        ended=next((entry.at for entry in entries if entry.kind == "call.ended"), ""),
        policy=_mapping(arrived.facts.get("policy")),
        purposes=tuple(str(purpose) for purpose in _list(arrived.facts.get("purposes"))),
        connected=_connected(entries),
        persons=_persons(contents),
        questions=tuple(_question(entry) for entry in entries if entry.kind == "prompt.played"),
        sounds=_sounds(contents),
        values={name: value for (seq, name), value in contents.values.items() if seq == 0},
        contents=contents,
    )


def shifted(at: str, ms: int) -> str:
    """Return the time *ms* milliseconds after *at*, both RFC 3339 in UTC.

    Raises `BundleInvalid` beyond the calendar.
    """
    try:
        return canonical.timestamp(datetime.fromisoformat(at) + timedelta(milliseconds=ms))
    except OverflowError:
        raise BundleInvalid(f"a time {ms} ms away from {at} is beyond the calendar") from None


# --- who ------------------------------------------------------------------------------------------------


def _persons(contents: Contents) -> tuple[Person, ...]:
    arrived = contents.entries[0]
    decided = _decisions(contents)
    persons = []
    for party in contents.story.parties:
        name = _text(party.get("party")) or str(party["role"])
        basis = _basis(arrived, str(party["role"]), decided.get(name, ()))
        persons.append(Person(name, str(party["role"]), _text(party.get("kind")), basis, tuple(decided.pop(name, ()))))
    persons += [Person(name, name, "", decisions[-1].basis, tuple(decisions)) for name, decisions in decided.items()]
    known = {person.name for person in persons}
    for entry in contents.entries:
        name = _text(entry.facts.get("party"))
        if entry.kind == "party.joined" and name not in known:
            known.add(name)
            persons.append(Person(name, "thirdparty", "", "", (), listed=False))
    return tuple(persons)


def _basis(arrived: Entry, role: str, decisions: Sequence[Decision]) -> str:
    if decisions and decisions[-1].basis:
        return decisions[-1].basis
    of_agent = _text(arrived.facts.get("agent_basis")) if role == AGENT else ""
    return of_agent or _text(arrived.facts.get("basis"))


def _decisions(contents: Contents) -> dict[str, list[Decision]]:
    """Each verdict with the last counted answer of that party's leg since its verdict before."""
    decided: dict[str, list[Decision]] = {}
    pending: dict[str, Answer] = {}
    for entry in contents.entries:
        if entry.kind in ("answer.digit", "answer.speech") and entry.facts.get("counted") is True:
            pending[_text(entry.facts.get("leg"))] = _answer(entry, contents)
        elif entry.kind == "verdict":
            party = str(entry.facts["party"])
            purposes = {str(name): allowed is True for name, allowed in _mapping(entry.facts["purposes"]).items()}
            verdict, basis = str(entry.facts["verdict"]), _text(entry.facts.get("basis"))
            answer = pending.pop(party, None)
            asked, said = _text(entry.facts.get("asked")), _text(entry.facts.get("answer"))
            made = Decision(entry.seq, entry.at, verdict, basis, purposes, answer, asked, said)
            decided.setdefault(party, []).append(made)
    return decided


def _answer(entry: Entry, contents: Contents) -> Answer:
    if entry.kind == "answer.digit":
        return Answer(entry.seq, entry.at, "key", _text(entry.facts.get("key")), "", entry.facts)
    heard = sorted((name, value) for (seq, name), value in contents.values.items() if seq == entry.seq)
    words = next((value for name, value in heard if name.startswith("heard_")), "")
    return Answer(entry.seq, entry.at, "speech", "", words, entry.facts)


def _connected(entries: Sequence[Entry]) -> bool:
    """Whether the caller got to talk to anybody, as far as the log can know."""
    return any(
        (entry.kind == "leg.answered" and entry.facts.get("leg") == AGENT)
        or entry.kind == "party.joined"
        or (entry.kind == "recorder.observed" and entry.facts.get("state") == "on")
        for entry in entries
    )


# --- what ------------------------------------------------------------------------------------------------


def _question(entry: Entry) -> Question:
    facts = entry.facts
    played = _whole(facts.get("played_ms"))
    return Question(
        entry=entry.seq,
        prompt=_text(facts.get("prompt")),
        language=_text(facts.get("language")) or "en",
        text=_text(facts.get("text")),
        sha256=_text(facts.get("sha256")),
        began=shifted(entry.at, -played),
        at=entry.at,
        played_ms=played,
    )


def _sounds(contents: Contents) -> tuple[Sound, ...]:
    """The recordings that held or may hold something: those that were seen on, or left a file."""
    sounds = []
    for name in sorted(contents.story.recordings):
        facts = contents.story.recordings[name]
        about = [entry for entry in contents.entries if entry.facts.get("recording") == name]
        seen = [entry for entry in about if entry.kind == "recorder.observed" and entry.facts.get("state") == "on"]
        if not seen and not facts.sha256:
            continue
        closed = next((entry for entry in about if entry.kind == "recording.closed"), None)
        spans = [] if closed is None else [_mapping(span) for span in _list(closed.facts.get("spans"))]
        pauses = [span for span in spans if span.get("state") == "paused"]
        sounds.append(
            Sound(
                recording=name,
                state=facts.state,
                began=_frame_zero(about, seen, facts.frames),
                frames=facts.frames,
                heard_ms=_length(span for span in spans if span.get("state") == "on"),
                paused_ms=_length(pauses),
                pauses=len(pauses),
                sha256=facts.sha256 if _DIGEST.fullmatch(facts.sha256) else "",
                file="" if closed is None else _text(closed.facts.get("file")),
                failed=facts.failed,
            )
        )
    return tuple(sounds)


def _frame_zero(about: Sequence[Entry], seen: Sequence[Entry], frames: int) -> str:
    if seen:
        return shifted(seen[0].at, -_whole(seen[0].facts.get("at_frame")) * FRAME_MS)
    opened = next((entry for entry in about if entry.facts.get("command") == "open"), None)
    return opened.at if opened is not None else shifted(about[0].at, -frames * FRAME_MS)


def _length(spans: Any) -> int:
    return sum(_whole(span.get("to_frame")) - _whole(span.get("from_frame")) for span in spans) * FRAME_MS


# --- facts of the wrong type count as missing: the rule of the log has judged those that matter ----------------


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
