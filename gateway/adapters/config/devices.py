"""The inventory of devices on disk, read once and all together: one wrong file and none is used."""

from collections.abc import Iterable
from pathlib import Path

from gateway.adapters.config.files import read_all, tomls
from gateway.policy.devices import Inventory, make_inventory, parse_devices
from gateway.policy.errors import PolicyError, Problem


def read_inventory(paths: Iterable[Path]) -> Inventory:
    """Read files, and of folders every `*.toml` in order of names, each once. Raises `PolicyError` with the findings of
    *all* of them."""
    wanted: dict[Path, Path] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            found = tomls(path, "put a file with [[device]] there") if path.is_dir() else [path]
        except PolicyError as error:
            problems += error.problems
            continue
        wanted |= {file.resolve(): file for file in found if file.resolve() not in wanted}
    try:
        files = read_all(wanted.values(), parse_devices)
    except PolicyError as error:
        problems += error.problems
    if problems:
        raise PolicyError(problems)
    return make_inventory(files)
