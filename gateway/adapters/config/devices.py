"""The inventory of devices on disk, read once and all together: one wrong file and none is used."""

from collections.abc import Iterable
from pathlib import Path

from gateway.policy.devices import DeviceFile, Inventory, make_inventory, parse_devices
from gateway.policy.errors import PolicyError, Problem


def read_inventory(paths: Iterable[Path]) -> Inventory:
    """Read files, and of folders every `*.toml` in order of names, each once. Raises `PolicyError` with the findings of
    *all* of them."""
    files: list[DeviceFile] = []
    seen: set[Path] = set()
    problems: list[Problem] = []
    for path in paths:
        found = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not found:
            problems.append(Problem(str(path), 0, "no *.toml in this folder: put a file with [[device]] there"))
        for file in found:
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            try:
                files.append(parse_devices(file.read_bytes(), str(file)))
            except PolicyError as error:
                problems += error.problems
            except OSError as error:
                problems.append(Problem(str(file), 0, f"cannot be read ({type(error).__name__})"))
    if problems:
        raise PolicyError(problems)
    return make_inventory(files)
