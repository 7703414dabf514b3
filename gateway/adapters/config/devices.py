"""The inventory of devices on disk, read once and all together: one wrong file and none is used."""

from collections.abc import Iterable
from pathlib import Path

from gateway.adapters.config.files import read_everywhere
from gateway.policy.devices import Inventory, make_inventory, parse_devices


def read_inventory(paths: Iterable[Path]) -> Inventory:
    """Read files, and of folders every `*.toml` in order of names, each once. Raises `PolicyError` with the findings of
    *all* of them."""
    return make_inventory(read_everywhere(paths, parse_devices, "put a file with [[device]] there"))
