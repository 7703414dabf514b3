"""On which line of a TOML document a key stands: `tomllib` does not say, and an error without a line is half one."""

import re

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')"""
_PATH = rf"(?P<path>{_PART}(?:[ \t]*\.[ \t]*{_PART})*)"
_TABLE = re.compile(rf"^[ \t]*\[\[?[ \t]*{_PATH}[ \t]*\]\]?[ \t]*(#.*)?\r?$")
_KEY = re.compile(rf"^[ \t]*{_PATH}[ \t]*=")
_TOKEN = re.compile(
    r'''
    """(?:\\.|[^\\])*?"""(?!") | \'\'\'.*?\'\'\'(?!\')      # a string of many lines
    | "(?:\\.|[^"\\\n])*" | '[^'\n]*' | \#[^\n]*            # a string or comment on one
    | (?P<open>[\[{]) | (?P<close>[\]}]) | (?P<newline>\n)
    ''',
    re.DOTALL | re.VERBOSE,
)


def _statement_lines(text: str) -> set[int]:
    """Return the lines (from 1) that begin outside of every string, array and inline table."""
    lines, number, depth = {1}, 1, 0
    for token in _TOKEN.finditer(text):
        number += token[0].count("\n")
        depth += bool(token["open"]) - bool(token["close"])
        if token["newline"] and depth == 0:
            lines.add(number)
    return lines


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line (from 1) of every table and key of a *valid* TOML document, first mention wins. Keys inside an
    inline table have none of their own."""
    lines: dict[tuple[str, ...], int] = {}
    statements = _statement_lines(text)
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if number not in statements:
            continue
        header, key = _TABLE.match(line), _KEY.match(line)
        if header:
            table = path = _split(header["path"])
        elif key:
            path = table + _split(key["path"])
        else:
            continue
        for length in range(1, len(path) + 1):
            lines.setdefault(path[:length], number)
    return lines


def _split(path: str) -> tuple[str, ...]:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in re.findall(_PART, path))


def line_of(lines: dict[tuple[str, ...], int], path: tuple[str | int, ...]) -> int:
    """Return the line of *path* or of its nearest parent that has one; 0 when there is none."""
    keys = tuple(str(part) for part in path if not isinstance(part, int))
    for length in range(len(keys), 0, -1):
        if keys[:length] in lines:
            return lines[keys[:length]]
    return 0
