"""Small files that must survive a power cut, and locks that say who holds them."""

import fcntl
import os
from pathlib import Path


class AlreadyRunning(RuntimeError):
    """Another process holds the lock."""


def sync_directory(folder: Path) -> None:
    """Make renames and new names in *folder* durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write *data* to *path* so that a crash leaves the old content or the new, never a mixture.

    temp, fsync, rename, fsync(directory). Raises `OSError`.
    """
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def private_folder(folder: Path) -> Path:
    """Return *folder*, made with mode 0700 when it is missing."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def read_private(path: Path) -> bytes:
    """Return the content of a secret file. Raises `PermissionError` when others could read it too."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise PermissionError(f"{path} can be read by others: it must have mode 0600")
        return file.read()


class FileLock:
    """An exclusive flock(2), held from construction to `release`. The kernel frees it when the process dies."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise AlreadyRunning(f"{path} is held by another process") from None

    def release(self) -> None:
        os.close(self._descriptor)
