"""Time stamps (RFC 3161) over checkpoints: what is asked of an authority, and what its answer is worth.

What is stamped is the SHA-256 of a whole signed note, its signature lines included: whoever wants to deny the
checkpoint later would have to deny its signature. `openssl ts -verify -data NOTE -in STAMP -CAfile CA` shows the same.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import NameOID
from rfc3161_client import PKIStatus, TimeStampResponse, VerifierBuilder, decode_timestamp_response

from gateway.evidence.errors import TimestampInvalid

MAX_RESPONSE_BYTES = 262_144
_SHA256 = bytes.fromhex("0609608648016503040201")
"""DER of the object identifier 2.16.840.1.101.3.4.2.1."""
_STRONG = {f"2.16.840.1.101.3.4.2.{last}" for last in (1, 2, 3)}
"""SHA-256, SHA-384, SHA-512."""
_SEQUENCE, _SET, _INTEGER, _CONTEXT_0 = 0x30, 0x31, 0x02, 0xA0

_STATUS = {
    PKIStatus.GRANTED_WITH_MODS: "granted something else than was asked for",
    PKIStatus.REJECTION: "rejected the request",
    PKIStatus.WAITING: "has not stamped yet",
    PKIStatus.REVOCATION_WARNING: "warns that its certificate is about to be revoked",
    PKIStatus.REVOCATION_NOTIFICATION: "says that its certificate was revoked",
}

_WORDS = (
    ("has expired", "the authority's certificate had expired when it stamped"),
    ("not yet valid", "the authority's certificate was not valid yet when it stamped"),
    ("certificate purpose", "the authority's certificate is not one for time stamping (extended key usage)"),
    ("EKU", "the authority's certificate is not one for time stamping alone (extended key usage, critical)"),
    ("issuer certificate", "it is of an authority that the given certificates do not vouch for"),
    ("self-signed certificate", "it is of an authority that the given certificates do not vouch for"),
    ("self signed certificate", "it is of an authority that the given certificates do not vouch for"),
    ("certificate signature failure", "it is of an authority that the given certificates do not vouch for"),
    ("certificate not found", "it does not bring the certificate it was signed with"),
    ("ertificates neither found", "it does not bring the certificate it was signed with"),
    ("digest failure", "what was signed is not what it says: it was changed"),
    ("signature failure", "its signature does not fit: it was changed"),
)
"""What OpenSSL and the library say, and what that means. The first that occurs counts."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an authority has confirmed: that the note existed at *time*, give or take *accuracy* (`None`: not said)."""

    time: datetime
    accuracy: timedelta | None
    policy: str
    serial: int
    authority: str

    @property
    def latest(self) -> datetime:
        """The note existed before this moment, on the authority's word."""
        return self.time + (self.accuracy or timedelta())


def build_request(note: str, nonce: int) -> bytes:
    """Return the DER of a TimeStampReq (RFC 3161, section 2.4.1) that asks for the authority's certificate too.

    *nonce*: 1 to 64 random bits, so that an old answer cannot be passed off as a new one.
    """
    if not 0 < nonce < 1 << 64:
        raise ValueError("a nonce has 1 to 64 bits and is not 0")
    imprint = _der(_SEQUENCE, _der(_SEQUENCE, _SHA256, b"\x05\x00"), _der(0x04, _imprint(note)))
    number = _der(_INTEGER, nonce.to_bytes(nonce.bit_length() // 8 + 1))
    return _der(_SEQUENCE, _der(_INTEGER, b"\x01"), imprint, number, b"\x01\x01\xff")


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates of a PEM file. Raises `TimestampInvalid`."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise TimestampInvalid("no certificates in PEM form (-----BEGIN CERTIFICATE-----)") from None


def read_stamp(
    response: bytes, note: str, certificates: Sequence[x509.Certificate], *, nonce: int | None = None
) -> Stamp:
    """Return what *response* (DER of a TimeStampResp) confirms about *note*.

    *certificates*: those of the authority up to a self-signed one, which are trusted. They must have been valid when
    the stamp was made; whether they were revoked is not asked. *nonce*: that of the request, where it is known.
    Raises `TimestampInvalid` for whatever is not a stamp of exactly this note by exactly that authority.
    """
    if not certificates:
        raise TimestampInvalid("no certificate is trusted to stamp, so no stamp proves anything")
    try:
        return _read(response, note, certificates, nonce)
    except TimestampInvalid:
        raise
    except Exception as error:  # of three libraries, about bytes that anybody may have made
        said = str(error)
    words = next((words for part, words in _WORDS if part in said), "it cannot be verified")
    raise TimestampInvalid(f"the time stamp proves nothing: {words}")


def _read(response: bytes, note: str, certificates: Sequence[x509.Certificate], nonce: int | None) -> Stamp:
    answer = _decode(response)
    status = answer.status
    if status != PKIStatus.GRANTED:
        raise TimestampInvalid(f"the authority {_STATUS.get(PKIStatus(status), 'did not stamp')}{_reasons(answer)}")
    info = answer.tst_info
    if info.message_imprint.hash_algorithm.dotted_string != "2.16.840.1.101.3.4.2.1":
        raise TimestampInvalid("the time stamp is not over a SHA-256, as was asked for")
    if info.message_imprint.message != _imprint(note):
        raise TimestampInvalid("the time stamp is of something else than this checkpoint")
    if nonce is not None and info.nonce != nonce:
        raise TimestampInvalid("the time stamp is not the answer to this request (another nonce): an old one?")
    if not {algorithm.dotted_string for algorithm in answer.signed_data.digest_algorithms} <= _STRONG:
        raise TimestampInvalid("the time stamp is signed over a weak hash: SHA-256 or longer is needed")
    VerifierBuilder(roots=list(dict.fromkeys(certificates))).build().verify_message(answer, note.encode())
    return Stamp(info.gen_time, _accuracy(answer), info.policy.dotted_string, info.serial_number, _signer(answer))


def _imprint(note: str) -> bytes:
    return hashlib.sha256(note.encode()).digest()


def _decode(response: bytes) -> TimeStampResponse:
    if len(response) > MAX_RESPONSE_BYTES:
        raise TimestampInvalid(f"a time stamp has no {len(response)} bytes")
    try:
        answer = decode_timestamp_response(_in_order(response))
        PKIStatus(answer.status)
        if answer.status == PKIStatus.GRANTED:
            _ = answer.tst_info.gen_time
    except (ValueError, IndexError) as error:
        known = isinstance(error, TimestampInvalid)
        raise TimestampInvalid(str(error) if known else "this is no answer of a time stamping authority") from None
    return answer


def _reasons(answer: TimeStampResponse) -> str:
    """What a refusal says, without anything that could write elsewhere than on its line."""
    text = "; ".join(str(line) for line in answer.status_string or ())
    return f": {text[:200]}" if text and text.isprintable() else ""


def _accuracy(answer: TimeStampResponse) -> timedelta | None:
    accuracy = answer.tst_info.accuracy
    if accuracy is None:
        return None
    return timedelta(
        seconds=accuracy.seconds or 0, milliseconds=accuracy.millis or 0, microseconds=accuracy.micros or 0
    )


def _signer(answer: TimeStampResponse) -> str:
    """Return the common name of the certificate that signed, found by issuer and number as the signature names it.

    The certificates are not signed for: a second one of that name and number would be there to deceive.
    """
    (signer,) = answer.signed_data.signer_infos
    loaded = [x509.load_der_x509_certificate(der) for der in answer.signed_data.certificates]
    named = [item for item in loaded if (item.issuer, item.serial_number) == (signer.issuer, signer.serial_number)]
    if len(named) != 1:
        raise TimestampInvalid("the time stamp brings several certificates of the name and number it was signed with")
    names = named[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(names[0].value) if names else named[0].subject.rfc4514_string()
    return text if text.isprintable() else "unprintable"


# --- DER ------------------------------------------------------------------------------------------------


def _der(tag: int, *contents: bytes) -> bytes:
    body = b"".join(contents)
    assert len(body) < 0x80
    return bytes([tag, len(body)]) + body


def _in_order(response: bytes) -> bytes:
    """Return the response with its certificates in the order that DER asks of a SET.

    OpenSSL's authorities leave them in another order (CMS lets a SET be of BER, RFC 5652 section 10.2.3), which
    the library refuses. The signature does not cover them.
    """
    begin, end = _content(response, 0, len(response), _SEQUENCE, "answer")
    if end != len(response):
        raise TimestampInvalid("the time stamp has bytes behind its end")
    _, begin = _content(response, begin, end, _SEQUENCE, "status")
    if begin == end:
        return response
    begin, end = _content(response, begin, end, _SEQUENCE, "token")
    _, begin = _content(response, begin, end, 0x06, "type of the token")
    begin, end = _content(response, begin, end, _CONTEXT_0, "signed data")
    begin, end = _content(response, begin, end, _SEQUENCE, "signed data")
    for tag in (_INTEGER, _SET, _SEQUENCE):
        _, begin = _content(response, begin, end, tag, "signed data")
    if begin == end or response[begin] != _CONTEXT_0:
        return response
    begin, end = _content(response, begin, end, _CONTEXT_0, "certificates")
    found, at = [], begin
    while at < end:
        _, after = _content(response, at, end, None, "certificates")
        found.append(response[at:after])
        at = after
    return response[:begin] + b"".join(sorted(found)) + response[end:]


def _content(data: bytes, at: int, end: int, tag: int | None, what: str) -> tuple[int, int]:
    """Return where the content of the element at *at* begins and ends, which must lie before *end*."""
    if end - at < 2 or (tag is not None and data[at] != tag):
        raise TimestampInvalid(f"this is no answer of a time stamping authority: its {what} is missing")
    length, begin = data[at + 1], at + 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(data[at + 2 : begin])
    if length == 0 or begin + length > end:
        raise TimestampInvalid(f"the time stamp was cut off or changed: its {what} does not end where it says")
    return begin, begin + length
