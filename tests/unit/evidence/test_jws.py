"""The signed form against verifiers that share no code with the gateway, and against forgers."""

import base64
import hashlib
import json
import warnings
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws as josejws
from joserfc.jwk import OKPKey
from joserfc.registry import HeaderParameter

from gateway.evidence.checkpoint import Signer, Verifier
from gateway.evidence.errors import BundleInvalid
from gateway.evidence.jws import certificate, is_signed, open_signed, sign_vcon
from tests.unit.evidence.stories import ORIGIN, SIGNER
from tests.unit.evidence.test_vcon import others, vcon_of


def signed(story: str = "granted") -> dict[str, Any]:
    return dict(json.loads(sign_vcon(vcon_of(story), SIGNER)))


def b64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_signature_holds_for_a_verifier_made_of_json_and_cryptography() -> None:
    """RFC 7515, section 5.2, by hand: the key from x5c, the bytes before the dot and after it."""
    body = signed()
    assert body.keys() == {"payload", "signatures"}
    (signature,) = body["signatures"]
    assert signature.keys() == {"protected", "header", "signature"}
    protected = json.loads(b64(signature["protected"]))
    der = base64.b64decode(signature["header"]["x5c"][0])
    found = x509.load_der_x509_certificate(der)
    key = found.public_key()
    assert isinstance(key, Ed25519PublicKey)
    key.verify(b64(signature["signature"]), f"{signature['protected']}.{body['payload']}".encode())
    assert protected == {
        "alg": "EdDSA",
        "x5t#S256": base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode()[:-1],
    }
    assert protected.keys().isdisjoint(signature["header"]), "RFC 7515, section 4"
    assert signature["header"]["uuid"] == json.loads(b64(body["payload"]))["uuid"]
    assert key.public_bytes_raw() == SIGNER.verifier.public
    found.verify_directly_issued_by(found)


def test_the_signature_holds_for_a_jose_library() -> None:
    body = signed()
    public = base64.urlsafe_b64encode(SIGNER.verifier.public).decode().rstrip("=")
    key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": public})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = josejws.deserialize_json(body, key, algorithms=["EdDSA"], registry=registry())
    assert json.loads(read.payload) == vcon_of()


def registry() -> Any:
    extra = {"uuid": HeaderParameter("UUID of the vCon", "str")}
    return josejws.JWSRegistry(header_registry=extra, algorithms=["EdDSA"])


def test_the_certificate_is_always_the_same_and_never_ends() -> None:
    found = x509.load_der_x509_certificate(certificate(SIGNER))
    assert certificate(SIGNER) == certificate(SIGNER)
    assert found.not_valid_after_utc.year == 9999 and found.subject.rfc4514_string() == f"CN={ORIGIN}"
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gateway.example"]


@pytest.mark.parametrize("name", ["node-1", "x" * 255, "ü/log", "UPPER.example/log"])
def test_every_name_a_log_can_have_fits_a_certificate(name: str) -> None:
    x509.load_der_x509_certificate(certificate(Signer(name, SIGNER._key)))


def test_a_signature_does_not_move() -> None:
    """To another vCon, another key, another certificate, another uuid, another algorithm."""
    good = signed()

    def refused(**edits: Any) -> None:
        body = json.loads(json.dumps(good))
        body["payload"] = edits.pop("payload", body["payload"])
        body["signatures"][0]["header"] |= edits.pop("header", {})
        body["signatures"][0] |= edits
        with pytest.raises(BundleInvalid):
            open_signed(json.dumps(body).encode(), SIGNER.verifier)

    other = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
    again = Signer("other.example/log", SIGNER._key)
    refused(payload=signed("refused")["payload"])
    refused(header={"x5c": [base64.b64encode(certificate(other)).decode()]})
    refused(header={"x5c": [base64.b64encode(certificate(again)).decode()]})
    refused(header={"uuid": "019f15a6-a752-826f-b9a2-279e0d16bc46"})
    refused(protected=base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("="))
    refused(signature=good["signatures"][0]["signature"][:-2] + "AA")
    with pytest.raises(BundleInvalid, match="wrong key"):
        open_signed(json.dumps(good).encode(), Verifier(ORIGIN, other.verifier.public))


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b'{"payload":1,"signatures":[]}', b'{"payload":', b"[" * 9_999]
)
def test_what_is_not_signed_is_refused(data: bytes) -> None:
    with pytest.raises(BundleInvalid):
        open_signed(data, SIGNER.verifier)


def test_the_forms_are_told_apart_by_their_members() -> None:
    assert is_signed(signed()) and not is_signed(vcon_of())


def test_every_changed_byte_of_a_signed_vcon_is_found() -> None:
    data = sign_vcon(vcon_of("refused"), SIGNER)
    for place in range(0, len(data) - 1, 97):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(BundleInvalid):
            open_signed(changed, SIGNER.verifier)


def test_a_reader_from_pypi_verifies_it() -> None:
    """vcon 0.9.6 takes the key as PEM, and its algorithm from the protected header."""
    public = Ed25519PublicKey.from_public_bytes(SIGNER.verifier.public)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = signed()
    assert others().Vcon.build_from_json(json.dumps(body)).verify(pem)
    body["payload"] = signed("refused")["payload"]
    assert not others().Vcon.build_from_json(json.dumps(body)).verify(pem)
