"""How our client proves who it is, and to whom it never would."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.adapters.asterisk.ami import transport
from gateway.ports.manager import LoginRefused, Unreachable
from tests.support.ami_server import SECRET
from tests.support.manager_rigs import scene, server_at

LONG_S = 30.0


async def test_the_secret_never_goes_out_with_md5() -> None:
    async with scene() as (server, client, _):
        await client.connected(LONG_S)
        [login] = server.all_heard("Login")
        assert [key for key, _ in login.pairs] == ["ActionID", "Username", "AuthType", "Key"]
        assert SECRET not in str(server.heard)


@pytest.mark.parametrize(("auth", "step"), [("md5", "Challenge"), ("plain", "Login")])
async def test_a_server_that_is_shutting_down_is_away_and_has_not_refused_the_secret(auth: str, step: str) -> None:
    async with scene({"auth": auth}) as (server, client, seen):
        await client.connected(LONG_S)
        server.shutting_down = True
        server.cut()
        await seen.until(lambda: len(seen.states) >= 2)
        await server.until_heard(step, 3)
        assert isinstance(client.state.problem, Unreachable), client.state.problem
        server.shutting_down = False
        await client.connected(LONG_S)


async def test_a_plain_login_goes_to_loopback() -> None:
    async with scene({"auth": "plain"}) as (server, client, _):
        await client.connected(LONG_S)
        assert server.all_heard("Login")[0].get("Secret") == SECRET
        assert server.all_heard("Challenge") == []


async def test_a_plain_login_goes_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "is_loopback", lambda _: False)
    async with scene({"auth": "plain"}) as (server, client, _):
        with pytest.raises(LoginRefused, match="set auth to md5, or use TLS"):
            await client.connected(LONG_S)
        assert server.heard == []


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *(("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::1%lo", True)),
        *(("10.0.0.1", False), ("::2", False), ("localhost", False), ("", False)),
    ],
)
def test_loopback_is_told_by_the_address(host: str, loopback: bool) -> None:
    assert transport.is_loopback(host) is loopback


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pbx1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    shown, kept = folder / "cert.pem", folder / "key.pem"
    shown.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kept.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return shown, kept


async def test_over_tls_a_plain_login_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "is_loopback", lambda _: False)
    shown, kept = certificate(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(shown, kept)
    trusting = ssl.create_default_context(cafile=str(shown))
    async with scene({"auth": "plain", "tls": trusting}, tls=serving) as (server, client, seen):
        await client.connected(LONG_S)
        assert server.all_heard("Login")[0].get("Secret") == SECRET
        server.emit("Hangup")
        await seen.until(lambda: bool(seen.events))


async def test_a_certificate_nobody_vouches_for_is_no_connection(tmp_path: Path) -> None:
    shown, kept = certificate(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(shown, kept)
    async with scene({"tls": ssl.create_default_context()}, tls=serving) as (server, _, seen):
        await seen.until(lambda: bool(seen.states))
        assert "SSLCertVerificationError" in str(seen.states[0].problem)
        assert server.heard == []


def test_the_secret_is_in_no_repr() -> None:
    assert SECRET not in repr(server_at(5038))
