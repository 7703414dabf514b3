"""A small real witness on loopback, written from C2SP tlog-witness and tlog-cosignature; its checks are its own."""

import base64
import hashlib
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vectors.second_verifier import read_checkpoint, read_key, sha256


class Cosigner:
    """A witness's key, made of *seed*."""

    def __init__(self, name: str = "witness.example/w1", seed: bytes = b"") -> None:
        self.name = name
        self.key = Ed25519PrivateKey.from_private_bytes(sha256(name.encode(), seed))
        self.public = b"\x04" + self.key.public_key().public_bytes_raw()
        self.id = sha256(name.encode(), b"\n", self.public)[:4]

    @property
    def line(self) -> str:
        """The verifier key line."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(self.public).decode()}"

    def cosign(self, note: str, seconds: int) -> str:
        """Return the signature line for the text of *note*."""
        text = note.partition("\n\n")[0] + "\n"
        signed = self.key.sign(f"cosignature/v1\ntime {seconds}\n{text}".encode())
        blob = self.id + seconds.to_bytes(8, "big") + signed
        return f"\u2014 {self.name} {base64.b64encode(blob).decode()}\n"


def consistent(old: int, new: int, proof: list[bytes], old_root: bytes, new_root: bytes) -> bool:
    """RFC 6962 section 2.1.2 read backwards: the last hash joins the halves of the whole tree."""
    rest = list(proof)

    def roots(old: int, new: int, whole: bool) -> tuple[bytes, bytes]:
        if old == new:
            known = old_root if whole else rest.pop()
            return known, known
        half = 1 << ((new - 1).bit_length() - 1)
        sibling = rest.pop()
        if old <= half:
            before, after = roots(old, half, whole)
            return before, sha256(b"\x01", after, sibling)
        before, after = roots(old - half, new - half, False)
        return sha256(b"\x01", sibling, before), sha256(b"\x01", sibling, after)

    try:
        return roots(old, new, True) == (old_root, new_root) and not rest
    except IndexError:
        return False


class WitnessServer:
    """`add-checkpoint` for the logs of *keys* (verifier key lines). *answers* (status, body) go before its own."""

    def __init__(self, *keys: str, cosigner: Cosigner | None = None) -> None:
        self.cosigner = cosigner or Cosigner()
        self.keys = {read_key(line)[0]: read_key(line) for line in keys}
        self.heads: dict[str, tuple[int, bytes]] = {}
        self.asked: list[bytes] = []
        self.answers: list[tuple[int, bytes]] = []
        self._lock = Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.append(body)
                with outer._lock:
                    status, answer = outer.answers.pop(0) if outer.answers else outer.add_checkpoint(self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", "text/x.tlog.size" if status == 409 else "text/plain")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/submit"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def add_checkpoint(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer one request as the specification has it."""
        if path != "/submit/add-checkpoint":
            return 404, b""
        try:
            head, note = body.decode().split("\n\n", 1)
            first, *lines = head.split("\n")
            word, number = first.split(" ")
            old, proof = int(number), [base64.b64decode(line, validate=True) for line in lines]
            origin, shown = note.split("\n")[:2]
            if word != "old" or str(old) != number or len(proof) > 63 or old > int(shown):
                return 400, b""
        except ValueError:
            return 400, b""
        if origin not in self.keys:
            return 404, b""
        try:
            size, root = read_checkpoint(note, self.keys[origin])
        except (AssertionError, InvalidSignature):
            return 403, b""
        known, known_root = self.heads.get(origin, (0, b""))
        if old != known:
            return 409, f"{known}\n".encode()
        if size == 0 and root != hashlib.sha256(b"").digest():
            return 422, b""
        if old == 0:
            good = not proof
        elif old == size:
            good = not proof and root == known_root
        else:
            good = consistent(old, size, proof, known_root, root)
        if not good:
            return 422, b""
        self.heads[origin] = (size, root)
        others = Cosigner("somebody.else").cosign(note, 1)
        return 200, (others + self.cosigner.cosign(note, int(time.time()))).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
