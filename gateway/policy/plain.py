"""The policies in force in plain words, for the people who have to keep them: one text for each role.

The text is made of the policies and of nothing else. Its SHA-256 is its version: who acknowledged it has acknowledged
exactly these rules, and a policy that changes in a way that people notice asks them again.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import fill

from gateway.domain.rules import MAY_OBJECT, Basis, FailMode, Joining, PauseLimitAction
from gateway.policy.authority import KEPT, LIVE, Act, Authority, Grant
from gateway.policy.book import Book
from gateway.policy.model import PolicyFile
from gateway.policy.times import WEEK, Times

WIDTH = 96

ROLES = ("agent", "supervisor", "officer")

_TITLE = {
    "agent": "agents: whoever answers calls",
    "supervisor": "supervisors",
    "officer": "data-protection officers",
}

_BASIS = {
    Basis.CONSENT: "because the person on the line has agreed to it",
    Basis.CONTRACT: "because a contract with the person needs it",
    Basis.LEGAL_OBLIGATION: "because a law orders it",
    Basis.VITAL_INTERESTS: "because somebody's life may depend on it",
    Basis.PUBLIC_TASK: "because a public task needs it",
    Basis.LEGITIMATE_INTERESTS: "because the organisation has a legitimate interest in it",
}

_ACT = {
    Act.PAUSE: "pause the recording",
    Act.RESUME: "let a paused recording go on",
    Act.RECORD: "have a person asked once more who said no, or took his yes back",
    Act.WITHDRAW: "take the consent back for a person who asks you to",
    Act.PRIVATE: "make a call a private one",
    Act.LISTEN: "listen to recordings",
    Act.EXPORT: "take evidence and recordings out of the system",
    Act.HOLD: "set and release legal holds",
    Act.DESTROY: "destroy recordings",
}


@dataclass(frozen=True, slots=True)
class PolicyText:
    """What one role has to know. *role* is one of `ROLES`."""

    role: str
    text: str = ""

    @property
    def sha256(self) -> str:
        """Its version, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def plain_text(book: Book, role: str) -> PolicyText:
    """Return the text for *role*. Raises `ValueError` for a role that has none."""
    if role not in ROLES:
        raise ValueError(f'there is no text for "{role}": the roles are {", ".join(ROLES)}')
    files = sorted((policy.file for policy in book.policies), key=lambda file: (bool(_named(file)), file.name))
    paragraphs = [f"Recording of calls: what is asked of {_TITLE[role]}", *_general(role)]
    for file in files:
        paragraphs.append(f'Policy "{file.name}", version {file.version}')
        paragraphs += [f"- {sentence}" for sentence in _policy(file, role, alone=len(files) == 1)]
    return PolicyText(role, "\n".join(_laid_out(paragraphs)) + "\n")


def _laid_out(paragraphs: Iterable[str]) -> Iterator[str]:
    for number, paragraph in enumerate(paragraphs):
        listed = paragraph.startswith("- ")
        if number and not listed:
            yield ""
        yield fill(paragraph, WIDTH, subsequent_indent="  " if listed else "", break_on_hyphens=False)


def _general(role: str) -> Iterator[str]:
    yield (
        "A call may be recorded only for a reason that the law knows. The system decides that for each call, and "
        "nobody may record a call in any other way: not with a telephone's own recorder, not with a meeting "
        "application, not with a device of his own."
    )
    if role == "agent":
        yield (
            "Watch what is shown as observed: that is what the recorder does. Nobody is served worse for a no. When a "
            "person says that he does not want to be recorded, do as he says, whatever he pressed before."
        )
    else:
        yield (
            "Every pause, every refusal and every look at what is kept is written down with who did it. Give access to "
            "nobody who has no business with a call."
        )


def _policy(file: PolicyFile, role: str, *, alone: bool) -> Iterator[str]:
    yield _calls(file, alone=alone)
    yield _reason(file)
    yield _what_happens(file)
    if "recording" not in file.purposes:
        return
    if file.asks or file.fail_mode is FailMode.REFUSE_CALL:
        yield (
            "A call that may not be recorded is connected all the same, without a recording."
            if file.fail_mode is FailMode.CONNECT_UNRECORDED
            else "A call that may not be recorded, or cannot be, is not connected."
        )
    yield _joining(file)
    if role == "agent":
        yield from _keys(file)
    yield from _authority(file.who_may, role)
    if file.education.until_acknowledged_not:
        yield f"Until you have acknowledged this text you may not {_acts(file.education.until_acknowledged_not, 'or')}."


def _calls(file: PolicyFile, *, alone: bool) -> str:
    words = _named(file)
    if words:
        return f"It is for calls {words}."
    return "It is for every call." if alone else "It is for every call that no other policy names."


def _named(file: PolicyFile) -> str:
    """Which calls the policy names, in words; empty when it names none."""
    match = file.match
    parts = [
        f"{word} {_list(patterns, 'or')}"
        for word, patterns in (("to", match.called), ("on the line", match.lines), ("by the trunk", match.trunks))
        if patterns
    ]
    if match.times:
        parts.append(_list((times_words(times) for times in match.times), "or"))
    return ", ".join(parts)


def _reason(file: PolicyFile) -> str:
    why = f" ({file.justification})" if file.justification else ""
    others = [purpose for purpose in file.purposes if purpose != "recording"]
    purposes = _list(others) if others else ""
    apart = file.asks and file.ask.purposes == "one_by_one"
    beside = f" What is asked or told is also about {purposes}{', each by a question of its own' * apart}." * bool(
        others
    )
    if "recording" not in file.purposes:
        return f"Nothing is recorded; what is asked or told is about {purposes}."
    return f"The call is recorded {_BASIS[file.basis]}{why}.{beside}"


def _what_happens(file: PolicyFile) -> str:
    if not file.asks:
        told = (
            "The person is told that the call is recorded before it is, and is not asked."
            if file.announces
            else "The person is neither asked nor told by the system."
        )
        object_ = f" He may object in the call with {file.codes.withdraw}: then it is not recorded."
        law = " Where the law of his place wants more than that, he is asked or told all the same."
        return told + (object_ if file.basis in MAY_OBJECT else "") + (law if file.jurisdiction is not None else "")
    yes, no = _list(file.ask.accept_keys, "or"), _list(file.ask.refuse_keys, "or")
    voice = " He may also answer by voice." if file.ask.by_voice else ""
    return (
        f"The person is asked before you hear him: {yes} means yes, {no} means no. Silence means no.{voice} In the "
        f"call he takes his yes back with {file.codes.withdraw}, and agrees anew with {file.codes.reconsent}."
    )


def _joining(file: PolicyFile) -> str:
    what, _ = file.joining.under(file.basis)
    return {
        Joining.ASK: "Who joins later is asked first; until he has agreed, nothing is recorded while he is there.",
        Joining.ANNOUNCE: "Who joins later is told first; until he was, nothing is recorded while he is there.",
        Joining.KEEP_OUT: "While somebody from outside is there who joined later, nothing is recorded.",
    }[what]


def _keys(file: PolicyFile) -> Iterator[str]:
    limit = file.pause.limit_ms
    forgotten = (
        "stays a pause, and is raised as an alarm"
        if file.pause.at_limit is PauseLimitAction.STAY_PAUSED
        else "ends by itself"
    )
    long = f" A pause longer than {_duration(limit)} {forgotten}." if limit else ""
    yield (
        f"{file.codes.pause} pauses the recording, {file.codes.resume} lets it go on. Pause before a card number, a "
        f"code or anything else is said that may not be kept.{long}"
    )
    if file.codes.private:
        yield f"{file.codes.private} makes the call your own affair, unrecorded; the same key ends that."


def _authority(authority: Authority, role: str) -> Iterator[str]:
    acts = LIVE if role == "agent" else (*LIVE, *KEPT)
    if not authority.grants:
        may = [act for act in acts if act in authority.by_default(role)]
        yield f"You may {_acts(may)}."
        return
    rows = [grant for grant in authority.grants if not grant.roles or role in grant.roles]
    for grant in rows:
        may = [act for act in grant.may if act in acts]
        if may:
            yield f"You may{_circumstances(grant)} {_acts(may)}."
    if not rows:
        yield "You may do nothing about a recording."
    elif role == "agent" and not any(Act.PAUSE in grant.may for grant in rows):
        yield "You may not pause the recording."


def _acts(acts: Iterable[Act], word: str = "and") -> str:
    *rest, last = [_ACT[act] for act in acts]
    return f"{'; '.join(rest)}; {word} {last}" if rest else last


def _circumstances(grant: Grant) -> str:
    parts = []
    if grant.kinds:
        parts.append(f"if you are {_list((f'of the {kind}s' for kind in grant.kinds), 'or')}")
    if grant.lines:
        parts.append(f"on {_list(grant.lines, 'or')}")
    if grant.bases:
        parts.append(f"where the basis is {_list(grant.bases, 'or').replace('_', ' ')}")
    if grant.times:
        parts.append(_list((times_words(times) for times in grant.times), "or"))
    return f", {', '.join(parts)}," if parts else ""


def times_words(times: Times) -> str:
    """Hours of a week in words.

    >>> times_words(Times(zone="Europe/Berlin", days=("mon", "tue", "wed", "thu", "fri"), start="08:00", end="18:00"))
    'mon to fri from 08:00 to 18:00 (Europe/Berlin)'
    """
    days = [day for day in WEEK if day in times.days]
    first, last = WEEK.index(days[0]), WEEK.index(days[-1])
    row = len(days) > 2 and last - first == len(days) - 1
    named = "every day" if len(days) == len(WEEK) else f"{days[0]} to {days[-1]}" if row else _list(days)
    hours = "" if (times.start, times.end) == ("00:00", "24:00") else f" from {times.start} to {times.end}"
    return f"{named}{hours} ({times.zone})"


def _duration(ms: int) -> str:
    minutes, seconds = divmod(ms // 1000, 60)
    parts = [f"{minutes} min" if minutes else "", f"{seconds} s" if seconds or not minutes else ""]
    return " ".join(filter(None, parts))


def _list(items: Iterable[object], word: str = "and") -> str:
    """Return items in words.

    >>> _list(["a", "b", "c"]), _list(["a"], "or")
    ('a, b and c', 'a')
    """
    *rest, last = [str(item) for item in items]
    return f"{', '.join(rest)} {word} {last}" if rest else last
