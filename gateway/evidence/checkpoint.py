"""Signed checkpoints: the C2SP formats `signed-note` and `tlog-checkpoint`, with Ed25519 keys.

A note is a text, an empty line and one or more signature lines. Lines of signers we do not know are kept and
ignored, so a second signature (ML-DSA-44) and witnesses' cosignatures can be added without a new format.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.evidence.canonical import check_origin
from gateway.evidence.errors import CheckpointInvalid, EntryInvalid, KeyInvalid
from gateway.evidence.merkle import HASH_BYTES

_ED25519 = b"\x01"
"""Signature type of the C2SP signed-note specification."""
_MAX_NOTE = 65_536
_MAX_SIGNATURES = 100
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log's head: *size* leaves hash to *root*. *extensions* are further lines of the note, kept as they are."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the signed text: origin, size, base64 root, extensions, each on a line of its own."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note. *signature* is what follows the four bytes of the key id."""

    name: str
    key_id: bytes
    signature: bytes


def key_id(name: str, public: bytes, kind: bytes = _ED25519) -> bytes:
    """Return the first four bytes of SHA-256(name || 0x0A || kind || public key)."""
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:4]


class Verifier:
    """A public key with its name, as in a C2SP verifier key line: `name+hexid+base64(0x01 || key)`."""

    __slots__ = ("_key", "id", "name", "public")

    def __init__(self, name: str, public: bytes) -> None:
        try:
            check_origin(name)
            self._key = Ed25519PublicKey.from_public_bytes(public)
        except (EntryInvalid, ValueError) as error:
            raise KeyInvalid(f"not a verifier key: {error}") from None
        self.name = name
        self.public = public
        self.id = key_id(name, public)

    @classmethod
    def parse(cls, line: str) -> "Verifier":
        """Read a verifier key line (white space around it is ignored). Raises `KeyInvalid`."""
        parts = line.strip().split("+", 2)
        if len(parts) != 3:
            raise KeyInvalid("a verifier key has the form name+id+key")
        name, shown, encoded = parts
        key = _base64(encoded)
        if key is None:
            raise KeyInvalid("the verifier key's last part is not base64")
        if key[:1] != _ED25519 or len(key) != 33:
            raise KeyInvalid("the verifier key is not an Ed25519 key (type 1, 32 bytes)")
        verifier = cls(name, key[1:])
        if shown != verifier.id.hex():
            raise KeyInvalid("the verifier key's id does not fit its name and key: a typing error, or another key")
        return verifier

    @property
    def label(self) -> str:
        """Name and id, to tell keys apart: `name+hexid`."""
        return f"{self.name}+{self.id.hex()}"

    def __str__(self) -> str:
        return f"{self.label}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def check(self, message: bytes, signature: bytes) -> None:
        """Raise `CheckpointInvalid` unless *signature* is this key's over *message*."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            raise CheckpointInvalid(f"the signature of {self.label} does not fit the text") from None


class Signer:
    """The log's private key with its name. Its text form never shows the key."""

    __slots__ = ("_key", "verifier")

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = Verifier(name, key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def certify(self, builder: x509.CertificateBuilder) -> bytes:
        """Return the DER of the certificate that *builder* describes, signed with this key."""
        return builder.sign(self._key, None).public_bytes(Encoding.DER)

    def __repr__(self) -> str:
        return f"Signer({self.verifier.label})"


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> str:
    """Return the signed note of *checkpoint*."""
    text = checkpoint.text()
    signed = base64.b64encode(signer.verifier.id + signer.sign(text.encode())).decode()
    return f"{text}\n\N{EM DASH} {signer.verifier.name} {signed}\n"


def parse_checkpoint(note: str) -> tuple[Checkpoint, Sequence[Signature]]:
    """Return what a note says and who claims to have signed it. Proves nothing. Raises `CheckpointInvalid`."""
    if len(note) > _MAX_NOTE:
        raise CheckpointInvalid(f"the checkpoint has over {_MAX_NOTE} characters")
    if any(ord(character) < 0x20 and character != "\n" for character in note):
        raise CheckpointInvalid("the checkpoint has a control character")
    text, gap, tail = note.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise CheckpointInvalid("the checkpoint is not signed: no empty line with signature lines after it")
    lines = tail[:-1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise CheckpointInvalid(f"the checkpoint has over {_MAX_SIGNATURES} signature lines")
    return _parse_text(text), [_parse_signature(line) for line in lines]


def _parse_text(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) < 3 or "" in lines:
        raise CheckpointInvalid("a checkpoint has at least three lines: origin, size and root")
    origin, size, root, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise CheckpointInvalid("the checkpoint's size is not a decimal number")
    digest = _base64(root)
    if digest is None or len(digest) != HASH_BYTES:
        raise CheckpointInvalid(f"the checkpoint's root is not the base64 of {HASH_BYTES} bytes")
    return Checkpoint(origin, int(size), digest, tuple(extensions))


def _parse_signature(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\N{EM DASH}" or not parts[1] or "+" in parts[1]:
        raise CheckpointInvalid("a signature line of the checkpoint is malformed")
    blob = _base64(parts[2])
    if blob is None or len(blob) < 5:
        raise CheckpointInvalid("a signature of the checkpoint is not base64")
    return Signature(parts[1], blob[:4], blob[4:])


def verify_checkpoint(note: str, verifier: Verifier) -> Checkpoint:
    """Return the checkpoint that *verifier*'s key has signed.

    The origin must be the key's name. Signature lines of other keys are ignored. Raises `CheckpointInvalid`.
    """
    checkpoint, signatures = parse_checkpoint(note)
    ours = [line for line in signatures if (line.name, line.key_id) == (verifier.name, verifier.id)]
    if not ours:
        raise CheckpointInvalid(f"the checkpoint is not signed by {verifier.label}")
    for line in ours:
        verifier.check(checkpoint.text().encode(), line.signature)
    if checkpoint.origin != verifier.name:
        raise CheckpointInvalid(f"the checkpoint is of another log than that of {verifier.label}")
    return checkpoint


def _base64(text: str) -> bytes | None:
    """Return the bytes, or `None` for anything but the one standard spelling with padding."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if base64.b64encode(value).decode() == text else None
