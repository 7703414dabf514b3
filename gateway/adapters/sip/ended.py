"""Calls that have ended for us and that the library is not rid of yet. Stack thread only.

We report the end of a leg when we hang it up. The library keeps the call's slot until the far end has answered our BYE
or CANCEL, or for the 32 s of its transaction (RFC 3261 section 17.1.2.2, timer F) when nobody is there to answer; with
all slots taken it declines new calls by itself.
"""

from dataclasses import dataclass, field
from typing import Final, Protocol

LOOK_AGAIN_S: Final = 1.0
"""Each look asks the library, so a call that lasts is looked at less often, but at least after this."""


class EndedCall(Protocol):
    """The library's object of a call."""

    def isActive(self) -> bool: ...
    def getId(self) -> int: ...
    def keeps_slot(self) -> bool: ...


@dataclass(slots=True)
class _Buried:
    call: EndedCall
    since: float
    look_at: float
    holds: bool


@dataclass(slots=True)
class EndedCalls:
    """Holds each ended call until its slot is empty. Times in seconds of one clock (CLOCK_MONOTONIC)."""

    _buried: list[_Buried] = field(default_factory=list)

    @property
    def slots(self) -> set[int]:
        """The numbers of the slots that ended calls still have, as of the last `bury` or `look`."""
        return {item.call.getId() for item in self._buried if item.holds}

    def bury(self, call: EndedCall, now: float) -> None:
        """Keep *call* alive: the library may be in one of its callbacks."""
        self._buried.append(_Buried(call, now, now, call.keeps_slot()))

    def look(self, now: float) -> None:
        """Let go of what has ended for the library too.

        An object keeps the number of its slot after the call has ended, and hangs up whoever has that slot when it is
        destroyed: so it is destroyed only while the slot is empty.
        """
        kept: list[_Buried] = []
        for item in self._buried:
            if item.look_at > now:
                kept.append(item)
                continue
            item.holds = item.call.keeps_slot()
            if item.holds or item.call.isActive():
                item.look_at = now + min(LOOK_AGAIN_S, now - item.since)
                kept.append(item)
        self._buried = kept
