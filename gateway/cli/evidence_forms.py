"""The forms in which a call's evidence leaves the gateway, all rendered from the same bundle."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote

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
    form: Form, data: bytes, key: str, wishes: Wishes, places: Mapping[str, Place], signer: Signer | None
) -> bytes:
    """Return the file of *form*. Raises `EvidenceInvalid`; `KeyInvalid` for a signed form without a signer."""
    made_at = datetime.now(UTC)
    if form == "bundle":
        return data
    if form == "receipt":
        return receipt(
            tell(data, key), party=wishes.party, language=wishes.language, controller=wishes.controller
        ).encode()
    if form == "consent-record":
        records = consent_records(tell(data, key), made_at=made_at, controller=wishes.controller)
        return json.dumps(records, indent=2, ensure_ascii=False).encode() + b"\n"
    vcon = build_vcon(data, key, made_at=made_at, places=places)
    if form == "vcon":
        return canonical.dump(vcon) + b"\n"
    if signer is None:
        raise KeyInvalid("a signed vCon is made where the log's key is: evidence export --format vcon-signed")
    return sign_vcon(vcon, signer)


def places_of(data: bytes, template: str, folder: Path | None) -> dict[str, Place]:
    """Return where each recording of a bundle is, by *template* ("" for nowhere): `{recording}` is replaced.

    The SHA-512 is that of the sealed file in *folder*, where it is there.
    """
    if not template:
        return {}
    try:
        names = [str(item["recording"]) for item in json.loads(data)["recordings"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}  # the verification that follows says what is wrong
    return {name: Place(template.replace("{recording}", quote(name, safe="")), _sha512(folder, name)) for name in names}


def _sha512(folder: Path | None, name: str) -> bytes:
    path = None if folder is None or "/" in name or name.startswith(".") else folder / f"{name}.wav.age"
    if path is None or not path.is_file():
        return b""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").digest()
