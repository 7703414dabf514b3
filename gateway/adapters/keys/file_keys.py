"""Key store in a folder: one wrapping key in a file, recording keys wrapped by AES-256-GCM.

Wrapped form: `CGW1` || key store id (8 bytes) || nonce (12 bytes) || ciphertext and tag. The additional data is
the first twelve of these bytes and the recording's id, so a wrapped key fits one recording of one store only.
Nonces are random: NIST SP 800-38D section 8.3 allows 2**32 recordings for one wrapping key.
"""

import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pyrage import x25519

from gateway.ports.keys import KeyDestroyed, KeyStoreUnusable, RecordingKey

KEY_FILE = "recordings.key"
_MAGIC = b"CGW1"
_KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = len(_MAGIC) + _ID_BYTES


class FileKeyStore:
    """`KeyStore` whose wrapping key is the file `recordings.key` (32 bytes, mode 0600) in *keys_dir*.

    The file is made on first use if *create*. Raises `FileNotFoundError`, `PermissionError` when others can read it,
    `KeyStoreUnusable` when it does not hold a key. Whoever loses this file loses every recording; back it up apart from
    them.
    """

    def __init__(
        self, keys_dir: Path, *, create: bool = True, randomness: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        path = keys_dir / KEY_FILE
        if create:
            keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = _create(path, randomness(_KEY_BYTES)) if create and not path.exists() else _read(path)
        self._cipher = AESGCM(key)
        self._randomness = randomness
        self._id = hashlib.sha256(b"consent-gateway key store\n" + key).digest()[:_ID_BYTES]

    @property
    def store_id(self) -> str:
        """Names the wrapping key without telling it (hexadecimal)."""
        return self._id.hex()

    def new_recording_key(self, recording: str) -> RecordingKey:
        identity = x25519.Identity.generate()
        header = _MAGIC + self._id
        nonce = self._randomness(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, str(identity).encode(), header + recording.encode())
        return RecordingKey(recipient=str(identity.to_public()), wrapped=header + nonce + sealed)

    def unwrap(self, recording: str, wrapped: bytes) -> str:
        if not wrapped:
            raise KeyDestroyed(recording)
        if len(wrapped) <= _HEADER_BYTES + _NONCE_BYTES or not wrapped.startswith(_MAGIC):
            raise ValueError("not a wrapped recording key of this program: damaged, or something else")
        header, rest = wrapped[:_HEADER_BYTES], wrapped[_HEADER_BYTES:]
        other = header[len(_MAGIC) :]
        if other != self._id:
            raise ValueError(f"wrapped by the key store {other.hex()}; this is {self.store_id}")
        try:
            identity = self._cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], header + recording.encode())
        except InvalidTag:
            raise ValueError("wrapped for another recording of this key store, or damaged") from None
        return identity.decode()


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise PermissionError(f"{path} can be read by others: it must have mode 0600")
        key = file.read(_KEY_BYTES + 1)
    if len(key) != _KEY_BYTES:
        raise KeyStoreUnusable(f"{path} does not hold a key of {_KEY_BYTES} bytes: restore it from a backup")
    return key


def _create(path: Path, key: bytes) -> bytes:
    """Put *key* at *path*, whole or not at all; return the key that is there when another process was first."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return _read(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key
