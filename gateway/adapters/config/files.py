"""Files of one kind, read all together: the findings of every one of them, not of the first wrong one."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from gateway.policy.errors import PolicyError, Problem

T = TypeVar("T")


def tomls(folder: Path, remedy: str) -> list[Path]:
    """Return `*.toml` of *folder*, in order of names. Raises `PolicyError` when there is none, with the *remedy*."""
    found = sorted(folder.glob("*.toml"))
    if not found:
        raise PolicyError([Problem(str(folder), 0, f"no *.toml in this folder: {remedy}")])
    return found


def read_all(paths: Iterable[Path], parse: Callable[[bytes, str], T]) -> list[T]:
    """Return what *parse* makes of each file, given its bytes and its name. Raises `PolicyError` with all that is wrong
    in any of them, those that cannot be read included."""
    made: list[T] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            made.append(parse(path.read_bytes(), str(path)))
        except PolicyError as error:
            problems += error.problems
        except OSError as error:
            problems.append(Problem(str(path), 0, f"cannot be read ({type(error).__name__})"))
    if problems:
        raise PolicyError(problems)
    return made


def read_everywhere(paths: Iterable[Path], parse: Callable[[bytes, str], T], remedy: str) -> list[T]:
    """Read files, and of folders every `*.toml` in order of names, each once. Raises `PolicyError` with all that is
    wrong: folders that have none, with the *remedy*, too."""
    wanted: dict[Path, Path] = {}
    problems: list[Problem] = []
    made: list[T] = []
    for path in paths:
        try:
            found = tomls(path, remedy) if path.is_dir() else [path]
        except PolicyError as error:
            problems += error.problems
            continue
        wanted |= {file.resolve(): file for file in found if file.resolve() not in wanted}
    try:
        made = read_all(wanted.values(), parse)
    except PolicyError as error:
        problems += error.problems
    if problems:
        raise PolicyError(problems)
    return made
