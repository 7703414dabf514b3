"""Files that are written once and must survive a power cut."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make new names in *folder* durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_once(path: Path, data: bytes) -> None:
    """Write a file of mode 0444 that must not exist, durably. Raises `FileExistsError`, `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o444)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o444)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    sync_folder(path.parent)


def put(path: Path, data: bytes) -> None:
    """Write a file so that a crash leaves it whole or not there at all: temp, fsync, rename, fsync(folder)."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        write_once(temporary, data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
