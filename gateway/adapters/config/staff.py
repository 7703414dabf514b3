"""The colleagues on disk, read once and all together: one wrong file and none is used."""

from collections.abc import Iterable
from pathlib import Path

from gateway.adapters.config.files import read_everywhere
from gateway.policy.staff import Directory, make_directory, parse_staff

_REMEDY = "put a file with [[person]] there, or leave staff.folder out"


def read_staff(folder: Path | None) -> Directory:
    """Read `*.toml` of *folder*, in order of names; None: nobody is known. Raises `PolicyError` with the findings of
    *all* of them."""
    return Directory() if folder is None else read_files([folder])


def read_files(paths: Iterable[Path]) -> Directory:
    """Read files, and of folders every `*.toml`, each once. Raises `PolicyError`."""
    return make_directory(read_everywhere(paths, parse_staff, _REMEDY))
