"""A time stamping authority reached over HTTP (RFC 3161, section 3.4)."""

import secrets
from collections.abc import Callable, Sequence

from cryptography import x509

from gateway.adapters.anchors.http import post
from gateway.evidence.timestamp import Stamp, build_request, read_stamp
from gateway.ports.anchors import AnchorUnavailable, Head, Kept

_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"


def _random_nonce() -> int:
    return secrets.randbits(64) or 1


class TimeStampingAuthority:
    """`Anchor` that has each head stamped, and believes only stamps that *certificates* vouch for."""

    def __init__(
        self,
        name: str,
        url: str,
        certificates: Sequence[x509.Certificate],
        *,
        timeout_s: float = 15.0,
        nonce: Callable[[], int] = _random_nonce,
    ) -> None:
        self._name, self._url, self._certificates = name, url, certificates
        self._timeout_s, self._nonce = timeout_s, nonce

    @property
    def name(self) -> str:
        return self._name

    def keep(self, head: Head) -> Kept:
        nonce = self._nonce()
        status, kind, answer = post(
            self._url, build_request(head.note, nonce), {"Content-Type": _QUERY, "Accept": _REPLY}, self._timeout_s
        )
        if 300 <= status < 400:
            raise AnchorUnavailable(f"it sends us elsewhere (status {status}): configure its final address")
        if status != 200:
            raise AnchorUnavailable(f"it answers with status {status}: is the address right, and are we let in?")
        if kind != _REPLY:
            raise AnchorUnavailable(f"what answers there is no time stamping authority: no {_REPLY}")
        return Kept(say(read_stamp(answer, head.note, self._certificates, nonce=nonce)), ".tsr", answer)


def say(stamp: Stamp) -> str:
    """Say in words what a stamp shows."""
    return f"stamped by {stamp.authority}: it existed before {stamp.latest:%Y-%m-%d %H:%M:%S} UTC"
