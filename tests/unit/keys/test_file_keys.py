"""The key store in a folder: what lies on the disk, and what happens when it is touched."""

from pathlib import Path

import pyrage
import pytest
from pyrage import x25519

from gateway.adapters.keys.file_keys import KEY_FILE, FileKeyStore


def test_the_wrapping_key_is_private_and_survives(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path / "keys")
    path = tmp_path / "keys" / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert len(path.read_bytes()) == 32
    assert [file.name for file in path.parent.iterdir()] == [KEY_FILE]
    key = store.new_recording_key("r1")
    again = FileKeyStore(tmp_path / "keys")
    assert again.store_id == store.store_id
    assert again.unwrap("r1", key.wrapped) == store.unwrap("r1", key.wrapped)


def test_what_the_recipient_encrypts_the_identity_opens(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path)
    key = store.new_recording_key("r1")
    sealed = pyrage.encrypt(b"sound", [x25519.Recipient.from_str(key.recipient)])
    identity = x25519.Identity.from_str(store.unwrap("r1", key.wrapped))
    assert pyrage.decrypt(sealed, [identity]) == b"sound"


def test_the_wrapped_form_tells_nothing_and_no_byte_of_it_may_change(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path)
    wrapped = store.new_recording_key("r1").wrapped
    assert b"AGE" not in wrapped
    for place in range(len(wrapped)):
        changed = bytearray(wrapped)
        changed[place] ^= 1
        with pytest.raises(ValueError, match=r"damaged|key store"):
            store.unwrap("r1", bytes(changed))


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    FileKeyStore(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(PermissionError, match="0600"):
        FileKeyStore(tmp_path)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / KEY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ValueError, match="32 bytes"):
        FileKeyStore(tmp_path)
