"""The log's signing key on disk, and the lock that keeps it from ever signing two histories."""

from pathlib import Path

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.adapters.store.files import FileLock, private_folder, read_private, replace_file
from gateway.evidence.checkpoint import Checkpoint, Signer, sign_checkpoint, verify_checkpoint
from gateway.evidence.errors import CheckpointInvalid
from gateway.ports.evidence import ForkDetected

_log = structlog.get_logger(__name__)

KEY_FILE = "log.key"
PUBLIC_FILE = "log.pub"
HEAD_FILE = "log.head"
LOCK_FILE = "log.lock"


def load_signer(keys_dir: Path, origin: str, *, create: bool) -> Signer:
    """Return the signer of the log *origin*; *create* makes a key when there is none.

    `log.key` is PKCS #8 PEM with mode 0600; `log.pub`, the verifier key line, lies beside it.
    Raises `FileNotFoundError`, `PermissionError`, or `ValueError` for a file that holds no Ed25519 key.
    """
    path = private_folder(keys_dir) / KEY_FILE
    if create and not path.exists():
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        replace_file(path, pem)
        _log.info("log key created")
    try:
        loaded = serialization.load_pem_private_key(read_private(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # the texts are about OpenSSL; TypeError: a password is on it
        loaded = None
    if not isinstance(loaded, Ed25519PrivateKey):
        raise ValueError(f"{path} holds no Ed25519 key in plain PEM: restore it from a backup")
    signer = Signer(origin, loaded)
    line = f"{signer.verifier}\n".encode()
    public = keys_dir / PUBLIC_FILE
    if not public.exists() or public.read_bytes() != line:
        replace_file(public, line, mode=0o644)
    return signer


class ForkLock:
    """The last checkpoint this key has signed, in a small file outside the database.

    Before a new one is signed, the old one is compared with what this process signed last and swapped. A
    database from a backup, a copied folder or a second instance no longer fits, and nothing is signed.
    """

    def __init__(self, keys_dir: Path, signer: Signer) -> None:
        self._path = keys_dir / HEAD_FILE
        self._signer = signer
        self._held = FileLock(keys_dir / LOCK_FILE)
        self.last: Checkpoint | None = None
        self.note = ""

    def load(self) -> Checkpoint | None:
        """Read the last signed checkpoint; `None` when this key has never signed. Raises `ForkDetected`."""
        self.last, self.note = self._read()
        return self.last

    def swap(self, new: Checkpoint) -> str:
        """Sign *new* if the file still holds what was signed last; return the note, durable in the file.

        The caller has checked that the tree of *new* extends that of `last`. Nobody sees the signature before
        the file holds it. Raises `ForkDetected`, `OSError`.
        """
        found, _ = self._read()
        if found != self.last:
            raise ForkDetected(
                f"another instance signed with this key: {_say(found)} is in {self._path}, "
                f"but this process signed {_say(self.last)} last"
            )
        note = sign_checkpoint(new, self._signer)
        replace_file(self._path, note.encode())
        self.last, self.note = new, note
        return note

    def _read(self) -> tuple[Checkpoint | None, str]:
        try:
            note = self._path.read_bytes().decode()
            return verify_checkpoint(note, self._signer.verifier), note
        except FileNotFoundError:
            return None, ""
        except UnicodeDecodeError:
            raise ForkDetected(f"{self._path} is damaged: what this key signed last is unknown") from None
        except CheckpointInvalid as error:
            raise ForkDetected(f"{self._path} does not fit the log's key: {error}") from None

    def release(self) -> None:
        self._held.release()


def _say(checkpoint: Checkpoint | None) -> str:
    return "nothing" if checkpoint is None else f"a tree of {checkpoint.size} entries"
