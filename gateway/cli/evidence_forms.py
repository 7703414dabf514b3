"""Where recordings can be had, for the forms in which a call's evidence leaves the gateway."""

import hashlib
import json
from pathlib import Path
from urllib.parse import quote

from gateway.evidence.vcon import Place


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
