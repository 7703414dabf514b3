"""On which line of a TOML document a key stands: `tomllib` does not say, and an error without a line is half one."""

import re
from collections.abc import Mapping

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


Path = tuple[str | int, ...]
"""Keys from the outermost to the innermost; an element of an array of tables is its index, from 0."""


def key_lines(text: str) -> dict[Path, int]:
    """Return the line (from 1) of every table and key of a *valid* TOML document, first mention wins. What stands in
    an array of tables has its line with the index of the element and, of the first element that has it, without. Keys
    inside an inline table have none of their own."""
    lines: dict[Path, int] = {}
    statements = _statement_lines(text)
    elements: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if number not in statements:
            continue
        header, key = _TABLE.match(line), _KEY.match(line)
        if header:
            table = path = _split(header["path"])
            if line.lstrip().startswith("[["):
                elements = {array: last for array, last in elements.items() if array[: len(path)] != path} | {
                    path: elements.get(path, -1) + 1
                }
        elif key:
            path = table + _split(key["path"])
        else:
            continue
        for length in range(1, len(path) + 1):
            lines.setdefault(path[:length], number)
            lines.setdefault(_indexed(path[:length], elements), number)
    return lines


def _indexed(path: tuple[str, ...], elements: dict[tuple[str, ...], int]) -> Path:
    """Return *path* with the present index behind every part that is an array of tables."""
    indexed: list[str | int] = []
    for length, part in enumerate(path, start=1):
        indexed.append(part)
        if path[:length] in elements:
            indexed.append(elements[path[:length]])
    return tuple(indexed)


def _split(path: str) -> tuple[str, ...]:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in re.findall(_PART, path))


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """Return the line of *path* or of its nearest parent that has one; 0 when there is none."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 0
