"""A signed vCon: JWS, general JSON serialisation (RFC 7515, section 7.2.1), with the log's Ed25519 key (RFC 8037).

`x5c` and `uuid` stand in the unprotected header, as core-04, section 5.2, demands. `alg` is protected; RFC 7515,
section 4, forbids to name it in both. The certificate's hash is protected as well, so the certificate cannot be
exchanged for another one of the same key.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from gateway.evidence import canonical
from gateway.evidence.checkpoint import Signer, Verifier
from gateway.evidence.errors import BundleInvalid, CheckpointInvalid, EntryInvalid

MAX_SIGNED_BYTES = 192 * 1024 * 1024
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+", re.ASCII)
_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
_NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, section 4.1.2.5: the value for a certificate without a well-defined end."""


def certificate(signer: Signer) -> bytes:
    """Return the DER of the log key's self-signed certificate: always the same bytes for the same key.

    It only carries the key, for readers that want a certificate. Trust comes from `log.pub`, never from it.
    """
    verifier = signer.verifier
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, verifier.name[:64])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(Ed25519PublicKey.from_public_bytes(verifier.public))
        .serial_number(int.from_bytes(hashlib.sha256(verifier.public).digest()[:16], "big") >> 1 | 1)
        .not_valid_before(_BEGIN)
        .not_valid_after(_NO_END)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    host = verifier.name.partition("/")[0]
    if _HOST.fullmatch(host):
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return signer.certify(builder)


def sign_vcon(vcon: Mapping[str, Any], signer: Signer) -> bytes:
    """Return the signed form of *vcon* as a file: canonical JSON and a newline.

    The signature is of `BASE64URL(protected) . BASE64URL(payload)`, which has no newline: it can pass neither for
    one of a checkpoint nor for one of a bundle, both of which have one.
    """
    der = certificate(signer)
    protected = _encode(canonical.dump({"alg": "EdDSA", "x5t#S256": _encode(hashlib.sha256(der).digest())}))
    payload = _encode(canonical.dump(vcon))
    signature = {
        "protected": protected,
        "header": {"x5c": [base64.b64encode(der).decode()], "uuid": vcon["uuid"]},
        "signature": _encode(signer.sign(f"{protected}.{payload}".encode())),
    }
    return canonical.dump({"payload": payload, "signatures": [signature]}) + b"\n"


def is_signed(body: Mapping[str, Any]) -> bool:
    """Tell the signed form by its members (core-04, section 5.4). Proves nothing."""
    return "payload" in body and "signatures" in body


def open_signed(data: bytes, verifier: Verifier) -> dict[str, Any]:
    """Return the vCon that *verifier*'s key has signed. Raises `BundleInvalid`, saying what is wrong.

    The key in the certificate is compared with *verifier*'s and otherwise ignored.
    """
    if len(data) > MAX_SIGNED_BYTES:
        raise BundleInvalid(f"the file has over {MAX_SIGNED_BYTES} bytes")
    try:
        body = json.loads(data)
        (signature,) = body["signatures"]
        protected, payload = signature["protected"], body["payload"]
        head = json.loads(_decode(protected))
        (der,) = signature["header"]["x5c"]
        key = x509.load_der_x509_certificate(base64.b64decode(der, validate=True)).public_key()
        value = _decode(signature["signature"])
        vcon = json.loads(_decode(payload))
        claimed, own = signature["header"]["uuid"], vcon["uuid"]
        bound = head["x5t#S256"] == _encode(hashlib.sha256(base64.b64decode(der)).digest())
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, UnsupportedAlgorithm):
        raise BundleInvalid("this is no vCon that a consent gateway has signed, or it was damaged") from None
    if head.get("alg") != "EdDSA" or head.keys() != {"alg", "x5t#S256"}:
        raise BundleInvalid("the signature's protected header is not as a consent gateway writes it")
    if not isinstance(key, Ed25519PublicKey) or key.public_bytes_raw() != verifier.public or not bound:
        raise BundleInvalid(f"the certificate is not that of {verifier.label}: a wrong key, or it was exchanged")
    try:
        verifier.check(f"{protected}.{payload}".encode(), value)
        spelled = canonical.dump(vcon)
    except (CheckpointInvalid, EntryInvalid):
        raise BundleInvalid("the vCon's signature does not fit: it was changed after it was signed") from None
    if claimed != own or _encode(spelled) != payload:
        raise BundleInvalid("the uuid beside the signature is not that of the signed vCon, or it is not canonical")
    return dict(vcon)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Strict base64url without padding. Raises `ValueError` for any other spelling."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(data) != text:
        raise ValueError("not base64url")
    return data
