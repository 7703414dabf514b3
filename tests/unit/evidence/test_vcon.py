"""vCons against the working group's schema, a reader from PyPI, and verifiers that share no code with the gateway."""

import base64
import hashlib
import importlib
import json
import os
import re
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, FormatChecker

from gateway.evidence import canonical
from gateway.evidence.account import tell
from gateway.evidence.bundle import verify_bundle
from gateway.evidence.errors import BundleInvalid, KeyInvalid
from gateway.evidence.jws import open_signed, sign_vcon
from gateway.evidence.vcon import LOG_PROOF, TIMELINE, Place, build_vcon, is_vcon, vcon_uuid, verify_vcon
from tests.unit.evidence.portable import NAME, NUMBER, STORIES, VALUES, WORDS, bundle, leg, of, other_key
from tests.unit.evidence.stories import CALL, KEY, ORIGIN, SIGNER, arrived, bundle_of

SCHEMA = Path(__file__).parents[4] / "shared" / "vectors" / "vcon" / "vcon_json_schema.json"
MADE = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
READER_KNOWS = sorted(STORIES.keys() - {"silent", "three"})
"""vcon 0.9.6 does not know the dialog type `recording-set` of core-04."""


FORMATS = FormatChecker(["uuid"])


@FORMATS.checks("date-time", raises=ValueError)
def is_date(value: object) -> bool:
    """Date of RFC 8620, section 1.4, which core-04 takes: RFC 3339, upper case, no fraction of zero."""
    date = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9]\d*)?Z", re.ASCII)
    return isinstance(value, str) and bool(date.fullmatch(value)) and bool(datetime.fromisoformat(value))


@FORMATS.checks("uri")
def is_uri(value: object) -> bool:
    return isinstance(value, str) and value.startswith("https://") and " " not in value


def vcon_of(story: str = "granted", **more: Any) -> dict[str, Any]:
    return build_vcon(bundle(story, **more), KEY, made_at=MADE)


def attached(vcon: dict[str, Any], purpose: str) -> list[dict[str, Any]]:
    return [item for item in vcon["attachments"] if item["purpose"] == purpose]


def basis_of(vcon: dict[str, Any], party: int = 0) -> dict[str, Any]:
    (body,) = [item["body"] for item in attached(vcon, "lawful_basis") if item["party"] == party]
    return dict(body)


def problems(vcon: dict[str, Any]) -> list[str]:
    """What the working group's schema has against a vCon; outside CI the folder may be missing."""
    if not SCHEMA.exists():
        assert os.environ.get("CI") != "true", f"{SCHEMA} is missing"
        return []
    validator = Draft7Validator(json.loads(SCHEMA.read_text()), format_checker=FORMATS)
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(vcon)]


# --- the schema, and readers of others ------------------------------------------------------------------


@pytest.mark.parametrize("erased", [False, True])
@pytest.mark.parametrize("story", STORIES)
def test_the_schema_of_the_working_group_is_kept(story: str, erased: bool) -> None:
    assert problems(vcon_of(story, erased=erased)) == []


def test_the_schema_does_refuse_something() -> None:
    if SCHEMA.exists():
        vcon = vcon_of()
        vcon["dialog"][0]["party_history"][0]["event"] = "pause"
        vcon["created_at"] = "2026-11-24T16:00:00.000Z"
        vcon["uuid"] = "no uuid"
        assert len(problems(vcon)) == 3


def test_no_parameter_is_unknown_to_the_drafts() -> None:
    """The schema lets unknown members pass, so a typing error would: all ours are in it or in an extension."""
    if not SCHEMA.exists():
        return
    schema = json.loads(SCHEMA.read_text())
    known = {name: set(part["properties"]) for name, part in schema["definitions"].items()}
    for story in STORIES:
        vcon = vcon_of(story)
        assert vcon.keys() <= schema["properties"].keys()
        for member, name in (("parties", "Party"), ("dialog", "Dialog"), ("attachments", "Attachment")):
            extension = {"role"} if name == "Party" else set()
            assert all(item.keys() <= known[name] | extension for item in vcon[member])


def others(module: str = "vcon") -> Any:
    """The reader's module; outside CI it may be missing. Its import of authlib warns, whatever the filters."""
    with warnings.catch_warnings(record=True):
        return importlib.import_module(module) if os.environ.get("CI") == "true" else pytest.importorskip(module)


def read_by_others(vcon: dict[str, Any]) -> Any:
    return others().Vcon.build_from_json(json.dumps(vcon))


@pytest.mark.parametrize("story", READER_KNOWS)
def test_a_reader_from_pypi_finds_nothing_wrong(story: str) -> None:
    vcon = vcon_of(story)
    assert read_by_others(vcon).is_valid() == (True, [])


@pytest.mark.parametrize("story", STORIES)
def test_a_reader_from_pypi_finds_every_lawful_basis_well_formed(story: str) -> None:
    vcon = vcon_of(story)
    read = read_by_others(vcon)
    assert len(read.parties) == len(vcon["parties"])
    result = others("vcon.extensions.lawful_basis.validation").LawfulBasisValidator().validate_extension_usage(vcon)
    assert result.is_valid and not result.errors and not result.warnings


def test_a_reader_from_pypi_reads_the_permission_of_each_verdict() -> None:
    for story in ("granted", "spoken", "not_required", "refused", "unanswered", "unclear", "withdrawn"):
        allowed = read_by_others(vcon_of(story)).check_lawful_basis_permission("recording", 0)
        assert allowed is (story in ("granted", "spoken", "not_required")), story


# --- what it says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("story", "granted"),
    [
        ("granted", True),
        ("spoken", True),
        ("not_required", True),
        ("refused", False),
        ("unanswered", False),
        ("unclear", False),
        ("withdrawn", False),
    ],
)
def test_each_verdict_becomes_a_lawful_basis(story: str, granted: bool) -> None:
    vcon = vcon_of(story)
    body = basis_of(vcon)
    assert body["purpose_grants"] == [
        {
            "purpose": "recording",
            "granted": granted,
            "granted_at": body["metadata"]["history"][-1]["at"].replace(".000", ""),
        }
    ]
    assert body["metadata"]["verdict"] == ("granted" if story == "spoken" else story)
    assert body["lawful_basis"] == ("legal_obligation" if story == "not_required" else "consent")
    assert basis_of(vcon, 1)["lawful_basis"] == "contract"


def test_nobody_is_granted_anything_without_a_verdict() -> None:
    vcon = vcon_of("hung_up")
    for party in (0, 1):
        body = basis_of(vcon, party)
        assert [grant["granted"] for grant in body["purpose_grants"]] == [False]
        assert body["proof_mechanisms"] == [] and body["metadata"]["verdict"] == "none"


@pytest.mark.parametrize(
    ("what", "purposes", "granted"),
    [
        ("granted", {"recording": True, "transcription": False}, [True, False]),
        ("not_required", {"analysis": False, "recording": True}, [False, True]),
        ("refused", {"recording": True, "transcription": True}, [False, False]),
        ("withdrawn", {"recording": True}, [False]),
    ],
)
def test_a_purpose_is_granted_by_a_verdict_that_covers_and_names_it(
    what: str, purposes: dict[str, bool], granted: list[bool]
) -> None:
    """Whatever a log says of purposes: under a no, nothing is granted."""
    decided = ("verdict", {"party": "caller", "verdict": what, "basis": "consent", "purposes": purposes})
    vcon = build_vcon(bundle_of(of(arrived(), decided)), KEY, made_at=MADE)
    grants = basis_of(vcon)["purpose_grants"]
    assert [(grant["purpose"], grant["granted"]) for grant in grants] == list(
        zip(sorted(purposes), granted, strict=True)
    )


def test_the_caller_is_the_originator_wherever_he_stands() -> None:
    parties = [{"role": "agent", "kind": "employee"}, {"role": "caller", "kind": "customer"}]
    steps = [("call.arrived", {**facts, "parties": parties}) if n == 0 else (kind, facts)
             for n, (kind, facts) in enumerate(STORIES["granted"])]  # fmt: skip
    dialog = build_vcon(bundle_of(steps), KEY, made_at=MADE)["dialog"][0]
    assert dialog["originator"] == 1 and "originator" not in vcon_of()["dialog"][0]
    assert [item["party"] for item in dialog["party_history"] if item["event"] == "keydown"] == [1]


def test_a_basis_the_extension_does_not_know_is_not_claimed() -> None:
    vcon = build_vcon(bundle_of(of(arrived(basis="because", agent_basis="contract"))), KEY, made_at=MADE)
    assert [item["party"] for item in attached(vcon, "lawful_basis")] == [1] and problems(vcon) == []


def test_a_key_is_proven_by_the_log() -> None:
    (proof,) = basis_of(vcon_of())["proof_mechanisms"]
    assert proof["proof_type"] == "external_system"
    data = proof["proof_data"]
    assert (data["system"], data["call"], data["method"], data["key"]) == (ORIGIN, CALL, "key", "1")
    entry = json.loads(bundle())["entries"][data["entry"]]
    assert entry["entry"]["kind"] == "verdict" and entry["index"] == data["log_index"]
    assert hashlib.sha256(b"\0" + canonical.dump(entry["entry"])).hexdigest() == data["leaf_hash"]
    assert vcon_of()["dialog"][data["dialog_reference"]]["body"] == "May we record?"


def test_a_spoken_yes_is_a_verbal_confirmation_and_an_unclear_word_is_none() -> None:
    (proof,) = basis_of(vcon_of("spoken"))["proof_mechanisms"]
    assert proof["proof_type"] == "verbal_confirmation"
    assert proof["proof_data"]["confirmation_text"] == WORDS
    (proof,) = basis_of(vcon_of("unclear"))["proof_mechanisms"]
    assert proof["proof_type"] == "external_system" and "confirmation_text" not in proof["proof_data"]


def test_a_withdrawal_keeps_the_yes_in_its_history() -> None:
    body = basis_of(vcon_of("withdrawn"))
    assert [item["verdict"] for item in body["metadata"]["history"]] == ["granted", "withdrawn"]
    assert [proof["proof_data"]["key"] for proof in body["proof_mechanisms"]] == ["1", "*9"]


def test_a_recording_is_named_by_its_hash_and_its_place() -> None:
    dialog = vcon_of()["dialog"][0]
    assert (dialog["type"], dialog["duration"], dialog["parties"]) == ("recording", 3.62, [0, 1])
    assert dialog["content_hash"] == "sha256-" + base64.urlsafe_b64encode(b"\xcd" * 32).decode().rstrip("=")
    assert dialog["start"] == "2026-11-24T16:00:07Z" and "url" not in dialog
    place = Place("https://archive.example/r1", b"\x01" * 64)
    placed = build_vcon(bundle(), KEY, made_at=MADE, places={"r1": place})
    assert placed["dialog"][0]["url"] == "https://archive.example/r1"
    assert placed["dialog"][0]["content_hash"][0].startswith("sha512-AQEBAQ")
    assert len(placed["dialog"][0]["content_hash"]) == 2 and problems(placed) == []


def test_a_destroyed_recording_has_no_place() -> None:
    vcon = build_vcon(bundle("destroyed"), KEY, made_at=MADE, places={"r1": Place("https://archive.example/r1")})
    assert "url" not in vcon["dialog"][0]


@pytest.mark.parametrize("url", ["http://archive.example/r1", "file:///etc/passwd", "https://a b", ""])
def test_a_place_is_https_or_refused(url: str) -> None:
    with pytest.raises(BundleInvalid, match="no HTTPS URL"):
        build_vcon(bundle(), KEY, made_at=MADE, places={"r1": Place(url)})


def test_the_party_history_has_keys_and_holds_and_the_pause_is_in_the_timeline() -> None:
    vcon = vcon_of()
    history = vcon["dialog"][0]["party_history"]
    assert [(item["party"], item["event"], item.get("button")) for item in history] == [
        (0, "join", None),
        (0, "keydown", "1"),
        (0, "keyup", "1"),
        (1, "join", None),
        (0, "hold", None),
        (0, "unhold", None),
        (0, "drop", None),
        (1, "drop", None),
    ]
    assert history[1]["time"] == "2026-11-24T16:00:01.880Z" and history[2]["time"] == "2026-11-24T16:00:02Z"
    (timeline,) = attached(vcon, TIMELINE)
    kinds = [event["kind"] for event in timeline["body"]["events"]]
    assert kinds.count("recorder.command") == 4 and {"hold.set", "hold.cleared", "recording.closed"} <= set(kinds)
    assert kinds[-1] == "call.ended" and timeline["party"] == 2


def test_a_code_is_its_keys_and_a_key_that_did_not_count_is_not_told() -> None:
    history = vcon_of("withdrawn")["dialog"][0]["party_history"]
    assert [item["button"] for item in history if item["event"] == "keydown"] == ["1", "*", "9"]
    vcon = build_vcon(bundle_of(of(arrived(), other_key())), KEY, made_at=MADE)
    assert [item["event"] for item in vcon["dialog"][0]["party_history"]] == ["join", "drop"]


def test_who_joins_is_a_party_of_which_no_basis_is_claimed() -> None:
    vcon = vcon_of("three")
    assert vcon["parties"][2] == {"type": "person", "role": "thirdparty", "name": "PJSIP/carol-1"}
    assert [item["party"] for item in attached(vcon, "lawful_basis")] == [0, 1]
    history = vcon["dialog"][0]["party_history"]
    assert [(item["party"], item["event"]) for item in history] == [(0, "join"), (2, "join"), (2, "drop"), (0, "drop")]


@pytest.mark.parametrize(
    ("code", "disposition"), [(486, "busy"), (480, "no-answer"), (503, "congestion"), (404, "failed"), (None, "failed")]
)
def test_a_call_that_reached_nobody_is_incomplete(code: int | None, disposition: str) -> None:
    vcon = build_vcon(bundle_of(of(arrived(), leg("ended", code=code))), KEY, made_at=MADE)
    (dialog,) = vcon["dialog"]
    assert (dialog["type"], dialog["disposition"]) == ("incomplete", disposition)
    assert vcon_of("hung_up")["dialog"][0]["disposition"] == "hung-up"


def test_people_who_talked_unrecorded_are_not_called_incomplete() -> None:
    """Core-04, section 4.3.1: incomplete means that nobody talked."""
    assert [dialog["type"] for dialog in vcon_of("refused")["dialog"]] == ["text"]
    (dialog,) = vcon_of("silent")["dialog"]
    assert (dialog["type"], dialog["recordings"]) == ("recording-set", [])


def test_indices_are_in_range() -> None:
    for story in STORIES:
        vcon = vcon_of(story)
        parties, dialogs = range(len(vcon["parties"])), range(len(vcon["dialog"]))
        assert all(item["party"] in parties and item["dialog"] in dialogs for item in vcon["attachments"])
        for dialog in vcon["dialog"]:
            assert all(party in parties for party in dialog["parties"])
            assert all(event["party"] in parties for event in dialog.get("party_history", []))


def test_the_caller_is_named_until_he_is_erased() -> None:
    assert vcon_of()["parties"][0] == {"type": "person", "role": "customer", "tel": NUMBER, "name": NAME}
    for story in STORIES:
        vcon = vcon_of(story, erased=True)
        (proof,) = attached(vcon, LOG_PROOF)
        everything = json.dumps(vcon) + base64.urlsafe_b64decode(proof["body"] + "==").decode()
        assert vcon["parties"][0] == {"type": "person", "role": "customer"}
        for value in (*VALUES.values(), WORDS):
            assert value not in everything


@pytest.mark.parametrize(
    ("number", "known"),
    [("1001", {"tel": "1001"}), ("alice@pbx.example", {"sip": "alice@pbx.example"}), ("anonymous", {}), ("+49\n1", {})],
)
def test_a_number_is_a_tel_or_a_sip_address_or_is_left_out(number: str, known: dict[str, str]) -> None:
    data = bundle_of(STORIES["refused"], personal=("caller_number",), values={"caller_number": number})
    assert build_vcon(data, KEY, made_at=MADE)["parties"][0] == {"type": "person", "role": "customer", **known}


# --- identity -------------------------------------------------------------------------------------------


def test_the_uuid_is_of_version_8_and_always_the_same() -> None:
    account = tell(bundle(), KEY)
    text = vcon_uuid(account)
    value = int(text.replace("-", ""), 16)
    assert value >> 80 == round(datetime(2026, 11, 24, 16, tzinfo=UTC).timestamp() * 1000)
    assert (value >> 76) & 0xF == 8 and (value >> 62) & 3 == 2 and (value >> 64) & 0xFFF == account.contents.places[0]
    assert value & (2**62 - 1) == int(hashlib.sha1(ORIGIN.encode()).hexdigest(), 16) >> 98
    assert vcon_uuid(tell(bundle(erased=True), KEY)) == text == vcon_of()["uuid"]
    assert vcon_uuid(tell(bundle(others=6), KEY)) != text, "another place in the log is another call"


def test_the_same_bundle_and_time_give_the_same_bytes() -> None:
    assert canonical.dump(vcon_of()) == canonical.dump(vcon_of())


def test_a_bundle_that_lies_gives_no_vcon() -> None:
    with pytest.raises(BundleInvalid):
        build_vcon(bundle().replace(b'"granted"', b'"refused"', 1), KEY, made_at=MADE)


def test_the_log_proof_is_the_bundle() -> None:
    (proof,) = attached(vcon_of(), LOG_PROOF)
    data = base64.urlsafe_b64decode(proof["body"] + "==")
    assert data == bundle()
    verify_bundle(data, KEY)


# --- verification ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", STORIES)
def test_a_vcon_is_verified_by_building_it_again(story: str) -> None:
    vcon = vcon_of(story)
    plain, sealed = canonical.dump(vcon) + b"\n", sign_vcon(vcon, SIGNER)
    assert is_vcon(plain) and is_vcon(sealed) and not is_vcon(bundle(story)) and not is_vcon(b"[")
    assert verify_vcon(json.dumps(vcon, indent=1).encode(), KEY) == verify_vcon(plain, KEY), "spelled by somebody else"
    assert any("not signed" in line for line in verify_vcon(plain, KEY).not_proven)
    report = verify_vcon(sealed, KEY)
    assert not any("not signed" in line for line in report.not_proven) and report.call == CALL
    assert open_signed(sealed, SIGNER.verifier) == vcon


def test_places_are_named_as_not_proven() -> None:
    vcon = build_vcon(bundle(), KEY, made_at=MADE, places={"r1": Place("https://archive.example/r1", b"\1" * 64)})
    assert "where the vCon says" in verify_vcon(sign_vcon(vcon, SIGNER), KEY).not_proven[-1]


def tampered(edit: str) -> dict[str, Any]:
    vcon = vcon_of("refused")
    if edit == "grant":
        vcon["attachments"][0]["body"]["purpose_grants"][0]["granted"] = True
    elif edit == "name":
        vcon["parties"][0]["name"] = "Somebody Else"
    elif edit == "proof":
        vcon["attachments"].pop()
    elif edit == "history":
        vcon["dialog"][0]["party_history"].pop()
    elif edit == "member":
        vcon["subject"] = "He agreed"
    elif edit == "number":
        vcon["dialog"][0]["parties"][1] = False
    return vcon


@pytest.mark.parametrize("edit", ["grant", "name", "proof", "history", "member", "number"])
def test_a_vcon_that_says_more_than_the_log_is_refused_even_signed(edit: str) -> None:
    for data in (canonical.dump(tampered(edit)), sign_vcon(tampered(edit), SIGNER)):
        with pytest.raises(BundleInvalid):
            verify_vcon(data, KEY)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b'{"payload":1,"signatures":[]}', b'{"payload":', b"[" * 9_999]
)
def test_what_is_no_vcon_is_refused(data: bytes) -> None:
    with pytest.raises(BundleInvalid):
        verify_vcon(data, KEY)
    with pytest.raises(KeyInvalid):
        verify_vcon(data, "no key")


@pytest.mark.parametrize("text", ["NaN", "1e999", "99999999999999999999", '"\\ud800"'])
def test_a_value_without_a_canonical_form_is_refused(text: str) -> None:
    data = json.dumps(vcon_of()).replace('"0.4.0"', text, 1).encode()
    with pytest.raises(BundleInvalid):
        verify_vcon(data, KEY)


def test_each_purpose_is_granted_since_its_own_answer() -> None:
    body = basis_of(vcon_of("one_by_one"))
    grants = {grant["purpose"]: grant for grant in body["purpose_grants"]}
    assert {name: grant["granted"] for name, grant in grants.items()} == {
        **{"recording": True, "transcription": True},
        **{"analysis": False, "sharing": False},
    }
    assert grants["recording"]["granted_at"] < grants["transcription"]["granted_at"]
    proofs = [proof["proof_data"] for proof in body["proof_mechanisms"]]
    assert [(proof.get("asked"), proof.get("answer")) for proof in proofs] == [
        (None, None),
        *(("transcription", "granted"), ("analysis", "refused"), ("sharing", "unanswered")),
    ]
    assert [item.get("asked") for item in body["metadata"]["history"]] == [None, "transcription", "analysis", "sharing"]
    questions = [vcon_of("one_by_one")["dialog"][proof["dialog_reference"]]["body"] for proof in proofs[:3]]
    assert questions == ["May we record?", "Into text?", "Evaluate?"]
