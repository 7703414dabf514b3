"""On which line of a TOML document a key stands: `tomllib` does not say, and an error without a line is half one."""

import re

_TABLE = re.compile(r"^\s*\[\[?\s*(?P<path>[^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(
    r"""^\s*(?P<path>(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line (from 1) of every table and key of a *valid* TOML document, first mention wins."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    inside = ""
    depth = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if inside:
            if inside in line:
                inside = ""
            continue
        if depth == 0:
            found = _TABLE.match(line)
            key = _KEY.match(line)
            if found:
                table = _split(found["path"])
                for length in range(1, len(table) + 1):
                    lines.setdefault(table[:length], number)
                continue
            if key:
                path = table + _split(key["path"])
                for length in range(len(table) + 1, len(path) + 1):
                    lines.setdefault(path[:length], number)
        rest = re.sub(r'"(?:\\.|[^"\\])*"(?!")|\'[^\']*\'(?!\')|#.*$', "", line)
        for quote in ('"""', "'''"):
            if line.count(quote) % 2:
                inside = quote
        depth = max(0, depth + rest.count("[") + rest.count("{") - rest.count("]") - rest.count("}"))
    return lines


def _split(path: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in path.split("."))


def line_of(lines: dict[tuple[str, ...], int], path: tuple[str | int, ...]) -> int:
    """Return the line of *path* or of its nearest parent that has one; 0 when there is none."""
    keys = tuple(str(part) for part in path if not isinstance(part, int))
    for length in range(len(keys), 0, -1):
        if keys[:length] in lines:
            return lines[keys[:length]]
    return 0
