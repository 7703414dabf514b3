"""`evidence anchor`, `export --anchored` and `verify --anchors`, from the log to the word of an authority and back."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from gateway.cli.drill_log import story
from tests.support.authority import REJECTED, Authority, AuthorityServer, openssl
from tests.support.witness import Cosigner, WitnessServer
from tests.unit.cli.test_commands import config as config
from tests.unit.cli.test_commands import run

CALL = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
LATER = "01ARZ3NDEKTSV4RRFFQ69G5FAW"


def add(var: Path, call: str) -> None:
    async def work() -> None:
        log = SqliteEvidenceLog(var / "evidence.db", var / "keys", "consent-gateway/local")
        for kind, facts in story():
            await log.append(call, kind, facts, {"caller_name": "Ada"} if kind == "call.arrived" else {})
        await log.aclose()

    asyncio.run(work())


@pytest.fixture
def var(config: Path) -> Path:
    folder = config.parent / "var"
    add(folder, CALL)
    (folder.parent / "worm").mkdir()
    return folder


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: Authority) -> Iterator[AuthorityServer]:
    made = AuthorityServer(authority)
    yield made
    made.close()


@pytest.fixture
def configured(config: Path, var: Path, authority: Authority, server: AuthorityServer) -> Path:
    config.write_text(
        config.read_text() + f'[evidence.anchors]\nfolder = "{var.parent / "worm"}"\n'
        f'[[evidence.anchors.tsa]]\nurl = "{server.url}"\ncertificates = "{authority.ca_file}"\n'
    )
    return config


def test_a_head_is_anchored_and_a_bundle_proves_its_time(
    configured: Path, var: Path, authority: Authority, server: AuthorityServer, tmp_path: Path
) -> None:
    said = run("evidence", "anchor", "--config", configured)
    assert said.code == 0, said.err
    assert "folder: written to" in said.out and "tsa: stamped by Test authority tsa: it existed before 20" in said.out
    anchors = var / "keys" / "anchors"
    assert sorted(path.name for path in anchors.iterdir()) == ["10.checkpoint", "10.tsa.tsr"]
    assert [path.name for path in (var.parent / "worm").iterdir()] == ["consent-gateway%2Flocal-10.checkpoint"]
    files = ["-data", f"{anchors}/10.checkpoint", "-in", f"{anchors}/10.tsa.tsr", "-CAfile", str(authority.ca_file)]
    assert "Verification: OK" in openssl("ts", "-verify", *files)

    again = run("evidence", "anchor", "--json", "--config", configured)
    assert again.code == 0 and len(server.asked) == 1, "a head that is stamped is not stamped again"
    assert [item["anchor"] for item in again.json["anchors"]] == ["folder", "tsa"] and again.json["size"] == 10

    add(var, LATER)
    bundle, key = tmp_path / "call.json", var / "keys" / "log.pub"
    assert run("evidence", "export", CALL, "--anchored", "--out", bundle, "--config", configured).code == 0
    good = ["evidence", "verify", bundle, "--key", key, "--anchors", anchors, "--tsa-certs", authority.ca_file]
    said = run(*good)
    assert said.code == 0 and "proven: the checkpoint, and so every entry here, existed before 20" in said.out
    assert "NOT proven: that everybody is shown the same log: only who keeps the anchors" in said.out
    assert "no time stamping authority has confirmed" not in said.out
    assert any("existed before" in line for line in run(*good, "--json").json["proven"])
    assert "--tsa-certs" in run("evidence", "verify", bundle, "--key", key, "--anchors", anchors).out
    assert run("evidence", "verify", bundle, "--key", key, "--anchors", var.parent / "worm").code == 0
    vcon = tmp_path / "call.vcon"
    assert run("evidence", "convert", bundle, "--format", "vcon", "--key", key, "--out", vcon).code == 0
    assert "existed before" in run("evidence", "verify", vcon, *good[3:]).out


def test_a_call_that_no_anchor_covers_yet_is_told(configured: Path, var: Path, tmp_path: Path) -> None:
    assert run("evidence", "anchor", "folder", "--config", configured).code == 0
    add(var, LATER)
    out = tmp_path / "later.json"
    said = run("evidence", "export", LATER, "--anchored", "--out", out, "--config", configured)
    assert said.code == 1 and "consent-gateway evidence anchor, then try again" in said.err and not out.exists()
    assert run("evidence", "anchor", "folder", "--config", configured).code == 0
    assert run("evidence", "export", LATER, "--anchored", "--out", out, "--config", configured).code == 0


def test_a_bundle_that_hangs_on_another_head_says_so(configured: Path, var: Path, tmp_path: Path) -> None:
    run("evidence", "anchor", "folder", "--config", configured)
    add(var, LATER)
    out, anchors = tmp_path / "call.json", var / "keys" / "anchors"
    run("evidence", "export", CALL, "--out", out, "--config", configured)
    said = run("evidence", "verify", out, "--key", var / "keys" / "log.pub", "--anchors", anchors)
    assert said.code == 0 and "NOT proven: anything by anchors: they are of other states of the log" in said.out


def test_a_lie_in_an_anchor_is_an_error(configured: Path, var: Path, authority: Authority, tmp_path: Path) -> None:
    assert run("evidence", "anchor", "--config", configured).code == 0
    bundle, anchors = tmp_path / "call.json", var / "keys" / "anchors"
    assert run("evidence", "export", CALL, "--anchored", "--out", bundle, "--config", configured).code == 0
    stamp = anchors / "10.tsa.tsr"
    data = stamp.read_bytes()
    stamp.chmod(0o644)
    stamp.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    arguments = ["evidence", "verify", bundle, "--key", var / "keys" / "log.pub", "--anchors", anchors]
    said = run(*arguments, "--tsa-certs", authority.ca_file)
    assert said.code == 1 and said.err.startswith("NOT VALID: 10.tsa.tsr: the time stamp proves nothing")
    said = run(*arguments, "--tsa-certs", authority.ca_file, "--json")
    assert said.code == 1 and said.json["verified"] is False
    said = run(*arguments, "--tsa-certs", bundle)
    assert said.code == 1 and "PEM" in said.err


def test_a_restored_backup_is_told_by_the_write_once_folder_and_by_fsck(configured: Path, var: Path) -> None:
    """Database, key and signed head are put back together: nothing in them contradicts anything."""
    shutil.copytree(var, var.parent / "backup")
    add(var, LATER)
    assert run("evidence", "anchor", "folder", "--config", configured).code == 0
    anchors = var.parent / "anchors"
    shutil.copytree(var / "keys" / "anchors", anchors)
    shutil.rmtree(var)
    shutil.copytree(var.parent / "backup", var)
    assert run("evidence", "fsck", "--config", configured).code == 0
    said = run("evidence", "anchor", "folder", "--config", configured)
    assert said.code == 1 and "has the log with 20 entries, now it has 10" in said.err and "restored" in said.err
    shutil.copytree(anchors, var / "keys" / "anchors")
    said = run("evidence", "fsck", "--config", configured)
    assert said.code == 1 and "the anchor 20.checkpoint: has the log with 20 entries" in said.err


def test_an_older_head_is_told_by_an_anchor(configured: Path, var: Path) -> None:
    older = (var / "keys" / "log.head").read_bytes()
    add(var, LATER)
    assert run("evidence", "anchor", "folder", "--config", configured).code == 0
    (var / "keys" / "log.head").write_bytes(older)
    said = run("evidence", "fsck", "--config", configured)
    assert said.code == 1 and "the signed head only 10: the head was put back to an older one" in said.err


def test_what_is_out_of_reach_is_3_and_what_refuses_is_1(configured: Path, var: Path, server: AuthorityServer) -> None:
    (var.parent / "worm").rmdir()
    said = run("evidence", "anchor", "--config", configured)
    assert (
        said.code == 3 and "folder: " in said.err and "is the disk mounted" in said.err and "tsa: stamped" in said.out
    )
    server.answers.append((200, "application/timestamp-reply", REJECTED))
    add(var, LATER)
    said = run("evidence", "anchor", "tsa", "--config", configured)
    assert said.code == 1 and said.err == "tsa: the authority rejected the request: not today!\n"


def test_anchors_may_be_named_on_the_command_line(
    config: Path, var: Path, authority: Authority, server: AuthorityServer
) -> None:
    said = run("evidence", "anchor", "--folder", var.parent / "worm", "--config", config)
    assert said.code == 0 and "folder: written" in said.out and server.asked == []
    said = run("evidence", "anchor", "--tsa", server.url, "--tsa-certs", authority.ca_file, "--config", config)
    assert said.code == 0 and "tsa: stamped by" in said.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to anchor to: name --folder, --tsa or --witness, or write [evidence.anchors]"),
        (["tsa"], "no anchor is called tsa; there is none"),
        (["--tsa", "http://tsa.example/"], "--tsa and --tsa-certs go together"),
        (["--tsa", "tsa.example", "--tsa-certs", "x.pem"], "an address such as http://"),
        (["--witness", "http://w.example/"], "--witness and --witness-key go together"),
        (["--witness", "w.example", "--witness-key", "x"], "an address such as http://"),
        (["--witness", "http://w.example/", "--witness-key", "x"], "key of witness: a witness's key has the form"),
        (["--tsa", "http://tsa.example/", "--tsa-certs", "/nowhere.pem"], "/nowhere.pem: No such file"),
    ],
)
def test_wrong_usage_says_what_to_do(config: Path, var: Path, arguments: list[str], words: str) -> None:
    said = run("evidence", "anchor", *arguments, "--config", config)
    assert said.code == 2 and words in " ".join(said.err.split()), said.err


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("every_minutes = 5", "every_minutes needs something to anchor to"),
        ('[[evidence.anchors.tsa]]\nurl = "ftp://x"\ncertificates = "x"', "evidence.anchors.tsa.0.url"),
        ('[[evidence.anchors.tsa]]\nurl = "http://x"\ncertificates = "x"\nname = "folder"', "a `name` of its own"),
        (
            '[[evidence.anchors.tsa]]\nurl = "http://x"\ncertificates = "x"\nname = "../x"',
            "evidence.anchors.tsa.0.name",
        ),
    ],
)
def test_a_wrong_configuration_is_named(config: Path, var: Path, lines: str, words: str) -> None:
    head = "" if lines.startswith("[[") else "[evidence.anchors]\n"
    config.write_text(f"{config.read_text()}{head}{lines}\n")
    said = run("evidence", "anchor", "--config", config)
    assert said.code == 2 and words in said.err, said.err


def test_a_head_that_is_not_the_key_s_is_not_anchored(configured: Path, var: Path, server: AuthorityServer) -> None:
    head = var / "keys" / "log.head"
    head.write_text(head.read_text().replace("\n10\n", "\n11\n"))
    said = run("evidence", "anchor", "--config", configured)
    assert said.code == 3 and "is not what the log's key signed" in said.err and "fsck" in said.err
    assert server.asked == [] and list((var.parent / "worm").iterdir()) == []
    head.unlink()
    assert run("evidence", "anchor", "--config", configured).code == 3


def test_it_anchors_beside_a_gateway_that_has_the_log_open(configured: Path, var: Path) -> None:
    log = SqliteEvidenceLog(var / "evidence.db", var / "keys", "consent-gateway/local")
    try:
        assert run("evidence", "anchor", "folder", "--config", configured).code == 0
    finally:
        log.close()


def test_stamps_are_not_asked_for_without_anchors(tmp_path: Path) -> None:
    said = run("evidence", "verify", "x", "--tsa-certs", "y")
    assert said.code == 2 and "--anchors" in said.err


def test_the_drill_tries_a_real_stamp_on_another_checkpoint(configured: Path, var: Path) -> None:
    said = run("evidence", "drill", "--json", "--config", configured)
    assert said.code == 0 and said.json["not_tried"] == ["the time stamp of another checkpoint"]
    assert run("evidence", "anchor", "tsa", "--config", configured).code == 0
    said = run("evidence", "drill", "--json", "--config", configured)
    assert said.code == 0 and said.json["not_tried"] == []
    (found,) = (item for item in said.json["damages"] if item["damage"] == "the time stamp of another checkpoint")
    assert found["found"] and found["words"][0].endswith("the time stamp is of something else than this checkpoint")


def test_a_witness_has_seen_it(config: Path, var: Path, tmp_path: Path) -> None:
    server = WitnessServer((var / "keys" / "log.pub").read_text())
    try:
        named = ["--witness", server.url, "--witness-key", server.cosigner.line]
        said = run("evidence", "anchor", *named, "--config", config)
        assert said.code == 0 and "witness: seen by witness witness.example/w1 at 20" in said.out, said.err
        assert run("evidence", "anchor", *named, "--config", config).code == 0 and len(server.asked) == 1
        add(var, LATER)
        assert run("evidence", "anchor", *named, "--config", config).code == 0
        assert server.heads["consent-gateway/local"][0] == 20
    finally:
        server.close()
    anchors, key = var / "keys" / "anchors", var / "keys" / "log.pub"
    assert sorted(path.name for path in anchors.glob("*.cosigned")) == ["10.witness.cosigned", "20.witness.cosigned"]
    assert run("evidence", "fsck", "--config", config).code == 0
    bundle, line = tmp_path / "call.json", tmp_path / "witness.pub"
    line.write_text(f"{server.cosigner.line}\n")
    assert run("evidence", "export", CALL, "--anchored", "--out", bundle, "--config", config).code == 0
    verify = ["evidence", "verify", bundle, "--key", key, "--anchors", anchors]
    said = run(*verify, "--witness", line)
    assert said.code == 0 and "was seen by witness witness.example/w1 at 20" in said.out
    assert "the same log: who relies on the same witnesses is" in said.out
    assert "name their keys (--witness)" in run(*verify).out
    stranger = Cosigner("another.example", b"x").line
    assert "seen by" not in run(*verify, "--witness", stranger).out

    proof, entry = tmp_path / "p.tlog-proof", tmp_path / "entry"
    run("evidence", "proof", LATER, "--anchored", "-o", proof, "--entry-data", entry, "--config", config)
    check = ["evidence", "verify-proof", proof, "--entry-data", entry, "--key", key]
    assert "its head was seen by witness witness.example/w1 at 20" in run(*check, "--witness", line).out
    assert "seen by" not in run(*check).out
    moved = (anchors / "20.witness.cosigned").read_text().splitlines()[-1]
    proof.write_text(proof.read_text().replace(moved, (anchors / "10.witness.cosigned").read_text().splitlines()[-1]))
    said = run(*check, "--witness", line)
    assert said.code == 1 and "does not fit the checkpoint and its time" in said.err

    lie = anchors / "20.witness.cosigned"
    text = lie.read_text().replace(moved, (anchors / "10.witness.cosigned").read_text().splitlines()[-1])
    lie.unlink()
    lie.write_text(text)
    said = run(*verify, "--witness", line)
    assert said.code == 1 and "20.witness.cosigned: the line of witness" in said.err, "a lie about another head too"
