"""The forms in which a call's evidence leaves the gateway, all rendered from the same bundle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from gateway.evidence import canonical
from gateway.evidence.account import tell
from gateway.evidence.checkpoint import Signer
from gateway.evidence.consent_record import consent_records
from gateway.evidence.errors import KeyInvalid
from gateway.evidence.jws import sign_vcon
from gateway.evidence.receipt import receipt
from gateway.evidence.vcon import Place, build_vcon

Form = Literal["bundle", "vcon", "vcon-signed", "consent-record", "receipt"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the log does not know and a form may say: see the options of `evidence export`."""

    language: str = ""
    party: str = "caller"
    controller: str = ""
    media_url: str = ""


def render(
    form: Form,
    data: bytes,
    key: str,
    wishes: Wishes,
    *,
    made_at: datetime,
    places: Mapping[str, Place] | None = None,
    signer: Signer | None = None,
) -> bytes:
    """Return the file of *form*, made of the bundle *data* after verifying it with *key*. *made_at* has a time zone;
    *places* are where recordings can be had. Raises `EvidenceInvalid`; `KeyInvalid` for a signed form without a
    signer."""
    if form == "bundle":
        return data
    if form == "receipt":
        account = tell(data, key)
        return receipt(account, party=wishes.party, language=wishes.language, controller=wishes.controller).encode()
    if form == "consent-record":
        records = consent_records(tell(data, key), made_at=made_at, controller=wishes.controller)
        return json.dumps(records, indent=2, ensure_ascii=False).encode() + b"\n"
    vcon = build_vcon(data, key, made_at=made_at, places=places or {})
    if form == "vcon":
        return canonical.dump(vcon) + b"\n"
    if signer is None:
        raise KeyInvalid("a signed vCon is made where the log's key is: evidence export --format vcon-signed")
    return sign_vcon(vcon, signer)
