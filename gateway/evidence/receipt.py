"""A receipt for the caller: plain text in his language, of the same facts as every other form."""

from gateway.evidence.account import NO_VERDICT, Account, Answer, Decision, Person, Question, Sound
from gateway.evidence.errors import BundleInvalid
from gateway.evidence.receipt_texts import TEXTS, Texts

LANGUAGES = tuple(TEXTS)
_MAY_OBJECT = frozenset({"legitimate_interests", "public_task"})


def receipt(account: Account, *, party: str = "caller", language: str = "", controller: str = "") -> str:
    """Return the receipt for *party* as lines of text, each ended by a newline.

    *language* is one of `LANGUAGES`; "" means the one he was spoken to in, or English if there is no text in that.
    *controller* names who he may write to; without it the log's name stands there. His number is named only while it
    exists. Raises `BundleInvalid` when the call has no such party.
    """
    person = next((one for one in account.persons if one.name == party), None)
    if person is None:
        raise BundleInvalid(f"the call has no party '{_plain(party)}'")
    texts = TEXTS.get(language or account.language) or TEXTS["en"]
    return "".join(f"{_plain(line)}\n" for line in _lines(account, person, texts, controller or account.origin))


def _lines(account: Account, person: Person, texts: Texts, by: str) -> list[str]:
    lines = [
        texts.title,
        "",
        f"{texts.call}: {account.call}",
        f"{texts.when}: {_moment(account.began)}" + (f" - {_moment(account.ended)}" if account.ended else ""),
        f"{texts.by}: {by}",
    ]
    number = account.values.get("caller_number", "") if person.role == "caller" else ""
    lines += [f"{texts.you}: {number}"] if number else []
    lines.append("")
    if person.role == "caller":
        lines += [_asked(question, account, texts) for question in account.questions if question.text]
    lines += _answers(person, texts)
    lines += ["", *_recorded(account, texts), ""]
    if person.basis in texts.bases:
        lines.append(f"{texts.basis}: {texts.bases[person.basis]}")
    lines.append(f"{texts.rights}: {texts.withdraw[_way(account, person)].format(by=by, call=account.call)}")
    seq = person.decisions[-1].entry if person.decisions else 0
    leaf = account.contents.leaves[seq].hex()
    lines.append(f"{texts.proof}: {account.origin} #{account.contents.places[seq]} SHA-256 {leaf}")
    return [*lines, texts.clock]


def _asked(question: Question, account: Account, texts: Texts) -> str:
    head = texts.asked if question.asks else texts.told
    completed = account.contents.entries[question.entry].facts.get("completed")
    cut = f" ({texts.cut_short})" if completed is False else ""
    return f"{head} ({_moment(question.began)}): {question.text}{cut}"


def _answers(person: Person, texts: Texts) -> list[str]:
    if not person.decisions:
        return [f"{texts.answer}: {texts.verdict[NO_VERDICT]}"]
    first, *later = person.decisions
    return [
        f"{texts.answer} ({_moment(first.at)}): {_decided(first, texts)}",
        *(f"{texts.later} ({_moment(decision.at)}): {_decided(decision, texts)}" for decision in later),
    ]


def _decided(decision: Decision, texts: Texts) -> str:
    how = "" if decision.answer is None else f" ({_how(decision.answer, texts)})"
    if not decision.asked:
        return f"{texts.verdict[decision.verdict]}{how}"
    said = texts.said.get(decision.said, texts.said["unclear"])
    return f"{texts.purposes.get(decision.asked, decision.asked)}: {said}{how}"


def _how(answer: Answer, texts: Texts) -> str:
    if answer.how == "speech":
        return texts.how["words"].format(words=answer.words) if answer.words else texts.how["speech"]
    return texts.how["key"].format(key=answer.key) if answer.key else texts.how["unknown"]


def _recorded(account: Account, texts: Texts) -> list[str]:
    sounds = [sound for sound in account.sounds if sound.state == "open" or sound.heard_ms]
    return [_sound(sound, texts) for sound in sounds] or [f"{texts.recorded}: {texts.nothing}"]


def _sound(sound: Sound, texts: Texts) -> str:
    if sound.state == "open":
        return f"{texts.recorded}: {_moment(sound.began)}. {texts.open}"
    parts = [texts.duration.format(began=_moment(sound.began), seconds=_seconds(sound.heard_ms))]
    if sound.pauses:
        parts.append(texts.pauses.format(count=sound.pauses, seconds=_seconds(sound.paused_ms)))
    gone = f" {texts.destroyed}" if sound.state == "destroyed" else ""
    return f"{texts.recorded}: {'; '.join(parts)}.{gone}"


def _way(account: Account, person: Person) -> str:
    """Which of the texts on his rights fits."""
    if person.basis == "consent":
        return "consent" if person.verdict == "granted" else "ask" if account.sounds else "nothing"
    return "object" if person.basis in _MAY_OBJECT and person.verdict != "withdrawn" else "ask"


def _moment(at: str) -> str:
    """A time for people: date and second, in UTC.

    >>> _moment("2026-11-24T16:00:03.123Z")
    '2026-11-24 16:00:03 UTC'
    """
    return f"{at[:10]} {at[11:19]} UTC"


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.1f}"


def _plain(line: str) -> str:
    """Names come from callers: a control or direction character would let one write a line of his own."""
    return "".join(character for character in line if character.isprintable())
