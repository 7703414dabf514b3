"""A small client for the running gateway's HTTP interface."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from gateway.cli.output import OUT_OF_REACH, complain

TIMEOUT_S = 10


class Refused(Exception):
    """The gateway answered with a problem."""

    def __init__(self, status: int, code: str, title: str) -> None:
        super().__init__(f"{title} ({code})")
        self.status, self.code, self.title = status, code, title


def request(url: str, key_file: Path | None, method: str, path: str) -> Any:
    """Return the answer's JSON; errors as `fetch`."""
    return json.loads(fetch(url, key_file, method, path))


def fetch(url: str, key_file: Path | None, method: str, path: str) -> bytes:
    """Return the answer's body. Raises `Refused`; leaves with 3 when the gateway or the key is out of reach."""
    file = key_file or Path("var/keys/cli.key")
    if not url.startswith(("http://", "https://")):
        complain("--url must begin with http:// or https://")
        raise SystemExit(2)
    try:
        key = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        complain(f"no API key: {file} cannot be read ({error.strerror}); name one with --key-file")
        raise SystemExit(OUT_OF_REACH) from None
    asked = urllib.request.Request(url.rstrip("/") + path, method=method, headers={"Authorization": f"Bearer {key}"})  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:  # noqa: S310
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        try:
            problem = json.load(error)
        except ValueError:
            problem = {}
        raise Refused(
            error.code, problem.get("code", "http_error"), problem.get("title", "The gateway refused")
        ) from None
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        reason = getattr(error, "reason", error)
        complain(f"no gateway answers at {url}: {reason}; is `consent-gateway serve` running?")
        raise SystemExit(OUT_OF_REACH) from None
