"""Reading policies and choosing the one a call lives by: the most protective of those that match."""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from types import NoneType
from typing import Any, get_args

from pydantic import ValidationError

from gateway.domain.rules import MAY_OBJECT, Basis, FailMode, Rules
from gateway.policy.authority import Act
from gateway.policy.errors import PolicyError, Problem
from gateway.policy.lines import key_lines, line_of
from gateway.policy.model import Minima, PolicyFile
from gateway.policy.patterns import matches
from gateway.policy.tables import parse_toml

PromptMinima = Callable[[str], Minima]
"""Language -> how much of its prompts must be heard."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """A call, as far as it decides which policy is for it. *at* has a time zone; the number is not shown in a repr."""

    called: str = field(repr=False)
    at: datetime
    line: str = ""
    trunk: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy with the hash of the bytes it was read from."""

    file: PolicyFile
    sha256: str
    source: str

    @property
    def named(self) -> bool:
        """The policy names the calls it is for."""
        match = self.file.match
        return bool(match.called or match.lines or match.trunks or match.times)

    def matches(self, call: Occasion) -> bool:
        """Whether the policy is for *call*."""
        match = self.file.match
        seen = ((match.called, call.called), (match.lines, call.line or call.called), (match.trunks, call.trunk))
        named = all(not patterns or any(matches(pattern, name) for pattern in patterns) for patterns, name in seen)
        return named and (not match.times or any(times.covers(call.at) for times in match.times))


def parse_policy(data: bytes, source: str) -> Policy:
    """Read one policy. Raises `PolicyError` with file, line and remedy for everything that is wrong."""
    text, table = parse_toml(data, source)
    try:
        file = PolicyFile.model_validate(table)
    except ValidationError as invalid:
        lines = key_lines(text)
        problems = [
            Problem(
                source,
                line_of(lines, (*error["loc"], *error.get("ctx", {}).get("path", ()))),
                _explain(error["type"], error["loc"], error["msg"]),
            )
            for error in invalid.errors(include_input=False, include_url=False)
        ]
        raise PolicyError(sorted(problems, key=lambda problem: problem.line)) from None
    return Policy(file, hashlib.sha256(data).hexdigest(), source)


def _explain(kind: str, path: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in path)
    if kind == "extra_forbidden":
        return f"{name}: unknown key; did you mean one of: {', '.join(_siblings(path))}?"
    if kind == "missing":
        return f"{name}: this key is required"
    message = re.sub(r"valid dictionary or instance of \w+", "table", message.removeprefix("Value error, "))
    message = message.replace("valid tuple", 'list, such as ["1"]')
    return f"{name}: {message}" if name else message


def _siblings(path: tuple[int | str, ...]) -> list[str]:
    model: Any = PolicyFile
    for part in path[:-1]:
        if isinstance(part, str):
            known = getattr(model, "model_fields", {})
            if part not in known:
                return sorted(PolicyFile.model_fields)
            model = known[part].annotation
        inner = [of for of in get_args(model) if of not in (NoneType, Ellipsis)]
        model = inner[0] if inner and not hasattr(model, "model_fields") else model
    return sorted(getattr(model, "model_fields", PolicyFile.model_fields))


def warnings(policy: Policy) -> list[Problem]:
    """What is allowed but deserves a second look."""
    file, found = policy.file, []
    if file.asks and file.fail_mode is FailMode.REFUSE_CALL:
        found.append(
            "consent is asked but refusal ends the call: consent is not freely given then (EDPB 05/2020); "
            'use fail_mode = "connect_unrecorded" or another basis'
        )
    if file.ask.minimum_heard_ms == 0 and file.asks:
        found.append("minimum_heard_ms = 0 lets a key count before the question was heard: leave it out instead")
    if not file.asks and not file.announces:
        found.append(
            "announce = false: nobody is told in the call that it is recorded; say where else they are told (GDPR "
            "Article 13), and mind places where everybody on the line must know (a table [jurisdiction] does)"
        )
    law = file.jurisdiction
    if law is not None and law.all_party == "ask" and not file.asks and file.fail_mode is FailMode.REFUSE_CALL:
        found.append(
            'where everybody must agree the caller is asked, and his no ends the call (fail_mode = "refuse_call"): if '
            'a statute orders the recording, all_party = "announce" with that justification says so'
        )
    if file.basis is Basis.LEGAL_OBLIGATION and file.fail_mode is FailMode.CONNECT_UNRECORDED:
        found.append(
            'a legal obligation to record, and yet fail_mode = "connect_unrecorded": a call that cannot be recorded is '
            'then held all the same; a duty wants fail_mode = "refuse_call"'
        )
    if "recording" not in file.purposes:
        found.append('purposes has no "recording": nothing will be recorded')
    if file.basis is Basis.LEGAL_OBLIGATION and file.codes.private:
        found.append(
            "codes.private lets an agent keep a call from being recorded that a statute orders to be: leave it out, or "
            "say with [[authority]] on which lines it may be used"
        )
    if file.authority and not any(Act.PAUSE in grant.may for grant in file.authority):
        found.append(
            "no [[authority]] lets anybody pause: a card number that is said will be recorded, even under PCI DSS 3.3.1"
        )
    if file.pause.limit_ms == 0:
        found.append("pause.limit_ms = 0 lets a forgotten pause last to the end of the call")
    if file.recording.paused_fill == "gap":
        found.append('paused_fill = "gap" makes the file shorter than the call: the timeline has the markers')
    return [Problem(policy.source, 0, message, "warning") for message in found]


@dataclass(frozen=True, slots=True)
class Choice:
    """The policy for one call and why."""

    policy: Policy
    reasons: tuple[str, ...]

    def rules(self, prompt_minima: PromptMinima) -> Rules:
        """Return the rules that the call lives by, before any law makes them stricter."""
        file = self.policy.file
        return file.rules(self.policy.sha256, prompt_minima(file.language))


@dataclass(frozen=True, slots=True)
class Book:
    """All policies in force; at least one matches every call."""

    policies: tuple[Policy, ...]

    def choose(self, call: Occasion) -> Choice:
        """Return the most protective matching policy: one that asks before one that tells before one that does neither,
        then one that connects unrecorded before one that refuses the call. Policies without [match] are for every other
        call: they count where no [match] names this one (ADR 0011)."""
        naming = [policy for policy in self.policies if policy.named and policy.matches(call)]
        matching = naming or [policy for policy in self.policies if not policy.named]
        if not matching:
            raise LookupError("no policy matches the call, and there is none without [match]")
        chosen = min(matching, key=_protection)
        count, named = len(matching), sum(policy.named for policy in self.policies)
        reasons = [
            f"the call is named by {count} of the {named} policies with [match]"
            if naming
            else f"no [match] names the call: {count} of {len(self.policies)} policies are for all other calls"
        ]
        if count > 1:
            reasons.append(f'the most protective of them is "{chosen.file.name}"')
        basis = f'basis "{chosen.file.basis}"'
        reasons.append(
            f"{basis}: the caller is asked before anything is recorded"
            if chosen.file.asks
            else f"{basis}: nobody is asked{_told(chosen.file)}; justification: {chosen.file.justification}"
        )
        reasons.append(
            "a call that may not be recorded is refused"
            if chosen.file.fail_mode is FailMode.REFUSE_CALL
            else "a call that may not be recorded is connected unrecorded"
        )
        return Choice(chosen, tuple(reasons))


def _told(file: PolicyFile) -> str:
    if not file.announces:
        return ", and nobody is told"
    objecting = ", and may object" if file.basis in MAY_OBJECT else ""
    return f", the caller is told before anything is recorded{objecting}"


def _protection(policy: Policy) -> tuple[bool, bool, bool, str]:
    file = policy.file
    refuses = file.fail_mode is FailMode.REFUSE_CALL
    return (not file.asks, not file.asks and not file.announces, refuses, file.name)


def make_book(policies: Iterable[Policy]) -> Book:
    """Put policies together. Raises `PolicyError` for two of one name, or when a call could match none."""
    book = tuple(policies)
    by_name: dict[str, list[Policy]] = {}
    for policy in book:
        by_name.setdefault(policy.file.name, []).append(policy)
    problems = [
        Problem(same[1].source, 0, f'policy "{name}" is defined in {same[0].source} already: choose another name')
        for name, same in by_name.items()
        if len(same) > 1
    ]
    if all(policy.named for policy in book):
        source = book[0].source if book else "policy.d"
        problems.append(Problem(source, 0, "no policy is without [match]: add one that covers every other call"))
    if problems:
        raise PolicyError(problems)
    return Book(book)
