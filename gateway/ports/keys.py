"""Keys of recordings: one age identity per recording, wrapped by a key from the key store."""

from dataclasses import dataclass
from typing import Protocol


class KeyDestroyed(KeyError):
    """The recording's key is gone, and so is the recording."""


@dataclass(frozen=True, slots=True)
class RecordingKey:
    """A fresh key. The media process gets the recipient only: it can write but never read."""

    recipient: str
    wrapped: bytes


class KeyStore(Protocol):
    """Wraps recording keys. The wrapping key never leaves the store."""

    def new_recording_key(self, recording: str) -> RecordingKey:
        """Make an age identity for *recording* and wrap it, bound to the recording's id."""
        ...

    def unwrap(self, recording: str, wrapped: bytes) -> str:
        """Return the age identity (`AGE-SECRET-KEY-1...`). Raises `ValueError` when *wrapped* belongs to another
        recording or another store, saying which it could be."""
        ...
