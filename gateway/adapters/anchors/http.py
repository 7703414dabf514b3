"""One question over HTTP to a machine that is not ours: bounded in time and size, no redirection followed."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

from gateway.ports.anchors import AnchorUnavailable

_MAX_BYTES = 262_144


class _AsItIs(urllib.request.HTTPErrorProcessor):
    """Every status is an answer; and a POST never becomes a GET of another address."""

    def http_response(
        self, request: urllib.request.Request, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        return response

    https_response = http_response


_OPENER = urllib.request.build_opener(_AsItIs)


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> tuple[int, str, bytes]:
    """Return status, content type and body of the answer, whatever its status. Raises `AnchorUnavailable`."""
    deadline = time.monotonic() + timeout_s
    late = f"no answer within {timeout_s:g} s"
    asked = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")  # noqa: S310 (settings say http)
    try:
        with _OPENER.open(asked, timeout=timeout_s) as answer:
            return answer.status, str(answer.headers.get_content_type()), _read(answer, deadline)
    except TimeoutError:
        reason = late
    except urllib.error.URLError as error:
        reason = late if isinstance(error.reason, TimeoutError) else " ".join(str(error.reason).split())
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = f"its answer broke off ({type(error).__name__})"
    raise AnchorUnavailable(reason)


def _read(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    body = b""
    while part := answer.read1(65_536):
        body += part
        if len(body) > _MAX_BYTES:
            raise AnchorUnavailable(f"its answer has over {_MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return body
