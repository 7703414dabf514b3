"""Patterns of numbers and names: `*` is anything, `?` any one character."""

import re

_PARTS = {"*": ".*", "?": "."}


def matches(pattern: str, text: str) -> bool:
    """Whether *text* is all of *pattern*.

    >>> matches("+1512*", "+15125550100"), matches("+1512*", "15125550100")
    (True, False)
    """
    return re.fullmatch("".join(_PARTS.get(char) or re.escape(char) for char in pattern), text, re.DOTALL) is not None
