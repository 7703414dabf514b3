"""Keys of recordings: one age identity per recording, wrapped by a key from the key store."""

from dataclasses import dataclass
from typing import Protocol


class KeyDestroyed(KeyError):
    """The recording's key is gone, and so is the recording."""


class KeyStoreUnusable(ValueError):
    """The store's own key is damaged. The text says where it is and what helps."""


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
        recording or another store, saying which it could be; `KeyDestroyed` when it is empty."""
        ...


@dataclass(slots=True)
class FakeKeyStore:
    """A key store that hides nothing: the wrapped form spells the store, the recording and the identity."""

    name: str = "fake"
    made: int = 0

    def new_recording_key(self, recording: str) -> RecordingKey:
        self.made += 1
        wrapped = f"{self.name}\n{recording}\nAGE-SECRET-KEY-1FAKE{self.made}"
        return RecordingKey(recipient=f"age1fake{self.made}", wrapped=wrapped.encode())

    def unwrap(self, recording: str, wrapped: bytes) -> str:
        if not wrapped:
            raise KeyDestroyed(recording)
        parts = wrapped.decode(errors="replace").split("\n")
        if len(parts) != 3:
            raise ValueError("not a wrapped recording key: damaged, or something else")
        if parts[0] != self.name:
            raise ValueError("wrapped by another key store")
        if parts[1] != recording:
            raise ValueError("wrapped for another recording of this key store")
        return parts[2]
