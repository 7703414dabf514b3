"""Time stamps: the request is what OpenSSL reads, good stamps hold, each bad one is refused in words of its own."""

import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.evidence.errors import TimestampInvalid
from gateway.evidence.timestamp import build_request, read_certificates, read_stamp
from tests.support.authority import POLICY, REJECTED, Authority, openssl
from tests.unit.evidence.stories import ORIGIN

NOTE = f"{ORIGIN}\n96\nAAAA\n\n— {ORIGIN} c2ln\n"
NONCE = 0xF13CA270725882A0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.issue("old", days=(-30, -10))
    made.issue("young", days=(10, 30))
    made.issue("no-usage", usage=())
    made.issue("web", usage=(ExtendedKeyUsageOID.SERVER_AUTH,))
    made.issue("both", usage=(ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.SERVER_AUTH))
    made.issue("uncritical", critical=False)
    return made


@pytest.fixture(scope="module")
def good(authority: Authority) -> bytes:
    return authority.reply(build_request(NOTE, NONCE))


def trusted(authority: Authority, file: str = "ca") -> list:  # type: ignore[type-arg]
    return read_certificates((authority.folder / f"{file}.pem").read_bytes())


@pytest.mark.parametrize("nonce", [1, 0x7F, 0x80, NONCE, (1 << 64) - 1])
def test_openssl_reads_the_request(tmp_path: Path, nonce: int) -> None:
    (tmp_path / "query").write_bytes(build_request(NOTE, nonce))
    text = openssl("ts", "-query", "-in", str(tmp_path / "query"), "-text")
    assert re.search(rf"Nonce: 0x0?{nonce:X}\n", text) and "Hash Algorithm: sha256" in text
    assert "Certificate required: yes" in text and "Policy OID: unspecified" in text
    (tmp_path / "note").write_text(NOTE)
    digest = openssl("dgst", "-sha256", "-r", str(tmp_path / "note")).split()[0]
    dumped = "".join(
        "".join(line.split("-", 1)[1][:48].split()).replace("-", "") for line in text.splitlines() if " - " in line
    )
    assert dumped == digest


@pytest.mark.parametrize("nonce", [0, -1, 1 << 64])
def test_a_nonce_that_is_none_is_refused(nonce: int) -> None:
    with pytest.raises(ValueError, match="nonce"):
        build_request(NOTE, nonce)


def test_a_good_stamp_says_when(authority: Authority, good: bytes) -> None:
    stamp = read_stamp(good, NOTE, trusted(authority), nonce=NONCE)
    assert abs(stamp.time - datetime.now(UTC)) < timedelta(minutes=1) and stamp.time.tzinfo is not None
    assert stamp.accuracy == timedelta(seconds=1.5) and stamp.latest - stamp.time == timedelta(seconds=1.5)
    assert (stamp.policy, stamp.authority) == (POLICY, "Test authority tsa") and stamp.serial >= 1
    assert read_stamp(good, NOTE, trusted(authority)) == stamp


def test_openssl_says_the_same_of_it(authority: Authority, good: bytes, tmp_path: Path) -> None:
    (tmp_path / "note").write_text(NOTE)
    (tmp_path / "stamp").write_bytes(good)
    files = ["-data", str(tmp_path / "note"), "-in", str(tmp_path / "stamp"), "-CAfile", str(authority.ca_file)]
    assert "Verification: OK" in openssl("ts", "-verify", *files)


def test_an_authority_need_not_say_how_accurate_it_is(tmp_path: Path) -> None:
    authority = Authority(tmp_path, accuracy="")
    stamp = read_stamp(authority.reply(build_request(NOTE, NONCE)), NOTE, trusted(authority))
    assert stamp.accuracy is None and stamp.latest == stamp.time


def test_a_stamp_outlives_the_certificate_that_was_valid_when_it_was_made(authority: Authority, good: bytes) -> None:
    """The time of checking plays no part: what counts is the stamp's own time (RFC 3161, section 4)."""
    stamp = read_stamp(good, NOTE, trusted(authority))
    assert stamp.time < datetime.now(UTC) + timedelta(seconds=2)
    with pytest.raises(TimestampInvalid, match="had expired when it stamped"):
        read_stamp(authority.reply(build_request(NOTE, NONCE), "old"), NOTE, trusted(authority))


def _by(signer: str, *more: str) -> Callable[[Authority, bytes], bytes]:
    return lambda authority, good: authority.sign_statement(authority.statement(good), signer, *more)


def _changed_statement(authority: Authority, good: bytes) -> bytes:
    """Another second in the signed text, everything else as it was."""
    place = good.index(b"\x18\x0f20") + 14
    return good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]


BAD: dict[str, tuple[Callable[[Authority, bytes], bytes], str]] = {
    "nothing": (lambda authority, good: b"", "no answer of a time stamping authority"),
    "a web page": (lambda authority, good: b"<html>Sign in</html>", "no answer of a time stamping authority"),
    "rejected": (lambda authority, good: REJECTED, "the authority rejected the request: not today!$"),
    "cut off": (lambda authority, good: good[:-5], "cut off or changed"),
    "cut in the middle": (lambda authority, good: good[:200], "cut off or changed"),
    "followed by a byte": (lambda authority, good: good + b"\0", "bytes behind its end"),
    "too long": (lambda authority, good: good + bytes(300_000), "a time stamp has no 30"),
    "another second": (_changed_statement, "was changed"),
    "signature changed": (lambda authority, good: good[:-1] + bytes([good[-1] ^ 1]), "its signature does not fit"),
    "expired": (_by("old"), "had expired when it stamped"),
    "not valid yet": (_by("young"), "was not valid yet when it stamped"),
    "no extended key usage": (_by("no-usage"), "not one for time stamping"),
    "for web servers": (_by("web"), "not one for time stamping"),
    "for web servers too": (_by("both"), "not one for time stamping"),
    "usage not critical": (_by("uncritical"), "not one for time stamping"),
    "without certificate": (_by("tsa", "-nocerts"), "does not bring the certificate"),
    "over SHA-1": (_by("tsa", "-md", "sha1"), "weak hash"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_stamp_is_refused_in_words(authority: Authority, good: bytes, kind: str) -> None:
    make, words = BAD[kind]
    with pytest.raises(TimestampInvalid, match=words):
        read_stamp(make(authority, good), NOTE, trusted(authority))


def test_a_stamp_signed_anew_by_the_authority_holds(authority: Authority, good: bytes) -> None:
    """The rig that makes bad stamps makes good ones too, so the bad ones are bad for their own reason."""
    anew = authority.sign_statement(authority.statement(good), "tsa")
    assert read_stamp(anew, NOTE, trusted(authority)) == read_stamp(good, NOTE, trusted(authority))


def test_a_stamp_of_another_checkpoint_is_refused(authority: Authority, good: bytes) -> None:
    with pytest.raises(TimestampInvalid, match="of something else than this checkpoint"):
        read_stamp(good, NOTE.replace("96", "97"), trusted(authority))


def test_an_old_answer_is_refused(authority: Authority, good: bytes) -> None:
    with pytest.raises(TimestampInvalid, match="another nonce"):
        read_stamp(good, NOTE, trusted(authority), nonce=NONCE + 1)


def test_another_hash_is_refused(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "note").write_text(NOTE)
    openssl("ts", "-query", "-data", str(tmp_path / "note"), "-sha512", "-cert", "-out", str(tmp_path / "query"))
    stamp = authority.reply((tmp_path / "query").read_bytes())
    with pytest.raises(TimestampInvalid, match="not over a SHA-256"):
        read_stamp(stamp, NOTE, trusted(authority))


def test_a_foreign_authority_is_refused(authority: Authority, good: bytes, tmp_path: Path) -> None:
    """It calls itself the same."""
    foreign = Authority(tmp_path)
    with pytest.raises(TimestampInvalid, match="do not vouch for"):
        read_stamp(foreign.reply(build_request(NOTE, NONCE)), NOTE, trusted(authority))
    with pytest.raises(TimestampInvalid, match="do not vouch for"):
        read_stamp(good, NOTE, trusted(foreign))
    assert read_stamp(good, NOTE, [*trusted(foreign), *trusted(authority)]).authority == "Test authority tsa"


def test_nobody_trusted_proves_nothing(good: bytes) -> None:
    with pytest.raises(TimestampInvalid, match="no certificate is trusted"):
        read_stamp(good, NOTE, [])
    with pytest.raises(TimestampInvalid, match="PEM"):
        read_certificates(b"no certificate")


def test_a_second_certificate_of_the_same_name_and_number_is_refused(authority: Authority, good: bytes) -> None:
    """Certificates are not signed for: one that only looks like the signer's must not lend it a name."""
    real = trusted(authority, "tsa")[0]
    authority.issue("Big Name", serial=real.serial_number)
    both = authority.sign_statement(
        authority.statement(good), "tsa", "-certfile", str(authority.folder / "Big Name.pem")
    )
    with pytest.raises(TimestampInvalid, match=r"several certificates|not what it says|does not fit"):
        read_stamp(both, NOTE, trusted(authority))


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_no_changed_byte_changes_what_is_said(authority: Authority, good: bytes) -> None:
    """Some bytes of a stamp are not signed (the version of a structure, the CA's certificate beside that of the
    signer); whatever they are, what it says stays."""
    certificates, said = trusted(authority), read_stamp(good, NOTE, trusted(authority))
    beside = certificates[0].public_bytes(serialization.Encoding.DER)
    loose = range(good.index(beside), good.index(beside) + len(beside))
    accepted = 0
    for place in range(len(good)):
        for flip in (1, 0x80):
            damaged = good[:place] + bytes([good[place] ^ flip]) + good[place + 1 :]
            try:
                assert read_stamp(damaged, NOTE, certificates) == said
                accepted += place not in loose
            except TimestampInvalid:
                continue
    assert accepted < 40


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_hostile_bytes_are_refused_never_a_crash(authority: Authority, good: bytes) -> None:
    dice = random.Random(3161)
    certificates = trusted(authority)
    for _ in range(2_000):
        damaged = bytearray(good)
        for _ in range(dice.randint(1, 8)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        data = bytes(damaged[: dice.randint(0, len(damaged))]) if dice.random() < 0.3 else bytes(damaged)
        try:
            read_stamp(data, NOTE, certificates)
        except TimestampInvalid as refused:
            assert str(refused).isprintable()
