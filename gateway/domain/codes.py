"""In-call codes such as `*9`, found in a stream of single digits. A digit is swallowed only while it may still become a
code; otherwise it is passed on to the other party."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CodeMatch:
    """*code* is the code completed now, or empty; *passed* are digits that belong to no code; *pending* still may."""

    code: str = ""
    passed: str = ""
    pending: str = ""


def match_code(pending: str, digit: str, codes: Iterable[str]) -> CodeMatch:
    """Feed one *digit* behind the *pending* ones.

    >>> match_code("", "*", ["*9"])
    CodeMatch(code='', passed='', pending='*')
    >>> match_code("*", "9", ["*9"])
    CodeMatch(code='*9', passed='', pending='')
    >>> match_code("*", "5", ["*9"])
    CodeMatch(code='', passed='*5', pending='')
    >>> match_code("*", "*", ["*9"])
    CodeMatch(code='', passed='*', pending='*')
    """
    known = [code for code in codes if code]
    text = pending + digit
    for start in range(len(text)):
        rest = text[start:]
        if rest in known:
            return CodeMatch(code=rest, passed=text[:start])
        if any(code.startswith(rest) for code in known):
            return CodeMatch(passed=text[:start], pending=rest)
    return CodeMatch(passed=text)
