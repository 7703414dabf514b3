"""A small client for the running gateway's HTTP interface."""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.cli.output import OUT_OF_REACH, complain

TIMEOUT_S = 10
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""No proxy of the environment: it could not reach a loopback address, and would see the key."""


class Refused(Exception):
    """The gateway answered with a problem."""

    def __init__(self, status: int, code: str, title: str, errors: Sequence[Any] = ()) -> None:
        super().__init__(f"{title} ({code})")
        self.status, self.code, self.title, self.errors = status, code, title, errors


def request(url: str, key_file: Path | None, method: str, path: str, body: Any = None) -> Any:
    """Return the answer's JSON; errors as `fetch`."""
    answer = fetch(url, key_file, method, path, body)
    try:
        return json.loads(answer)
    except ValueError:
        complain(f"what answers at {url} is not a consent gateway")
        raise SystemExit(OUT_OF_REACH) from None


def segment(text: str) -> str:
    """Return *text* as one segment of a path, whatever it holds."""
    return urllib.parse.quote(text, safe="")


def fetch(url: str, key_file: Path | None, method: str, path: str, body: Any = None) -> bytes:
    """Return the answer's body to a request with *body* as JSON, or without one. Raises `Refused`; leaves with 3 when
    the gateway or the key is out of reach."""
    file = key_file or Path("var/keys/cli.key")
    if not url.startswith(("http://", "https://")):
        complain("--url must begin with http:// or https://")
        raise SystemExit(2)
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        complain(f"no API key: {file} cannot be read ({why}); name one with --key-file")
        raise SystemExit(OUT_OF_REACH) from None
    headers = {"Authorization": f"Bearer {key}"} | ({} if body is None else {"Content-Type": "application/json"})
    sent = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url.rstrip("/") + path, sent, headers, method=method)  # noqa: S310
    try:
        with _OPENER.open(asked, timeout=TIMEOUT_S) as answer:
            received: bytes = answer.read()
            return received
    except urllib.error.HTTPError as error:
        try:
            problem = json.load(error)
        except ValueError:
            problem = {}
        problem = problem if isinstance(problem, dict) else {}
        raise Refused(
            error.code,
            problem.get("code", "http_error"),
            problem.get("title", "The gateway refused"),
            problem.get("errors", ()),
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        complain(f"no gateway answers at {url}: {reason}; is `consent-gateway serve` running?")
        raise SystemExit(OUT_OF_REACH) from None
