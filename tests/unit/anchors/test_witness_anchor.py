"""The witness over HTTP: it learns what it knows, proves growth, and takes a no for what it means."""

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.adapters.anchors.witness import WitnessAnchor
from gateway.evidence.checkpoint import Signer
from gateway.evidence.cosignature import Witness, read_cosignatures
from gateway.evidence.errors import CosignatureInvalid
from gateway.ports.anchors import AnchorUnavailable
from gateway.ports.evidence import ForkDetected
from tests.support.heads import head_of, leaves_of
from tests.support.witness import Cosigner, WitnessServer
from tests.unit.evidence.stories import KEY, ORIGIN


@pytest.fixture
def server() -> Iterator[WitnessServer]:
    made = WitnessServer(KEY)
    yield made
    made.close()


def anchor(server: WitnessServer) -> WitnessAnchor:
    return WitnessAnchor("w", server.url, Witness.parse(server.cosigner.line), timeout_s=5)


def first_lines(server: WitnessServer) -> list[str]:
    return [body.decode().split("\n", 1)[0] for body in server.asked]


def test_a_log_that_grows_is_cosigned_each_time(server: WitnessServer) -> None:
    used, witness = anchor(server), Witness.parse(server.cosigner.line)
    for size in (0, 1, 2, 7, 8, 300, 300, 1_000):
        head = head_of(leaves_of(size))
        kept = used.keep(head)
        assert kept.words.startswith("seen by witness witness.example/w1 at 20") and kept.suffix == ".cosigned"
        assert kept.data.decode().startswith(head.note) and len(read_cosignatures(kept.data.decode(), [witness])) == 1
        assert server.heads[ORIGIN][0] == size
    assert first_lines(server) == [f"old {size}" for size in (0, 0, 1, 2, 7, 8, 300, 300)], "nothing is asked twice"


@pytest.mark.parametrize(("known", "now"), [(5, 9), (9, 9), (1, 300)])
def test_after_a_restart_the_witness_is_asked_what_it_knows_and_once_more(
    server: WitnessServer, known: int, now: int
) -> None:
    anchor(server).keep(head_of(leaves_of(known)))
    anchor(server).keep(head_of(leaves_of(now)))
    assert first_lines(server) == ["old 0", "old 0", f"old {known}"]


@pytest.mark.parametrize("now", [9, 20])
def test_another_history_is_a_fork(server: WitnessServer, now: int) -> None:
    anchor(server).keep(head_of(leaves_of(9)))
    with pytest.raises(ForkDetected, match="has seen another history of this log"):
        anchor(server).keep(head_of(leaves_of(now, changed=4)))


def test_a_log_that_became_shorter_is_a_fork(server: WitnessServer) -> None:
    used = anchor(server)
    used.keep(head_of(leaves_of(9)))
    for again in (used, anchor(server)):
        with pytest.raises(ForkDetected, match="has seen the log with 9 entries, now it has 5"):
            again.keep(head_of(leaves_of(5)))


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([(409, b"many\n")], "but not of which size"),
        ([(409, b"3\n"), (409, b"4\n")], "changed its mind"),
        ([(404, b"")], "does not know this log: have its operator add log.pub"),
        ([(403, b"")], "knows another key of this log"),
        ([(500, b"")], "answers with status 500"),
        ([(200, b"\xff")], "no witness: its answer is no text"),
    ],
)
def test_an_answer_that_is_no_cosignature_is_told(
    server: WitnessServer, answers: list[tuple[int, bytes]], words: str
) -> None:
    server.answers += answers
    with pytest.raises(AnchorUnavailable, match=words):
        anchor(server).keep(head_of(leaves_of(5)))
    assert len(server.asked) == len(answers)


def test_a_line_of_another_witness_is_not_what_was_asked_for(server: WitnessServer) -> None:
    head = head_of(leaves_of(5))
    server.answers.append((200, Cosigner(server.cosigner.name, b"another").cosign(head.note, 1).encode()))
    with pytest.raises(CosignatureInvalid, match="has no line of the witness"):
        anchor(server).keep(head)
    server.answers.append((200, server.cosigner.cosign(head_of(leaves_of(6)).note, 1).encode()))
    with pytest.raises(CosignatureInvalid, match="does not fit the checkpoint"):
        anchor(server).keep(head)


def test_a_real_witness_refuses_a_log_whose_key_it_does_not_know() -> None:
    """Our rig follows the specification there too."""
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    for keys, words in (([], "does not know this log"), ([str(other.verifier)], "knows another key")):
        server = WitnessServer(*keys)
        try:
            with pytest.raises(AnchorUnavailable, match=words):
                anchor(server).keep(head_of(leaves_of(5)))
        finally:
            server.close()
