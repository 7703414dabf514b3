"""A call as ISO/IEC TS 27560 consent records: JSON-LD in the terms of W3C DPV 2, one record for each party.

The form is that of the DPV community group's guide (https://w3id.org/dpv/guides/consent-27560). A record never holds a
personal value: its data subject is "the party *caller* of call *X*".
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from gateway.evidence import canonical
from gateway.evidence.account import Account, Answer, Decision, Person

CONTEXT = {
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
}
PROFILE = "https://w3id.org/dpv/schema/dpv-27560#record"

BASES = {
    "consent": "eu-gdpr:A6-1-a",
    "contract": "eu-gdpr:A6-1-b",
    "legal_obligation": "eu-gdpr:A6-1-c",
    "vital_interests": "eu-gdpr:A6-1-d",
    "public_task": "eu-gdpr:A6-1-e",
    "legitimate_interests": "eu-gdpr:A6-1-f",
}
"""Article 6(1) GDPR, letter by letter."""

STATES = {
    "granted": "dpv:ConsentGiven",
    "refused": "dpv:ConsentRefused",
    "withdrawn": "dpv:ConsentWithdrawn",
    "unanswered": "dpv:ConsentRequestDeferred",
    "unclear": "dpv:ConsentUnknown",
}
"""Only a yes is valid for processing. `not_required` is no state of a consent: none was asked."""

_RIGHTS = {"consent": "eu-gdpr:A7-3", "legitimate_interests": "eu-gdpr:A21", "public_task": "eu-gdpr:A21"}
_PROCESSING = {
    "recording": ["dpv:Record", "dpv:Store"],
    "transcription": ["dpv:Transform"],
    "analysis": ["dpv:Analyse"],
    "sharing": ["dpv:Share"],
}
_SUBJECTS = {"customer": "dpv:Customer", "employee": "dpv:Employee"}


def consent_records(account: Account, *, made_at: datetime, controller: str = "") -> dict[str, Any]:
    """Return the JSON-LD document with the records of all parties whose basis is known.

    *controller* names who is responsible for the recording; the log does not know it. ISO/IEC TS 27560 wants it, so
    a record without it is incomplete, and has no `dpv:hasDataController`.
    """
    records = [_record(account, person, controller, made_at) for person in account.persons if person.basis in BASES]
    return {"@context": CONTEXT, "@graph": records}


def _record(account: Account, person: Person, controller: str, made_at: datetime) -> dict[str, Any]:
    identifier = str(uuid5(NAMESPACE_URL, f"{account.origin}/{account.call}/{person.name}"))
    record: dict[str, Any] = {
        "@id": f"urn:uuid:{identifier}",
        "@type": "dpv:ConsentRecord",
        "dct:identifier": identifier,
        "dct:conformsTo": PROFILE,
        "dct:created": canonical.timestamp(made_at),
        "dct:creator": account.origin,
        "dct:source": _sources(account, person),
        "dpv:hasDataSubject": {
            "@type": _SUBJECTS.get(person.kind, "dpv:DataSubject"),
            "dct:identifier": f"{account.call}#{person.name}",
        },
        "dpv:hasProcess": _process(account, person),
    }
    if controller:
        record["dpv:hasDataController"] = {"@type": "dpv:DataController", "dct:title": controller}
    if person.role == "caller" and account.questions:
        record["dpv:hasNotice"] = _notices(account)
    if person.basis in _RIGHTS:
        record["dpv:hasRight"] = _RIGHTS[person.basis]
    if person.basis == "consent":
        record["dpv:hasConsentStatus"] = _states(account, person)
    elif person.decisions:
        record["dpv:hasContext"] = [
            {"dct:description": f"verdict: {decision.verdict}", "dct:date": decision.at}
            for decision in person.decisions
        ]
    return record


def _sources(account: Account, person: Person) -> list[str]:
    """Where the log says it: origin, place in the log and leaf hash of the call's first entry and of each verdict."""
    contents = account.contents
    entries = [0, *(decision.entry for decision in person.decisions)]
    return [f"{account.origin}#{contents.places[seq]} sha256:{contents.leaves[seq].hex()}" for seq in entries]


def _notices(account: Account) -> list[dict[str, Any]]:
    return [
        {
            "@type": "dpv:ConsentNotice" if question.asks else "dpv:PrivacyNotice",
            "dct:identifier": f"sha256:{question.sha256}",
            "dct:language": question.language,
            "dct:description": question.text,
            "dct:date": question.at,
        }
        for question in account.questions
    ]


def _process(account: Account, person: Person) -> list[dict[str, Any]]:
    """One process for each purpose that was asked for or decided about."""
    last = person.decisions[-1].purposes if person.decisions else {}
    return [
        {
            "@type": "dpv:Process",
            "dpv:hasPurpose": _purpose(purpose),
            "dpv:hasPersonalData": "pd:VoiceCommunicationRecording",
            "dpv:hasProcessing": _PROCESSING.get(purpose, ["dpv:Use"]),
            "dpv:hasLegalBasis": BASES[person.basis],
        }
        for purpose in dict.fromkeys([*account.purposes, *sorted(last)])
    ]


def _states(account: Account, person: Person) -> list[dict[str, Any]]:
    """The consent's states in order: asked, and each verdict after it."""
    asked = [question for question in account.questions if question.asks] if person.role == "caller" else []
    states: list[dict[str, Any]] = []
    if asked:
        states.append(
            {
                "@type": "dpv:ConsentRequested",
                "dpv:isIndicatedAtTime": asked[0].began,
                "dpv:isIndicatedBy": account.origin,
            }
        )
    before: list[str] = []
    for decision in person.decisions:
        if decision.asked:
            states.append(_state(decision, decision.said, ()) | {"dpv:hasPurpose": _purpose(decision.asked)})
            continue
        if decision.verdict in STATES:
            states.append(_state(decision, decision.verdict, before))
        before.append(decision.verdict)
    return states or [{"@type": "dpv:ConsentUnknown", "dpv:isIndicatedAtTime": account.began}]


def _purpose(name: str) -> dict[str, Any]:
    return {"@type": "dpv:Purpose", "dct:title": name}


def _state(decision: Decision, verdict: str, before: Sequence[str]) -> dict[str, Any]:
    """The state that *verdict* makes, after those of *before*."""
    renewed = verdict == "granted" and "granted" in before
    state: dict[str, Any] = {
        "@type": "dpv:RenewedConsentGiven" if renewed else STATES.get(verdict, "dpv:ConsentUnknown"),
        "dpv:isIndicatedAtTime": decision.at if decision.answer is None else decision.answer.at,
    }
    if verdict in ("granted", "refused", "withdrawn"):
        state["dpv:isIndicatedBy"] = "dpv:DataSubject"
    if decision.answer is not None:
        state["dpv:hasIndicationMethod"] = _method(decision.answer)
    return state


def _method(answer: Answer) -> str:
    if answer.how == "speech":
        return "spoken on the telephone"
    return f"key {answer.key} on the telephone" if answer.key else "a key on the telephone"
