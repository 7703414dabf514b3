"""The log's signed head, read beside the process that signs, and proofs that later trees extend earlier ones."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from gateway.adapters.store.databases import Database
from gateway.adapters.store.evidence_log import EvidenceReader
from gateway.adapters.store.log_key import HEAD_FILE, PUBLIC_FILE
from gateway.adapters.store.tree_state import read_node
from gateway.evidence import merkle
from gateway.evidence.checkpoint import Verifier, verify_checkpoint
from gateway.evidence.errors import CheckpointInvalid, KeyInvalid
from gateway.ports.anchors import Head
from gateway.ports.evidence import EvidenceUnavailable


def read_verifier(keys_dir: Path) -> Verifier:
    """Return the log's public key. Raises `EvidenceUnavailable`."""
    path = keys_dir / PUBLIC_FILE
    try:
        return Verifier.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = str(error.strerror)
    except (UnicodeDecodeError, KeyInvalid):
        reason = "it is no public key of a log"
    raise EvidenceUnavailable(f"{path}: {reason}; the gateway writes it anew from log.key when it starts")


class LogHeads:
    """`Heads` of the log in *database*, whose key is in *keys_dir*."""

    def __init__(self, database: Database, keys_dir: Path) -> None:
        self._reader = EvidenceReader(database)
        self._keys_dir = keys_dir

    def read(self) -> Head:
        path = self._keys_dir / HEAD_FILE
        try:
            note = path.read_bytes().decode()
            checkpoint = verify_checkpoint(note, read_verifier(self._keys_dir))
        except OSError as error:
            reason = str(error.strerror)
        except (UnicodeDecodeError, CheckpointInvalid) as error:
            reason = (
                f"it is not what the log's key signed: {error if isinstance(error, CheckpointInvalid) else 'no text'}"
            )
        else:
            return Head(note, checkpoint, partial(self._extends, new=checkpoint.size))
        raise EvidenceUnavailable(f"{path}: {reason}; consent-gateway evidence fsck says more")

    def _extends(self, old: int, new: int) -> Sequence[bytes]:
        return self._reader.read(_consistency, old, new)


def _consistency(connection: sa.Connection, old: int, new: int) -> list[bytes]:
    return merkle.consistency_proof(old, new, partial(read_node, connection))
