"""`evidence export --format` and `evidence convert`: one bundle, and the forms made from it, by the command line."""

import asyncio
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from tests.unit.cli.test_commands import config as config
from tests.unit.cli.test_commands import run
from tests.unit.evidence.portable import NUMBER, STORIES, VALUES, WORDS, bundle, spoken
from tests.unit.evidence.stories import KEY

CALL = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
FORMS = ("bundle", "vcon", "vcon-signed", "consent-record", "receipt")


async def fill(var: Path, story: str = "spoken") -> None:
    """A log with one call, as the gateway would have written it."""
    log = SqliteEvidenceLog(var / "evidence.db", var / "keys", "consent-gateway/local")
    heard = spoken()[1]
    for seq, (kind, facts) in enumerate(STORIES[story]):
        await log.append(CALL, kind, facts, VALUES if seq == 0 else heard.get(seq))
    await log.aclose()


@pytest.fixture
def var(config: Path) -> Path:
    folder = config.parent / "var"
    asyncio.run(fill(folder))
    return folder


def exported(config: Path, form: str, *more: str) -> bytes:
    out = config.parent / f"{form}.out"
    said = run("evidence", "export", CALL, "--format", form, "--out", out, "--config", config, *more)
    assert said.code == 0, said.err
    return out.read_bytes()


def test_a_bundle_is_what_is_written_when_nothing_is_said(config: Path, var: Path) -> None:
    out = config.parent / "x"
    assert run("evidence", "export", CALL, "--out", out, "--config", config).code == 0
    assert out.read_bytes() == exported(config, "bundle")
    assert b'"consent-gateway-bundle"' in out.read_bytes()


@pytest.mark.parametrize("form", ["bundle", "vcon", "vcon-signed"])
def test_what_was_exported_is_verified_offline(form: str, config: Path, var: Path) -> None:
    exported(config, form)
    said = run("evidence", "verify", config.parent / f"{form}.out", "--key", var / "keys" / "log.pub", "--json")
    assert said.code == 0 and said.json["verified"]
    assert ("who made the vCon" in str(said.json["not_proven"])) is (form == "vcon")


def test_a_changed_vcon_is_not_valid(config: Path, var: Path) -> None:
    for form, part in (("vcon", b'"granted":true'), ("vcon-signed", b'"payload":"e')):
        data = exported(config, form)
        assert part in data
        file = config.parent / "changed"
        file.write_bytes(data.replace(part, b'"granted":false' if form == "vcon" else b'"payload":"f', 1))
        said = run("evidence", "verify", file, "--key", var / "keys" / "log.pub")
        assert said.code == 1 and said.err.startswith("NOT VALID") and len(said.err.splitlines()) == 1


def test_the_forms_agree(config: Path, var: Path) -> None:
    vcon = json.loads(exported(config, "vcon"))
    payload = json.loads(exported(config, "vcon-signed"))["payload"]
    inside = json.loads(base64.urlsafe_b64decode(payload + "=="))
    for one in (vcon, inside):
        del one["updated_at"], one["attachments"][-1]  # the time, and the bundle, whose checkpoint's tree is the same
    assert vcon == inside
    receipt = exported(config, "receipt").decode()
    assert WORDS in receipt and NUMBER in receipt and "You agreed" in receipt
    record = json.loads(exported(config, "consent-record", "--controller", "Example GmbH"))
    assert record["@graph"][0]["dpv:hasDataController"]["dct:title"] == "Example GmbH"


def test_a_receipt_can_be_asked_for_in_another_language(config: Path, var: Path) -> None:
    assert "Sie haben der Aufzeichnung zugestimmt" in exported(config, "receipt", "--language", "de").decode()
    said = run("evidence", "export", CALL, "--format", "receipt", "--party", "nobody", "--config", config)
    assert said.code == 1 and "no party 'nobody'" in said.err


def test_recordings_are_named_where_they_lie(config: Path, var: Path) -> None:
    (var / "recordings").mkdir(exist_ok=True)
    (var / "recordings" / "r1.wav.age").write_bytes(b"sealed")
    data = exported(config, "vcon", "--media-url", "https://archive.example/{recording}?x=1")
    dialog: dict[str, Any] = json.loads(data)["dialog"][0]
    strong = base64.urlsafe_b64encode(hashlib.sha512(b"sealed").digest()).decode().rstrip("=")
    assert dialog["url"] == "https://archive.example/r1?x=1" and dialog["content_hash"][0] == f"sha512-{strong}"
    said = run(
        "evidence", "export", CALL, "--format", "vcon", "--media-url", "http://x/{recording}", "--config", config
    )
    assert said.code == 1 and "no HTTPS URL" in said.err


def test_a_call_whose_entries_lie_gets_no_vcon(config: Path) -> None:
    asyncio.run(fill_with_lies(config.parent / "var"))
    for form in FORMS:
        said = run("evidence", "export", CALL, "--format", form, "--config", config)
        assert said.code == (0 if form == "bundle" else 1), form
        assert form == "bundle" or said.err.startswith("NOT VALID")


async def fill_with_lies(var: Path) -> None:
    log = SqliteEvidenceLog(var / "evidence.db", var / "keys", "consent-gateway/local")
    await log.append(CALL, "call.arrived", {"parties": []})
    await log.aclose()


# --- convert: no log, no configuration --------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A bundle and the log's public key, as a stranger has them."""
    (tmp_path / "log.pub").write_text(f"{KEY}\n")
    (tmp_path / "call.bundle").write_bytes(bundle())
    return tmp_path


def convert(folder: Path, form: str, *more: str | Path) -> Any:
    return run("evidence", "convert", folder / "call.bundle", "--format", form, "--key", folder / "log.pub", *more)


def test_a_stranger_converts_a_bundle(kept: Path) -> None:
    assert convert(kept, "receipt", "--language", "fr").out.startswith("Reçu")
    assert json.loads(convert(kept, "consent-record").out)["@graph"][0]["@type"] == "dpv:ConsentRecord"
    said = convert(kept, "vcon", "--out", kept / "call.vcon", "--json")
    assert said.code == 0 and said.json["size"] == (kept / "call.vcon").stat().st_size
    assert run("evidence", "verify", kept / "call.vcon", "--key", kept / "log.pub").code == 0


def test_a_changed_bundle_is_not_converted(kept: Path) -> None:
    (kept / "call.bundle").write_bytes(bundle().replace(b'"granted"', b'"refused"', 1))
    for form in ("vcon", "consent-record", "receipt"):
        said = convert(kept, form, "--media-url", "https://archive.example/{recording}")
        assert said.code == 1 and said.err.startswith("NOT VALID") and said.out == ""


def test_a_missing_file_is_out_of_reach(kept: Path) -> None:
    (kept / "log.pub").unlink()
    said = convert(kept, "vcon")
    assert said.code == 3 and "log.pub" in said.err and len(said.err.splitlines()) == 1
