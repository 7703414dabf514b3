"""A time stamping authority for tests: certificates made here, stamps by `openssl ts`, oddities by `openssl cms`."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

POLICY = "1.3.6.1.4.1.32473.1"
_TST_INFO = "1.2.840.113549.1.9.16.1.4"

_CONFIGURATION = """
[tsa]
default_tsa = stamps
[stamps]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
certs = {folder}/ca.pem
default_policy = {policy}
digests = sha256, sha512
signer_digest = sha256
{accuracy}
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass(slots=True)
class Authority:
    """Its files in *folder*: `ca.pem`, and `NAME.pem`, `NAME.key` for each certificate issued."""

    folder: Path
    name: str = "Test authority"
    accuracy: str = "accuracy = secs:1, millisecs:500"
    _ca: x509.Certificate = field(init=False)
    _ca_key: ec.EllipticCurvePrivateKey = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca = self._certificate(f"{self.name} CA", self._ca_key, None, ca=True)
        self._write("ca", self._ca, self._ca_key)
        self.issue("tsa")
        text = _CONFIGURATION.format(folder=self.folder, policy=POLICY, accuracy=self.accuracy)
        (self.folder / "ts.cnf").write_text(text)

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def issue(
        self,
        file: str,
        *,
        usage: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.TIME_STAMPING,),
        critical: bool = True,
        days: tuple[int, int] = (-1, 30),
        serial: int = 0,
    ) -> None:
        """Issue a certificate; *days* from today it is valid. *serial*: 0 for one of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._certificate(f"{self.name} {file}", key, (usage, critical), days=days, serial=serial)
        self._write(file, made, key)

    def _certificate(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        usage: tuple[Sequence[x509.ObjectIdentifier], bool] | None,
        *,
        ca: bool = False,
        days: tuple[int, int] = (-400, 400),
        serial: int = 0,
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if ca else self._ca.subject)
            .public_key(key.public_key())
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key()), critical=False
            )
        )
        if usage is not None and usage[0]:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage[0]), critical=usage[1])
        return builder.sign(self._ca_key, hashes.SHA256())

    def _write(self, file: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        (self.folder / f"{file}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (self.folder / f"{file}.key").write_bytes(key.private_bytes(*pem))

    def reply(self, request: bytes, signer: str = "tsa") -> bytes:
        """Return what `openssl ts` answers *request* with."""
        query, answer = self.folder / "query.tsq", self.folder / "answer.tsr"
        query.write_bytes(request)
        files = ["-signer", f"{self.folder}/{signer}.pem", "-inkey", f"{self.folder}/{signer}.key"]
        openssl(
            "ts", "-reply", "-config", f"{self.folder}/ts.cnf", "-queryfile", str(query), *files, "-out", str(answer)
        )
        return answer.read_bytes()

    def statement(self, response: bytes) -> bytes:
        """Return the DER of the TSTInfo inside *response*."""
        answer, token, info = (self.folder / name for name in ("in.tsr", "in.token", "info.der"))
        answer.write_bytes(response)
        openssl("ts", "-reply", "-in", str(answer), "-token_out", "-out", str(token))
        openssl("cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in", str(token), "-out", str(info))
        return info.read_bytes()

    def sign_statement(self, info: bytes, signer: str, *more: str) -> bytes:
        """Return a response around *info*, signed by whatever certificate: `openssl ts` would refuse to."""
        source, token = self.folder / "sign.der", self.folder / "sign.token"
        source.write_bytes(info)
        files = ["-signer", f"{self.folder}/{signer}.pem", "-inkey", f"{self.folder}/{signer}.key"]
        form = ["-sign", "-binary", "-nodetach", "-nosmimecap", "-econtent_type", _TST_INFO, "-outform", "DER"]
        openssl("cms", *form, "-in", str(source), *files, *more, "-out", str(token))
        body = b"\x30\x03\x02\x01\x00" + token.read_bytes()
        return b"\x30\x82" + len(body).to_bytes(2) + body


REJECTED = bytes.fromhex("30133011020102300c0c0a") + b"not today!"
"""A TimeStampResp of status rejection."""


def openssl(*arguments: str) -> str:
    """Run openssl; return what it printed."""
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


class AuthorityServer:
    """The authority behind HTTP on loopback. *answers* (status, type, body) are given instead of stamps, in order."""

    def __init__(self, authority: Authority) -> None:
        self.answers: list[tuple[int, str, bytes]] = []
        self.asked: list[tuple[str, bytes]] = []
        self.delay_s = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.append((self.headers["Content-Type"], body))
                if outer.answers:
                    status, kind, answer = outer.answers.pop(0)
                else:
                    status, kind, answer = 200, "application/timestamp-reply", authority.reply(body)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/stamp"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
