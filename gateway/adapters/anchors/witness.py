"""A witness reached over HTTP: C2SP `tlog-witness`, `add-checkpoint`."""

import base64
import re

from gateway.adapters.anchors.http import post
from gateway.evidence.cosignature import Witness, add_cosignatures, read_cosignatures
from gateway.ports.anchors import AnchorUnavailable, Head, Kept
from gateway.ports.evidence import ForkDetected

_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_OK, _FORBIDDEN, _UNKNOWN, _CONFLICT, _INCONSISTENT = 200, 403, 404, 409, 422


class WitnessAnchor:
    """`Anchor` that has heads cosigned. Which head the witness knows is remembered, or asked from it."""

    def __init__(self, name: str, url: str, witness: Witness, *, timeout_s: float = 15.0) -> None:
        self._name, self._url = name, f"{url.rstrip('/')}/add-checkpoint"
        self._witness, self._timeout_s = witness, timeout_s
        self._known = 0

    @property
    def name(self) -> str:
        return self._name

    def keep(self, head: Head) -> Kept:
        size = head.checkpoint.size
        status, answer = self._ask(head, min(self._known, size))
        if status == _CONFLICT:
            known = _SIZE.fullmatch(answer)
            if known is None:
                raise AnchorUnavailable("the witness says that it knows another head, but not of which size")
            self._known = int(known[1])
            if self._known > size:
                raise ForkDetected(
                    f"witness {self._witness.name} has seen the log with {self._known} entries, now it has {size}: the "
                    "log and its signed head were restored from a backup, replaced or cut short"
                )
            status, answer = self._ask(head, self._known)
        if status != _OK:
            self._refused(status, head)
        try:
            text = answer.decode()
        except UnicodeDecodeError:
            raise AnchorUnavailable("what answers there is no witness: its answer is no text") from None
        note = add_cosignatures(head.note, text, self._witness)
        self._known = size
        seen = read_cosignatures(note, [self._witness])
        return Kept(f"seen by witness {seen[-1]}", ".cosigned", note.encode())

    def _ask(self, head: Head, old: int) -> tuple[int, bytes]:
        proof = head.extends(old) if 0 < old < head.checkpoint.size else ()
        lines = [f"old {old}", *(base64.b64encode(part).decode() for part in proof)]
        body = "".join(f"{line}\n" for line in lines) + f"\n{head.note}"
        status, _, answer = post(
            self._url, body.encode(), {"Content-Type": "text/plain; charset=utf-8"}, self._timeout_s
        )
        return status, answer

    def _refused(self, status: int, head: Head) -> None:
        if status == _INCONSISTENT:
            raise ForkDetected(
                f"witness {self._witness.name} has seen another history of this log than the one of these "
                f"{head.checkpoint.size} entries: it was changed, or this key has signed two logs"
            )
        raise AnchorUnavailable(
            {
                _UNKNOWN: "the witness does not know this log: have its operator add log.pub (or the address is wrong)",
                _FORBIDDEN: "the witness knows another key of this log: have its operator add log.pub",
                _CONFLICT: "the witness changed its mind about what it knows: another gateway signs with this key?",
            }.get(status, f"the witness answers with status {status}: is the address right?")
        )
