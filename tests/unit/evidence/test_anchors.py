"""A folder of anchors: what it proves about a bundle, what it holds against a log, and that no lie in it passes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.evidence import merkle
from gateway.evidence.anchors import contradictions, first_covering, hear_anchors, read_anchors
from gateway.evidence.bundle import CLOCK_ONLY, SAME_LOG, Report, verify_bundle
from gateway.evidence.checkpoint import Checkpoint, Signer, sign_checkpoint
from gateway.evidence.errors import AnchorInvalid
from gateway.evidence.timestamp import build_request, read_certificates
from tests.support.authority import Authority
from tests.support.heads import head_of, leaves_of
from tests.support.witness import Cosigner
from tests.unit.evidence.stories import KEY, ORIGIN, SIGNER, bundle_of, node_of

BUNDLE = bundle_of()


@pytest.fixture(scope="module")
def report() -> Report:
    return verify_bundle(BUNDLE, KEY)


@pytest.fixture(scope="module")
def note(report: Report) -> str:
    """The note the bundle hangs on: Ed25519 signs the same bytes the same way."""
    return sign_checkpoint(report.checkpoint, SIGNER)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stamp(authority: Authority, note: str) -> bytes:
    return authority.reply(build_request(note, 5))


@pytest.fixture(scope="module")
def certificates(authority: Authority) -> list[x509.Certificate]:
    return read_certificates(authority.ca_file.read_bytes())


def said(report: Report, files: Mapping[str, bytes], certificates: Sequence[x509.Certificate] = ()) -> tuple[str, str]:
    """Return what is proven and what is not, beyond what the bundle proves by itself."""
    told = hear_anchors(report, read_anchors(files, SIGNER.verifier), certificates)
    more = set(told.proven) - set(report.proven), set(told.not_proven) - set(report.not_proven)
    assert set(report.proven) <= set(told.proven)
    return "\n".join(sorted(more[0])), "\n".join(sorted(more[1]))


def file(size: int, name: str = "") -> str:
    return f"{size}.{name}.tsr" if name else f"{size}.checkpoint"


def test_a_stamp_says_before_when(
    report: Report, note: str, stamp: bytes, certificates: list[x509.Certificate]
) -> None:
    size = report.checkpoint.size
    files = {file(size): note.encode(), file(size, "tsa"): stamp}
    proven, gaps = said(report, files, certificates)
    assert "every entry here, existed before 20" in proven and "on the word of Test authority tsa (policy 1.3" in proven
    assert f"the one kept as {size}.checkpoint" in proven
    assert "the stamp says that they are not later" in gaps
    told = hear_anchors(report, read_anchors(files, SIGNER.verifier), certificates)
    assert CLOCK_ONLY not in told.not_proven and SAME_LOG not in told.not_proven
    assert CLOCK_ONLY in report.not_proven and SAME_LOG in report.not_proven


def test_without_the_authority_s_certificates_a_stamp_is_not_believed(report: Report, note: str, stamp: bytes) -> None:
    size = report.checkpoint.size
    proven, gaps = said(report, {file(size): note.encode(), file(size, "tsa"): stamp})
    assert "existed before" not in proven and "--tsa-certs" in gaps


def test_a_note_of_a_write_once_folder_counts_as_one(report: Report, note: str) -> None:
    name = f"gateway.example%2Flog-{report.checkpoint.size}.checkpoint"
    assert f"is the one kept as {name}" in said(report, {name: note.encode(), "readme.txt": b"hello"})[0]


def test_anchors_of_other_states_say_nothing_of_this_bundle(report: Report) -> None:
    proven, gaps = said(report, {file(5): head_of(leaves_of(5)).note.encode()})
    assert proven == "" and "other states of the log (such as 5 entries)" in gaps and "--anchored" in gaps
    assert "no checkpoint of this log" in said(report, {})[1]


def test_notes_of_another_log_are_left_aside(report: Report) -> None:
    other = Signer("elsewhere.example/log", Ed25519PrivateKey.generate())
    foreign = sign_checkpoint(Checkpoint("elsewhere.example/log", 5, bytes(32)), other)
    assert "no checkpoint of this log" in said(report, {"elsewhere-5.checkpoint": foreign.encode()})[1]


def _signed(size: int, root: bytes = bytes(32), signer: Signer = SIGNER) -> bytes:
    return sign_checkpoint(Checkpoint(ORIGIN, size, root), signer).encode()


LIES = {
    "another key": ({"5.checkpoint": _signed(5, signer=Signer(ORIGIN, Ed25519PrivateKey.generate()))}, "not signed by"),
    "a changed note": ({"5.checkpoint": _signed(5).replace(b"\n5\n", b"\n6\n")}, "does not fit the text"),
    "no text": ({"5.checkpoint": b"\xff"}, "5.checkpoint is no checkpoint of this log: no text"),
    "an empty note": ({"5.checkpoint": b""}, "5.checkpoint is no checkpoint"),
    "a renamed note": ({"6.checkpoint": _signed(5)}, "was renamed"),
    "two histories": ({"5.checkpoint": _signed(5), "x-5.checkpoint": _signed(5, b"x" * 32)}, "the log was forked"),
    "another key under a witness's line": (
        {"5.w.cosigned": _signed(5, signer=Signer(ORIGIN, Ed25519PrivateKey.generate()))},
        "5.w.cosigned is no checkpoint of this log",
    ),
    "another history a witness saw": (
        {"5.checkpoint": _signed(5), "5.w.cosigned": _signed(5, b"x" * 32)},
        "the log was forked",
    ),
    "a renamed cosigned note": ({"6.w.cosigned": _signed(5)}, "was renamed"),
    "a stamp beside a cosigned note alone": ({"5.w.cosigned": _signed(5), "5.tsa.tsr": b""}, "which is not there"),
    "a stamp of nothing": ({"5.tsa.tsr": b""}, "5.tsa.tsr stamps 5.checkpoint, which is not there"),
}


@pytest.mark.parametrize("kind", LIES)
def test_a_lie_is_an_error(kind: str) -> None:
    files, words = LIES[kind]
    with pytest.raises(AnchorInvalid, match=words):
        read_anchors(files, SIGNER.verifier)


def test_another_history_than_the_bundle_s_is_an_error(report: Report) -> None:
    size = report.checkpoint.size
    with pytest.raises(AnchorInvalid, match="the key has signed two"):
        said(report, {file(size): _signed(size)})


@pytest.mark.parametrize("size", [5, 0])
def test_a_lying_stamp_of_any_checkpoint_is_an_error(
    report: Report, note: str, stamp: bytes, certificates: list[x509.Certificate], size: int
) -> None:
    """Size 0 stands for the bundle's own."""
    other = {file(5): head_of(leaves_of(5)).note.encode(), file(5, "tsa"): stamp}
    own = {file(report.checkpoint.size): note.encode(), file(report.checkpoint.size, "tsa"): stamp[:-1] + b"\0"}
    with pytest.raises(AnchorInvalid, match=r"^\d+\.tsa\.tsr: the time stamp"):
        said(report, other if size else own, certificates)


def test_a_foreign_authority_is_an_error(
    report: Report, note: str, tmp_path: Path, certificates: list[x509.Certificate]
) -> None:
    size = report.checkpoint.size
    foreign = Authority(tmp_path).reply(build_request(note, 5))
    with pytest.raises(AnchorInvalid, match="do not vouch"):
        said(report, {file(size): note.encode(), file(size, "tsa"): foreign}, certificates)


def test_the_first_head_that_covers_a_call_is_chosen_a_stamped_one_before_others() -> None:
    files = {file(size): head_of(leaves_of(size)).note.encode() for size in (3, 5, 9, 12)}
    anchors = read_anchors(files, SIGNER.verifier)
    assert [item.checkpoint.size for item in anchors] == [3, 5, 9, 12]
    chosen = [first_covering(anchors, size) for size in (1, 3, 4, 12, 13)]
    assert [item and item.checkpoint.size for item in chosen] == [3, 3, 5, 12, None]
    stamped = read_anchors({**files, file(9, "tsa"): b""}, SIGNER.verifier)
    found = first_covering(stamped, 4)
    assert found is not None and found.checkpoint.size == 9


def test_what_anchors_hold_against_a_log() -> None:
    leaves = leaves_of(20)
    anchors = read_anchors({file(size): head_of(leaves[:size]).note.encode() for size in (0, 5, 12)}, SIGNER.verifier)

    def held(size: int, head: int, changed: int | None = None) -> list[tuple[str, str]]:
        now = leaves_of(size, changed=changed)
        node = node_of(now)
        signed = head_of(now[:head]).checkpoint
        return list(contradictions(anchors, size, signed, lambda at: merkle.root_at(at, node)))

    assert held(20, 20) == held(12, 12) == []
    assert [name for name, _ in held(20, 20, changed=3)] == ["5.checkpoint", "12.checkpoint"]
    assert [name for name, _ in held(20, 20, changed=7)] == ["12.checkpoint"]
    assert held(20, 8) == [
        ("12.checkpoint", "has 12 entries, the signed head only 8: the head was put back to an older one")
    ]
    ((name, words),) = held(11, 11)
    assert name == "12.checkpoint" and "cut short or restored" in words


def test_lines_of_several_witnesses_come_together_under_one_note() -> None:
    note = head_of(leaves_of(5)).note
    one, two = (Cosigner(name).cosign(note, 1) for name in ("one.example", "two.example"))
    files = {"5.checkpoint": note, "5.a.cosigned": note + one, "5.b.cosigned": note + two + one}
    (found,) = read_anchors({name: text.encode() for name, text in files.items()}, SIGNER.verifier)
    assert found.file == "5.checkpoint" and found.note == note and found.full_note == note + one + two
    (copied,) = read_anchors({"1-5.checkpoint": (note + one).encode(), "5.checkpoint": note.encode()}, SIGNER.verifier)
    assert copied.note == note, "what is stamped is SIZE.checkpoint"
    (alone,) = read_anchors({"5.a.cosigned": (note + one).encode()}, SIGNER.verifier)
    assert alone.full_note == note + one
