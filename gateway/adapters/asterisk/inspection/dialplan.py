"""What a dialplan has that concerns recordings. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.adapters.asterisk.inspection.survey import Step

_OPTIONS_AT: Final = {"dial": 2, "queue": 1, "retrydial": 5}
"""Application to the place of its options."""

_NESTED: Final = re.compile(r"\b(Dial|Queue|RetryDial|MixMonitor)\(", re.IGNORECASE)
_RUNS_OTHERS: Final = ("execif", "exec", "tryexec")
_OPENING, _CLOSING = "([{", ")]}"
OUR_RECORDER: Final = "consent-recorder-start"


@dataclass(frozen=True, slots=True)
class DialplanFacts:
    """Names of contexts, in order: all; with an option x or X; with options that come from variables; that start a
    MixMonitor of their own; that give automixmon a key; that go through the gate."""

    contexts: tuple[str, ...]
    one_touch: tuple[str, ...]
    unseen_options: tuple[str, ...]
    recorders: tuple[str, ...]
    sets_key: tuple[str, ...]
    routes: tuple[str, ...]


def examine(dialplan: Sequence[Step] | None) -> DialplanFacts | None:
    """Return what is in a dialplan; None when it is not known."""
    if dialplan is None:
        return None
    contexts: dict[str, None] = {}
    one_touch: dict[str, None] = {}
    unseen: dict[str, None] = {}
    recorders: dict[str, None] = {}
    sets_key: dict[str, None] = {}
    routes: dict[str, None] = {}
    for step in dialplan:
        contexts[step.context] = None
        for application, data in _run(step):
            if application == "mixmonitor":
                if step.context != OUR_RECORDER:
                    recorders[step.context] = None
                continue
            flags, variable = options(application, data)
            if "x" in flags.lower():
                one_touch[step.context] = None
            if variable:
                unseen[step.context] = None
        if step.application.lower() == "set" and "FEATUREMAP(automixmon)=" in step.data.replace(" ", ""):
            sets_key[step.context] = None
        if "consent-gate" in step.data and not step.context.startswith(("consent-gate", "consent-recorder")):
            routes[step.context] = None
    return DialplanFacts(*(tuple(found) for found in (contexts, one_touch, unseen, recorders, sets_key, routes)))


def options(application: str, data: str) -> tuple[str, bool]:
    """Return the letters among the options of `Dial` and its like, and whether more come from variables.

    >>> options("dial", "PJSIP/alice,30,xb(gate^s^1(X))")
    ('xb', False)
    >>> options("queue", "sales,t${MORE},,,60")
    ('t', True)
    """
    arguments = split_arguments(data)
    place = _OPTIONS_AT[application]
    text = arguments[place] if len(arguments) > place else ""
    return _outside(text), "${" in _outside(text, _OPENING.replace("{", ""), _CLOSING.replace("}", ""))


def split_arguments(data: str) -> list[str]:
    """Split at the commas that are outside of brackets and quotes."""
    parts, depth, quoted, part = [], 0, False, ""
    for char in data:
        quoted ^= char == '"'
        if not quoted:
            depth += (char in _OPENING) - (char in _CLOSING)
        if char == "," and depth <= 0 and not quoted:
            parts.append(part)
            part = ""
        else:
            part += char
    return [*parts, part]


def _outside(text: str, opening: str = _OPENING, closing: str = _CLOSING) -> str:
    """Return what is outside of brackets."""
    kept, depth = "", 0
    for char in text:
        if char in closing:
            depth = max(depth - 1, 0)
        elif char in opening:
            depth += 1
        elif depth == 0:
            kept += char
    return kept.replace("$", "") if "{" in opening else kept


def _run(step: Step) -> Iterator[tuple[str, str]]:
    """Yield the applications of interest that a step runs, with their arguments."""
    application = step.application.lower()
    if application in (*_OPTIONS_AT, "mixmonitor"):
        yield application, step.data
    elif application in _RUNS_OTHERS:
        for found in _NESTED.finditer(step.data):
            yield found[1].lower(), _balanced(step.data[found.end() :])


def _balanced(text: str) -> str:
    """Return what stands before the bracket that closes."""
    depth = 1
    for place, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return text[:place]
    return text
