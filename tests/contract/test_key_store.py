"""What every key store promises."""

from pathlib import Path

import pytest

from gateway.adapters.keys.file_keys import FileKeyStore
from gateway.ports.keys import FakeKeyStore, KeyDestroyed, KeyStore


@pytest.fixture(params=["fake", "file"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[KeyStore, KeyStore]:
    """A key store and a second one with another wrapping key."""
    if request.param == "fake":
        return FakeKeyStore("one"), FakeKeyStore("two")
    return FileKeyStore(tmp_path / "one"), FileKeyStore(tmp_path / "two")


def test_a_key_unwraps_for_its_own_recording(stores: tuple[KeyStore, KeyStore]) -> None:
    store, _ = stores
    key = store.new_recording_key("recording1")
    assert key.recipient.startswith("age1")
    identity = store.unwrap("recording1", key.wrapped)
    assert identity.startswith("AGE-SECRET-KEY-1")


def test_every_recording_has_its_own_key(stores: tuple[KeyStore, KeyStore]) -> None:
    store, _ = stores
    one, other = store.new_recording_key("recording1"), store.new_recording_key("recording1")
    assert one.recipient != other.recipient
    assert store.unwrap("recording1", one.wrapped) != store.unwrap("recording1", other.wrapped)


def test_a_key_of_another_recording_is_refused_by_name(stores: tuple[KeyStore, KeyStore]) -> None:
    store, _ = stores
    with pytest.raises(ValueError, match="another recording of this key store"):
        store.unwrap("recording2", store.new_recording_key("recording1").wrapped)


def test_a_key_of_another_store_is_refused_by_name(stores: tuple[KeyStore, KeyStore]) -> None:
    store, second = stores
    with pytest.raises(ValueError, match="key store"):
        second.unwrap("recording1", store.new_recording_key("recording1").wrapped)


@pytest.mark.parametrize("wrapped", [b"x", b"\xff" * 200])
def test_rubbish_is_refused(stores: tuple[KeyStore, KeyStore], wrapped: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        stores[0].unwrap("recording1", wrapped)


def test_a_destroyed_key_is_said_to_be_destroyed(stores: tuple[KeyStore, KeyStore]) -> None:
    with pytest.raises(KeyDestroyed):
        stores[0].unwrap("recording1", b"")
