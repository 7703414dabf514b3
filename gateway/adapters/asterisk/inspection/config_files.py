"""Asterisk's configuration files, where they can be read from this machine: sections, templates and includes.

Only as much of the format as a check needs: `#exec` is not run, and a file that includes itself is read once.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SECTION: Final = re.compile(r"\[(?P<name>[^\]]+)\](?:\((?P<options>[^)]*)\))?")
_INCLUDE: Final = re.compile(r"#(?:try)?include\s+(?:\"(?P<quoted>[^\"]+)\"|<(?P<angled>[^>]+)>|(?P<bare>\S+))")
_COMMENT: Final = re.compile(r"(?<!\\);.*")
_BLOCK: Final = re.compile(r";--(?!-).*?--;", re.DOTALL)
MAX_FILES: Final = 500
"""More files than any installation includes."""


@dataclass(frozen=True, slots=True)
class Section:
    """One section with what it has of its templates: settings in order, names in lower case."""

    name: str
    is_template: bool
    settings: tuple[tuple[str, str], ...]

    def last(self, key: str) -> str:
        """Return the value that counts, the last one, or ""."""
        return next((value for name, value in reversed(self.settings) if name == key), "")


def read_sections(folder: Path, name: str) -> tuple[Section, ...]:
    """Return the sections of a file of *folder* and of what it includes. Sections of one name stay apart, as PJSIP's
    do, except where one adds to another (`[name](+)`). Raises `OSError`."""
    sections: list[Section] = []
    current: int | None = None
    for line in _lines(folder, folder / name, set()):
        heading = _SECTION.match(line)
        if heading is not None:
            current = _open(sections, heading["name"].strip(), heading["options"] or "")
        elif current is not None and "=" in line:
            key, _, value = line.partition("=")
            pair = key.strip().lower(), value.removeprefix(">").strip()
            old = sections[current]
            sections[current] = Section(old.name, old.is_template, (*old.settings, pair))
    return tuple(sections)


def _open(sections: list[Section], name: str, options: str) -> int:
    """Begin a section and return its place, or that of the one it adds to."""
    parts = [part.strip() for part in options.split(",") if part.strip()]
    added = next((part for part in parts if part.startswith("+")), None)
    if added is not None:
        wanted = dict([part.partition("=")[::2] for part in added[1:].split("&") if part])
        for place, old in enumerate(sections):
            if old.name == name and wanted.items() <= dict(old.settings).items():
                return place
    inherited = [setting for part in parts for old in sections if old.name == part for setting in old.settings]
    sections.append(Section(name, "!" in parts, tuple(inherited)))
    return len(sections) - 1


def _lines(folder: Path, file: Path, seen: set[Path]) -> Iterator[str]:
    if file in seen or len(seen) >= MAX_FILES:
        return
    seen.add(file)
    for line in _BLOCK.sub("", file.read_text(encoding="utf-8", errors="replace")).splitlines():
        text = _COMMENT.sub("", line).strip()
        include = _INCLUDE.match(text)
        if include is None:
            yield text
            continue
        pattern = include["quoted"] or include["angled"] or include["bare"]
        for found in _included(folder, pattern):
            yield from _lines(folder, found, seen)


def _included(folder: Path, pattern: str) -> list[Path]:
    """Files that an include names, relative to *folder*. None that is not there: Asterisk would not have started."""
    path = Path(pattern)
    place = Path(path.anchor) if path.is_absolute() else folder
    return sorted(found for found in place.glob(str(path.relative_to(path.anchor))) if found.is_file())
