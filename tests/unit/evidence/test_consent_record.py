"""Consent records: the terms, per basis and verdict, and nothing personal."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.domain.rules import Basis
from gateway.evidence.account import tell
from gateway.evidence.consent_record import BASES, consent_records
from tests.unit.evidence.portable import STORIES, VALUES, WORDS, bundle, recorded
from tests.unit.evidence.stories import KEY, bundle_of

MADE = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)

TERMS = """
    dpv:Analyse dpv:ConsentGiven dpv:ConsentNotice dpv:ConsentRecord dpv:ConsentRefused dpv:ConsentRequestDeferred
    dpv:ConsentRequested dpv:ConsentUnknown dpv:ConsentWithdrawn dpv:Customer dpv:DataController dpv:DataSubject
    dpv:Employee dpv:PrivacyNotice dpv:Process dpv:Purpose dpv:Record dpv:RenewedConsentGiven dpv:Share dpv:Store
    dpv:Transform dpv:Use dpv:hasConsentStatus dpv:hasContext dpv:hasDataController dpv:hasDataSubject
    dpv:hasIndicationMethod dpv:hasLegalBasis dpv:hasNotice dpv:hasPersonalData dpv:hasProcess dpv:hasProcessing
    dpv:hasPurpose dpv:hasRight dpv:isIndicatedAtTime dpv:isIndicatedBy pd:VoiceCommunicationRecording eu-gdpr:A21
    eu-gdpr:A6-1-a eu-gdpr:A6-1-b eu-gdpr:A6-1-c eu-gdpr:A6-1-d eu-gdpr:A6-1-e eu-gdpr:A6-1-f eu-gdpr:A7-3
    dct:conformsTo dct:created dct:creator dct:date dct:description dct:identifier dct:language dct:source dct:title
"""
"""Looked up, each of them, in the vocabularies of DPV 2.0 (github.com/w3c/dpv) and DCMI."""


def document(story: str, **more: Any) -> dict[str, Any]:
    return consent_records(tell(bundle(story, **more), KEY), made_at=MADE, controller="Example GmbH")


def record(story: str, party: int = 0) -> dict[str, Any]:
    return dict(document(story)["@graph"][party])


def words_of(value: Any) -> set[str]:
    """Every prefixed name in a document, as a member's name or as a value."""
    if isinstance(value, dict):
        return {name for name in value if ":" in name} | set().union(*map(words_of, value.values()))
    if isinstance(value, list):
        return set().union(*map(words_of, value))
    return {value} if isinstance(value, str) and value.startswith(("dpv:", "pd:", "eu-gdpr:", "dct:")) else set()


@pytest.mark.parametrize("story", STORIES)
def test_every_term_is_one_of_the_vocabularies(story: str) -> None:
    found = document(story)
    assert words_of(found["@graph"]) <= set(TERMS.split())
    assert {word.partition(":")[0] for word in words_of(found["@graph"])} <= found["@context"].keys()


@pytest.mark.parametrize("basis", Basis)
def test_each_basis_is_its_letter_of_the_article(basis: Basis) -> None:
    found = consent_records(tell(bundle_of(recorded(basis=basis)), KEY), made_at=MADE)["@graph"][0]
    letter = "abcdef"[list(Basis).index(basis)]
    assert [process["dpv:hasLegalBasis"] for process in found["dpv:hasProcess"]] == [f"eu-gdpr:A6-1-{letter}"]
    assert ("dpv:hasConsentStatus" in found) is (basis is Basis.CONSENT)
    assert BASES.keys() == {str(one) for one in Basis}
    assert "dpv:hasDataController" not in found, "nobody said who is responsible"


@pytest.mark.parametrize(
    ("story", "states"),
    [
        ("granted", ["ConsentRequested", "ConsentGiven"]),
        ("spoken", ["ConsentRequested", "ConsentGiven"]),
        ("refused", ["ConsentRequested", "ConsentRefused"]),
        ("unanswered", ["ConsentRequested", "ConsentRequestDeferred"]),
        ("unclear", ["ConsentRequested", "ConsentUnknown"]),
        ("withdrawn", ["ConsentRequested", "ConsentGiven", "ConsentWithdrawn"]),
        ("hung_up", ["ConsentUnknown"]),
    ],
)
def test_each_verdict_is_a_state_of_the_consent(story: str, states: list[str]) -> None:
    found = record(story)["dpv:hasConsentStatus"]
    assert [state["@type"] for state in found] == [f"dpv:{state}" for state in states]
    assert [state["dpv:isIndicatedAtTime"] for state in found] == sorted(
        state["dpv:isIndicatedAtTime"] for state in found
    )


def test_only_a_person_gives_refuses_and_withdraws() -> None:
    states = record("withdrawn")["dpv:hasConsentStatus"]
    assert [state["dpv:isIndicatedBy"] for state in states[1:]] == ["dpv:DataSubject"] * 2
    assert states[1]["dpv:hasIndicationMethod"] == "key 1 on the telephone"
    assert "dpv:isIndicatedBy" not in record("unanswered")["dpv:hasConsentStatus"][1]


def test_there_is_one_record_for_each_party_with_the_fields_that_must_be_there() -> None:
    caller, agent = document("granted")["@graph"]
    for found in (caller, agent):
        assert found["dct:conformsTo"] == "https://w3id.org/dpv/schema/dpv-27560#record"
        assert found["@id"] == f"urn:uuid:{found['dct:identifier']}"
        assert found["dpv:hasDataController"]["dct:title"] == "Example GmbH"
        assert found["dpv:hasProcess"] and found["dct:source"]
    assert caller["dpv:hasDataSubject"]["@type"] == "dpv:Customer"
    assert agent["dpv:hasDataSubject"]["@type"] == "dpv:Employee"
    assert caller["dct:identifier"] != agent["dct:identifier"]
    assert caller["dpv:hasNotice"][0]["dct:description"] == "May we record?"


@pytest.mark.parametrize("story", STORIES)
def test_nothing_personal_is_in_a_record(story: str) -> None:
    text = json.dumps(document(story))
    for value in (*VALUES.values(), WORDS):
        assert value not in text


def test_an_answer_about_one_purpose_is_a_state_of_that_purpose() -> None:
    states = record("one_by_one")["dpv:hasConsentStatus"]
    assert [state["@type"] for state in states] == [
        *("dpv:ConsentRequested", "dpv:ConsentGiven"),
        *("dpv:ConsentGiven", "dpv:ConsentRefused", "dpv:ConsentRequestDeferred"),
    ]
    about = [state.get("dpv:hasPurpose", {}).get("dct:title") for state in states]
    assert about == [None, None, "transcription", "analysis", "sharing"]
    assert "dpv:isIndicatedBy" not in states[-1], "silence is nobody's word"
