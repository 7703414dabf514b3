"""How much of what can record the gateway gates. What is claimed of a device counts only while its check does: what
nobody looked at in time is unknown."""

import datetime
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gateway.policy.devices import (
    CONTROL_IT,
    FIND_OUT,
    Check,
    Control,
    Device,
    Entry,
    Inventory,
    Kind,
    Records,
    check_state,
    overdue_since,
)


class State(StrEnum):
    """What a device counts as, from worst to best."""

    UNCONTROLLED = "uncontrolled"
    UNKNOWN = "unknown"
    RULED = "ruled"
    SWITCHED = "switched"
    GATED = "gated"
    CANNOT_RECORD = "cannot_record"


_CONTROLLED = {
    Control.GATEWAY: State.GATED,
    Control.VENDOR_SWITCH: State.SWITCHED,
    Control.WRITTEN_RULE: State.RULED,
}


def state(device: Device, at: datetime.date) -> State:
    """Return what *device* counts as on *at*.

    Whatever is claimed of it, also that it cannot record, counts while its check does, and is unknown from the day
    after. Without a control it is uncontrolled, however well that was checked, and even if it may not record at all.
    """
    if device.records is not Records.NO and device.control is Control.NONE:
        return State.UNCONTROLLED
    if device.control is Control.UNKNOWN or check_state(device, at) is not Check.CURRENT:
        return State.UNKNOWN
    if device.records is Records.NO or device.control is None:
        return State.CANNOT_RECORD
    return _CONTROLLED[device.control]


@dataclass(frozen=True, slots=True)
class Count:
    """How many devices count as what; *overdue*: those of them all whose check does not count, for any reason."""

    gated: int = 0
    switched: int = 0
    ruled: int = 0
    uncontrolled: int = 0
    unknown: int = 0
    cannot_record: int = 0
    overdue: int = 0

    @property
    def total(self) -> int:
        """Every device."""
        return self.recorders + self.cannot_record

    @property
    def recorders(self) -> int:
        """Those that can record, as far as is known."""
        return self.gated + self.switched + self.ruled + self.uncontrolled + self.unknown

    @property
    def gated_percent(self) -> int | None:
        """The gated share of `recorders` in whole percent, rounded down; None when nothing can record."""
        return 100 * self.gated // self.recorders if self.recorders else None

    def entry(self) -> dict[str, int | None]:
        """Return the counts for a report that machines read."""
        return {
            "total": self.total,
            "can_record": self.recorders,
            "gated": self.gated,
            "switched": self.switched,
            "ruled": self.ruled,
            "uncontrolled": self.uncontrolled,
            "unknown": self.unknown,
            "cannot_record": self.cannot_record,
            "overdue": self.overdue,
            "gated_percent": self.gated_percent,
        }


@dataclass(frozen=True, slots=True)
class Gap:
    """A device that no gateway and no switch keeps from recording, or of which nobody can say so, and *remedy*.

    *since*: the first day on which its check counted no more, None where that is not why.
    """

    entry: Entry
    state: State
    since: datetime.date | None
    remedy: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of the organisation's recording is gated on the day *at*. *kinds* and *gaps* have the worst first."""

    at: datetime.date
    kinds: tuple[tuple[Kind, Count], ...]
    total: Count
    gaps: tuple[Gap, ...]

    @property
    def complete(self) -> bool:
        """Nothing that can record is unknown or uncontrolled."""
        return self.total.unknown == self.total.uncontrolled == 0


_WORST_FIRST = list(State)
_GAPS = (State.UNCONTROLLED, State.UNKNOWN, State.RULED)


def worst_first(entries: Iterable[Entry], at: datetime.date) -> list[Entry]:
    """Return *entries* by what they count as on *at*; of equals, what is known to record and is most first."""

    def badness(entry: Entry) -> tuple[int, bool, int, str]:
        device = entry.device
        return _WORST_FIRST.index(state(device, at)), device.records is not Records.YES, -device.count, device.id

    return sorted(entries, key=badness)


def coverage(inventory: Inventory, at: datetime.date) -> Coverage:
    """Count what gates, switches and rules the devices of *inventory* on the day *at*."""
    entries = inventory.entries
    kinds = [(kind, _count((e.device for e in entries if e.device.kind is kind), at)) for kind in Kind]
    gaps = [_gap(entry, at) for entry in worst_first(entries, at) if state(entry.device, at) in _GAPS]
    return Coverage(
        at=at,
        kinds=tuple(sorted((row for row in kinds if row[1].total), key=_badness)),
        total=_count((entry.device for entry in entries), at),
        gaps=tuple(gaps),
    )


def _count(devices: Iterable[Device], at: datetime.date) -> Count:
    counted: Counter[str] = Counter()
    for device in devices:
        counted[state(device, at).value] += device.count
        counted["overdue"] += device.count * (check_state(device, at) is not Check.CURRENT)
    return Count(**counted)


def _badness(row: tuple[Kind, Count]) -> tuple[int, int, int, str]:
    kind, count = row
    return -count.uncontrolled, -count.unknown, -count.ruled, kind.value


def _gap(entry: Entry, at: datetime.date) -> Gap:
    device, found = entry.device, state(entry.device, at)
    lapsed = found is State.UNKNOWN and device.control is not Control.UNKNOWN
    return Gap(entry, found, overdue_since(device, at) if lapsed else None, _remedy(device, found, at))


def _remedy(device: Device, found: State, at: datetime.date) -> str:
    if found is State.RULED:
        return f'put the gateway before it or use the vendor\'s switch: only a rule governs it ("{device.rule}")'
    if found is State.UNCONTROLLED:
        first = "find out whether it can record; until then " if device.records is Records.UNKNOWN else ""
        return first + CONTROL_IT
    if device.control is Control.UNKNOWN:
        return f"nobody knows what controls it: {FIND_OUT}"
    check = check_state(device, at)
    if check is Check.NEVER:
        return f"see whether {device.claim}: nobody has"
    if check is Check.IN_THE_FUTURE:
        return f"see whether {device.claim}: checked on {device.last_checked} only, which is after {at}"
    return f"see again whether {device.claim}: last checked on {device.last_checked} by {device.checked_by}"
