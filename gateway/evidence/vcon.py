"""A call as a vCon: draft-ietf-vcon-vcon-core-04 with the lawful basis extension (draft-howe-vcon-lawful-basis-02).

Every statement in it is derived from the bundle, which it carries whole as an attachment. What is not in the log is
not in the vCon: no verdict grants nothing, and a personal value that was erased is not there. What goes where, and
which sentence of the drafts decides it: docs/evidence-format.md.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.evidence import canonical
from gateway.evidence.account import FRAME_MS, Account, Decision, Person, Question, Sound, shifted, tell
from gateway.evidence.bundle import Report
from gateway.evidence.checkpoint import Verifier
from gateway.evidence.errors import BundleInvalid, EntryInvalid
from gateway.evidence.jws import MAX_SIGNED_BYTES, is_signed, open_signed

SYNTAX = "0.4.0"
"""The value that core-04, section 4.1.1, demands of the deprecated parameter `vcon`."""
LAWFUL_BASIS = "lawful_basis"
TIMELINE = "consent_gateway_timeline"
LOG_PROOF = "consent_gateway_log_proof"

_TIMELINE_KINDS = ("recorder.", "recording.", "hold.", "call.recovered", "call.ended")
_ROLES = {"agent": "agent", "caller": "customer"}
"""Our roles in the words of draft-ietf-vcon-cc-extension; anybody else is a `thirdparty`."""
_BASES = frozenset(
    {"consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests"}
)
"""The lawful bases the extension knows. For whom the log names none of them, none is claimed."""
_TEL = re.compile(r"\+?[0-9]{2,20}", re.ASCII)
_SIP = re.compile(r"[A-Za-z0-9_.!~*'()&=+$,;?/%-]{1,64}@[A-Za-z0-9.:\[\]-]{1,255}", re.ASCII)
_PLACE = re.compile(r"https://[^\s\x00-\x1f\x7f]{1,2000}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a recording's file can be fetched (HTTPS only), and, if known, its SHA-512: the log holds SHA-256."""

    url: str
    sha512: bytes = b""


def build_vcon(
    data: bytes, verifier_key: str, *, made_at: datetime, places: Mapping[str, Place] | None = None
) -> dict[str, Any]:
    """Verify a bundle and return its vCon (unsigned form). The same arguments give the same vCon.

    *made_at* becomes `updated_at`; `created_at` is the time of the call's first entry, so that later exports of
    the call have it too. *places* says, by recording, where its file is. Raises `BundleInvalid` as `verify_bundle`
    does, and for a place that is no HTTPS URL.
    """
    account = tell(data, verifier_key)
    return _Writer(account, places or {}).write(data, made_at)


def vcon_uuid(account: Account) -> str:
    """Return the version 8 UUID of core-04, section 4.1.2, of a call: always the same one.

    48 bits are the time of the first entry in ms; 12 bits are that entry's place in the log, modulo 4096, so two
    calls of one log that arrive in the same millisecond differ; 62 bits are the high bits of the SHA-1 of the log's
    origin.
    """
    began_ms = round(datetime.fromisoformat(account.began).timestamp() * 1000)
    origin = int.from_bytes(hashlib.sha1(account.origin.encode(), usedforsecurity=False).digest(), "big") >> 98
    place = account.contents.places[0] % 4096
    return str(UUID(int=(began_ms % 2**48) << 80 | 8 << 76 | place << 64 | 2 << 62 | origin))


def verify_vcon(data: bytes, verifier_key: str) -> Report:
    """Check a vCon file, unsigned or signed, against the log's public key; return what was proven and what was not.

    The vCon is built anew from the bundle in it and compared: it may say nothing else than the log. Taken on trust
    are `updated_at`, and where recordings lie (`url`, SHA-512), which the log does not know. Raises `BundleInvalid`
    and `KeyInvalid` as `verify_bundle` does.
    """
    verifier = Verifier.parse(verifier_key)
    vcon = _read(data)
    signed = is_signed(vcon)
    if signed:
        vcon = open_signed(data, verifier)
    bundle, made_at, places = _claims(vcon)
    account = tell(bundle, verifier_key)
    named = {_filename(sound): sound.recording for sound in account.sounds}
    known = {named[name]: place for name, place in places.items() if name in named}
    try:
        built = _Writer(account, known).write(bundle, made_at)
        same = canonical.dump(built) == canonical.dump(vcon)
    except EntryInvalid as error:
        raise BundleInvalid(f"the vCon is not as a consent gateway writes it: {error}") from None
    if not same:
        wrong = sorted(name for name in built.keys() | vcon.keys() if built.get(name) != vcon.get(name))
        raise BundleInvalid(f"the vCon says something else than its log proof, in: {', '.join(wrong)[:200]}")
    proven = ["everything the vCon says follows from the bundle in it, of which this holds:"]
    not_proven = [] if signed else ["who made the vCon, and when: it is not signed"]
    not_proven += ["where the vCon says that recordings lie: the log does not know it"] if places else []
    report = account.contents.report
    return replace(report, proven=(*proven, *report.proven), not_proven=(*report.not_proven, *not_proven))


def is_vcon(data: bytes) -> bool:
    """Whether a file looks like a vCon, signed or not, however it is spelled. Proves nothing."""
    try:
        body = _read(data)
    except BundleInvalid:
        return False
    return is_signed(body) or "attachments" in body


def _read(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_SIGNED_BYTES:
        raise BundleInvalid(f"the file has over {MAX_SIGNED_BYTES} bytes")
    try:
        vcon = json.loads(data)
    except (ValueError, RecursionError):
        vcon = None
    if not isinstance(vcon, dict):
        raise BundleInvalid("this is no vCon: it is not a JSON object")
    return vcon


def _claims(vcon: Mapping[str, Any]) -> tuple[bytes, datetime, dict[str, "Place"]]:
    """Return what a vCon is built from: its bundle, the time it was made, and by file name where recordings lie."""
    try:
        made_at = datetime.fromisoformat(vcon["updated_at"])
        proof = next(item for item in vcon["attachments"] if item.get("purpose") == LOG_PROOF)
        data = base64.urlsafe_b64decode(proof["body"] + "==")
        places = {item["filename"]: _place_of(item) for item in vcon["dialog"] if "url" in item}
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
        raise BundleInvalid("this is no vCon of a consent gateway: its log proof is missing or damaged") from None
    return data, made_at, places


def _place_of(dialog: Mapping[str, Any]) -> Place:
    hashes = dialog["content_hash"]
    strong = [text for text in ([hashes] if isinstance(hashes, str) else hashes) if text.startswith("sha512-")]
    return Place(dialog["url"], base64.urlsafe_b64decode(strong[0][7:] + "==") if strong else b"")


# --- the parts -------------------------------------------------------------------------------------------


class _Writer:
    """Writes one vCon. Parties come first: everything else names them by their index."""

    def __init__(self, account: Account, places: Mapping[str, Place]) -> None:
        self.account = account
        self.places = places
        self.index = {person.name: number for number, person in enumerate(account.persons)}
        self.gateway = len(account.persons)
        """Index of the gateway itself: it spoke the prompts and adds the attachments (core-04, section 4.4.3)."""

    def write(self, data: bytes, made_at: datetime) -> dict[str, Any]:
        account = self.account
        dialog = self._dialog()
        return {
            "vcon": SYNTAX,
            "uuid": vcon_uuid(account),
            "extensions": ["CC", LAWFUL_BASIS],
            "created_at": _date(account.began),
            "updated_at": _date(canonical.timestamp(made_at)),
            "parties": [*(self._party(person) for person in account.persons), self._gateway_party()],
            "dialog": dialog,
            "attachments": [
                *(self._basis(person, dialog) for person in account.persons if person.basis in _BASES),
                self._timeline(),
                self._proof(data),
            ],
        }

    # --- parties ----------------------------------------------------------------------------------------

    def _party(self, person: Person) -> dict[str, Any]:
        party: dict[str, Any] = {"type": "person", "role": _ROLES.get(person.role, "thirdparty")}
        if not person.listed:
            party["name"] = person.name
        if person.role == "caller":
            party |= _identity(self.account.values)
        return party

    def _gateway_party(self) -> dict[str, Any]:
        return {"type": "bot", "name": self.account.origin}

    # --- dialog -----------------------------------------------------------------------------------------

    def _dialog(self) -> list[dict[str, Any]]:
        """Recordings first, then the prompts as text; the call's party history is in the first of all.

        Where there is neither: `incomplete` for a call that reached nobody; for one that did, `recording-set`
        without recordings, because "incomplete" would deny that people talked.
        """
        dialog = [self._sound(sound) for sound in self.account.sounds]
        dialog += [self._spoken(question) for question in self.account.questions if question.text]
        if not dialog:
            whole: dict[str, Any] = {"start": _date(self.account.began), "parties": self._everybody()}
            if self.account.connected:
                whole |= {"type": "recording-set", "recordings": []}
            else:
                whole |= {"type": "incomplete", "disposition": _disposition(self.account)}
            dialog.append(whole)
        history = self._history()
        if history:
            dialog[0]["party_history"] = history
        return dialog

    def _everybody(self) -> list[int]:
        return list(self.index.values())

    def _sound(self, sound: Sound) -> dict[str, Any]:
        dialog: dict[str, Any] = {
            "type": "recording",
            "start": _date(sound.began),
            "parties": self._everybody(),
            "mediatype": "audio/x-wav",
            "filename": _filename(sound),
        }
        if self.index.get("caller"):
            dialog["originator"] = self.index["caller"]
        if sound.frames:
            dialog["duration"] = _seconds(sound.frames * FRAME_MS)
        place = self.places.get(sound.recording)
        hashes: list[str] = []
        if place is not None and sound.state != "destroyed":
            if not _PLACE.fullmatch(place.url):
                raise BundleInvalid(f"the place of recording {sound.recording} is no HTTPS URL")
            dialog["url"] = place.url
            if place.sha512:
                hashes.append(f"sha512-{_base64url(place.sha512)}")
        if sound.sha256:
            hashes.append(f"sha256-{_base64url(bytes.fromhex(sound.sha256))}")
        if hashes:
            dialog["content_hash"] = hashes[0] if len(hashes) == 1 else hashes
        return dialog

    def _spoken(self, question: Question) -> dict[str, Any]:
        """A prompt is dialog of the gateway, and its text is what was spoken, letter by letter."""
        return {
            "type": "text",
            "start": _date(question.began),
            "duration": _seconds(question.played_ms),
            "parties": [self.gateway, *self._asked(question)],
            "mediatype": "text/plain",
            "body": question.text,
            "encoding": "none",
        }

    def _asked(self, question: Question) -> list[int]:
        """Whom a prompt was played to: its `party` or `leg`, else the caller, else nobody that is known."""
        facts = self.account.contents.entries[question.entry].facts
        name = facts.get("party", facts.get("leg", "caller"))
        return [self.index[name]] if isinstance(name, str) and name in self.index else []

    def _history(self) -> list[dict[str, Any]]:
        """Who came, went, was on hold and pressed which key. A pause of the recorder is no hold: see the timeline."""
        events: list[dict[str, Any]] = []
        present: list[int] = []

        def add(party: int, at: str, event: str, **more: str) -> None:
            events.append({"party": party, "time": _date(at), "event": event, **more})

        def come(party: int, at: str) -> None:
            if party not in present:
                present.append(party)
                add(party, at, "join")

        def go(party: int, at: str) -> None:
            if party in present:
                present.remove(party)
                add(party, at, "drop")

        for entry in self.account.contents.entries:
            facts = entry.facts
            name = "caller" if entry.kind == "call.arrived" else facts.get("leg", facts.get("party"))
            party = self.index.get(name) if isinstance(name, str) else None
            if entry.kind == "call.ended":
                for left in list(present):
                    go(left, entry.at)
            if party is None:
                continue
            if entry.kind in ("call.arrived", "leg.answered", "party.joined"):
                come(party, entry.at)
            elif entry.kind in ("leg.ended", "party.gone"):
                go(party, entry.at)
            elif entry.kind == "leg.held":
                add(party, entry.at, "hold" if facts.get("held") is True else "unhold")
            elif entry.kind == "answer.digit" and isinstance(facts.get("key"), str):
                for button, down, up in _presses(facts, entry.at):
                    add(party, down, "keydown", button=button)
                    if up:
                        add(party, up, "keyup", button=button)
        return events

    # --- attachments ------------------------------------------------------------------------------------

    def _basis(self, person: Person, dialog: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        last = person.decisions[-1] if person.decisions else None
        at = last.at if last is not None else self.account.began
        grants = dict(last.purposes) if last is not None else dict.fromkeys(self.account.purposes, False)
        allowed = last is not None and last.verdict in ("granted", "not_required")
        body = {
            "lawful_basis": person.basis,
            "expiration": None,
            "purpose_grants": [
                {
                    "purpose": purpose,
                    "granted": allowed and granted,
                    "granted_at": _date(_since(person, purpose) or at),
                }
                for purpose, granted in sorted(grants.items())
            ],
            "proof_mechanisms": [self._mechanism(decision, dialog) for decision in person.decisions],
            "metadata": {
                "call": self.account.call,
                "verdict": person.verdict,
                "policy": self.account.policy,
                "history": [
                    {
                        **{"entry": decision.entry, "at": decision.at},
                        **{"verdict": decision.verdict, "basis": decision.basis, **_asked(decision)},
                    }
                    for decision in person.decisions
                ],
            },
        }
        return self._attachment(LAWFUL_BASIS, at, self.index[person.name], "json", body)

    def _mechanism(self, decision: Decision, dialog: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The proof of one verdict. The draft knows no key press and no refusal: those are `external_system`, the log
        being that system; a yes that was spoken is a `verbal_confirmation`."""
        contents = self.account.contents
        answer = decision.answer
        proof: dict[str, Any] = {
            "system": self.account.origin,
            "call": self.account.call,
            "entry": decision.entry,
            "log_index": contents.places[decision.entry],
            "leaf_hash": contents.leaves[decision.entry].hex(),
            "verdict": decision.verdict,
            **_asked(decision),
        }
        asked = [question for question in self.account.questions if question.entry < decision.entry and question.asks]
        if asked and answer is not None:
            number = self._place_of_question(asked[-1])
            if number is not None:
                proof["dialog_reference"] = number
        if answer is None:
            proof["method"] = "none"
        else:
            names = ("transport", "leg", "meaning", "decision", "question", "engine", "engine_version", "model_sha256")
            proof |= {name: answer.facts[name] for name in names if name in answer.facts}
            proof |= {"method": answer.how, "answer_entry": answer.entry}
            proof |= {"key": answer.key} if answer.key else {}
            proof |= {"confirmation_text": answer.words} if answer.words else {}
        spoken_yes = answer is not None and answer.how == "speech" and decision.verdict == "granted"
        return {
            "proof_type": "verbal_confirmation" if spoken_yes else "external_system",
            "timestamp": _date(decision.at if answer is None else answer.at),
            "proof_data": proof,
        }

    def _place_of_question(self, question: Question) -> int | None:
        spoken = [item for item in self.account.questions if item.text]
        return len(self.account.sounds) + spoken.index(question) if question in spoken else None

    def _timeline(self) -> dict[str, Any]:
        events = [
            {"entry": entry.seq, "at": entry.at, "kind": entry.kind, "facts": entry.facts}
            for entry in self.account.contents.entries
            if entry.kind.startswith(_TIMELINE_KINDS)
        ]
        body = {"version": 1, "call": self.account.call, "frame_ms": FRAME_MS, "events": events}
        return self._attachment(TIMELINE, self.account.began, self.gateway, "json", body)

    def _proof(self, data: bytes) -> dict[str, Any]:
        proof = self._attachment(LOG_PROOF, self.account.began, self.gateway, "base64url", _base64url(data))
        return {**proof, "filename": f"{self.account.call}.bundle"}

    def _attachment(self, purpose: str, start: str, party: int, encoding: str, body: Any) -> dict[str, Any]:
        return {
            "purpose": purpose,
            "start": _date(start),
            "party": party,
            "dialog": 0,
            "mediatype": "application/json",
            "encoding": encoding,
            "body": body,
        }


# --- small things ---------------------------------------------------------------------------------------


def _identity(values: Mapping[str, str]) -> dict[str, str]:
    """The caller's number and name, as far as they still exist. What fits no form of core-04 is left to the bundle."""
    known = {}
    number = values.get("caller_number", "")
    if _TEL.fullmatch(number):
        known["tel"] = number
    elif _SIP.fullmatch(number):
        known["sip"] = number
    if values.get("caller_name"):
        known["name"] = values["caller_name"]
    return known


def _disposition(account: Account) -> str:
    """Why nobody talked, in the words of core-04, section 4.3.11."""
    codes = [
        entry.facts.get("code")
        for entry in account.contents.entries
        if entry.kind == "leg.ended" and entry.facts.get("leg") == "agent"
    ]
    if not codes:
        return "hung-up"
    code = codes[-1]
    return {486: "busy", 600: "busy", 408: "no-answer", 480: "no-answer", 487: "no-answer", 503: "congestion"}.get(
        code if isinstance(code, int) else 0, "failed"
    )


def _asked(decision: Decision) -> dict[str, str]:
    """What an answer about one purpose was about, and what it was."""
    return {"asked": decision.asked, "answer": decision.said} if decision.asked else {}


def _since(person: Person, purpose: str) -> str:
    """Since when *purpose* is granted as it is now; "" when it is not."""
    since = ""
    for decision in reversed(person.decisions):
        if decision.verdict not in ("granted", "not_required") or not decision.purposes.get(purpose):
            break
        since = decision.at
    return since


def _presses(facts: Mapping[str, Any], at: str) -> list[tuple[str, str, str]]:
    """Return button, time down and time up ("" when the log does not know it) of each key of one entry.

    The entry is written when the key is up, if it says how long the key was down; a code has several keys.
    """
    held = facts.get("duration_ms")
    if isinstance(held, int) and not isinstance(held, bool) and held >= 0:
        return [(button, shifted(at, -held), at) for button in str(facts["key"])]
    return [(button, at, "") for button in str(facts["key"])]


def _date(at: str) -> str:
    """Return a time as core-04 wants it: RFC 8620, section 1.4, forbids a fraction of zero.

    >>> _date("2026-11-24T16:00:00.000Z"), _date("2026-11-24T16:00:00.120Z")
    ('2026-11-24T16:00:00Z', '2026-11-24T16:00:00.120Z')
    """
    return at.replace(".000Z", "Z")


def _filename(sound: Sound) -> str:
    return sound.file or f"{sound.recording}.wav.age"


def _seconds(ms: int) -> float | int:
    return ms // 1000 if ms % 1000 == 0 else ms / 1000


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
