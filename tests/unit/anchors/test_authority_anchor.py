"""The time stamping authority over HTTP: a stamp, or a reason in words."""

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.anchors.authority import TimeStampingAuthority
from gateway.evidence.errors import TimestampInvalid
from gateway.evidence.timestamp import read_certificates, read_stamp
from gateway.ports.anchors import AnchorUnavailable
from tests.support.authority import REJECTED, Authority, AuthorityServer
from tests.support.heads import head_of, leaves_of

REPLY = "application/timestamp-reply"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: Authority) -> Iterator[AuthorityServer]:
    made = AuthorityServer(authority)
    yield made
    made.close()


def anchor(authority: Authority, url: str, timeout_s: float = 5.0) -> TimeStampingAuthority:
    certificates = read_certificates(authority.ca_file.read_bytes())
    return TimeStampingAuthority("tsa", url, certificates, timeout_s=timeout_s)


def test_a_head_is_stamped(authority: Authority, server: AuthorityServer) -> None:
    head = head_of(leaves_of(5))
    kept = anchor(authority, server.url).keep(head)
    assert re.fullmatch(r"stamped by Test authority tsa: it existed before 20\S+ \S+ UTC", kept.words)
    assert kept.suffix == ".tsr"
    assert read_stamp(kept.data, head.note, read_certificates(authority.ca_file.read_bytes())).serial
    ((kind, _),) = server.asked
    assert kind == "application/timestamp-query"


def test_each_request_has_a_nonce_of_its_own(authority: Authority, server: AuthorityServer) -> None:
    head, used = head_of(leaves_of(5)), anchor(authority, server.url)
    used.keep(head)
    old = authority.reply(server.asked[0][1])
    server.answers.append((200, REPLY, old))
    with pytest.raises(TimestampInvalid, match="another nonce"):
        used.keep(head)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((302, "text/html", b""), "sends us elsewhere .*configure its final address"),
        ((404, "text/html", b"no such page"), "answers with status 404: is the address right"),
        ((503, REPLY, b""), "answers with status 503"),
        ((200, "text/html", b"<html>Sign in</html>"), "no time stamping authority"),
        ((200, REPLY, bytes(300_000)), "over 262144 bytes"),
    ],
)
def test_an_answer_that_is_no_stamp_is_told(
    authority: Authority, server: AuthorityServer, answer: tuple[int, str, bytes], words: str
) -> None:
    server.answers.append(answer)
    with pytest.raises(AnchorUnavailable, match=words):
        anchor(authority, server.url).keep(head_of(leaves_of(5)))
    assert len(server.asked) == 1


def test_a_refusal_is_told_in_the_authority_s_words(authority: Authority, server: AuthorityServer) -> None:
    server.answers.append((200, REPLY, REJECTED))
    with pytest.raises(TimestampInvalid, match="rejected the request: not today!"):
        anchor(authority, server.url).keep(head_of(leaves_of(5)))


def test_nobody_there_is_told(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    with pytest.raises(AnchorUnavailable, match="refused"):
        anchor(authority, url).keep(head_of(leaves_of(5)))


@pytest.mark.parametrize("drip", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\n\r\n"])
def test_who_answers_too_slowly_is_not_waited_for(authority: Authority, drip: bytes) -> None:
    """Not even when he sends a byte now and then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def answer() -> None:
            connection, _ = server.accept()
            connection.sendall(drip)
            while not over.wait(0.05):
                if drip:
                    connection.sendall(b".")
            connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(AnchorUnavailable, match=r"no answer within 0\.4 s"):
            anchor(authority, f"http://127.0.0.1:{server.getsockname()[1]}/", timeout_s=0.4).keep(head_of(leaves_of(5)))
        over.set()
        thread.join()


def test_an_answer_that_breaks_off_is_told(authority: Authority, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(65_536)
            connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(AnchorUnavailable, match=r"broke off|closed|reset"):
            anchor(authority, f"http://127.0.0.1:{server.getsockname()[1]}/").keep(head_of(leaves_of(5)))
        thread.join()
