"""The inventory of everything that can record: who is responsible for it, what controls it, when it was checked."""

import datetime
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator, model_validator

from gateway.policy.errors import PolicyError, Problem
from gateway.policy.law import Text
from gateway.policy.lines import key_lines, line_of
from gateway.policy.tables import Table, clash, read_table


class Kind(StrEnum):
    """What sort of thing it is."""

    DESK_PHONE = "desk_phone"
    SOFTPHONE = "softphone"
    MOBILE = "mobile"
    TRUNK = "trunk"
    PBX = "pbx"
    MEETING_APPLICATION = "meeting_application"
    VOICEMAIL = "voicemail"
    CONTACT_CENTRE = "contact_centre"
    DICTATION = "dictation"
    DOOR_INTERCOM = "door_intercom"
    OTHER = "other"


class Records(StrEnum):
    """Whether it can record, were nothing to keep it from it."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Party(StrEnum):
    """Whose people use it."""

    EMPLOYEES = "employees"
    CONTRACTORS = "contractors"
    OUTSOURCERS = "outsourcers"


class Control(StrEnum):
    """The strongest thing that decides whether it records: the gateway, a switch of the vendor's that is off, or a rule
    that people are to keep."""

    GATEWAY = "gateway"
    VENDOR_SWITCH = "vendor_switch"
    WRITTEN_RULE = "written_rule"
    NONE = "none"
    UNKNOWN = "unknown"


_PROOF = {
    Control.GATEWAY: ("gateway_line", "name the called numbers of the gateway that stands before it"),
    Control.VENDOR_SWITCH: ("vendor_setting", "name the switch and how it is set"),
    Control.WRITTEN_RULE: ("rule", "name the document and its section"),
}
"""What must be said with each control, from the strongest down."""

CONTROL_IT = "put the gateway before it, turn its recorder off with the vendor's switch, or write a rule for it"
"""What to do about a device that nothing controls."""

FIND_OUT = "find out what does and write that down"
"""What to do where it is not known what controls a device."""

_OWN_RECORDER = frozenset({Kind.DESK_PHONE, Kind.SOFTPHONE, Kind.MOBILE, Kind.MEETING_APPLICATION, Kind.DICTATION})
"""Kinds that often have a recorder inside, which no gateway on the line can stop."""

Number = Annotated[str, StringConstraints(pattern=r"^[^\s\x00-\x1f\x7f-\x9f]{1,80}$")]


class Device(Table):
    """One `[[device]]`: a thing that can record, or *count* alike.

    *gateway_line* has called numbers as in `[match] called` of a policy, with `*` and `?`. *check_every_days*: a check
    counts through the day that is so many days after it.
    """

    id: str
    kind: Kind = Field(strict=False)
    name: Text
    location: Text | None = None
    line: Text | None = None
    count: int = Field(default=1, ge=1, le=1_000_000)
    records: Records = Field(strict=False)
    responsible: Text
    parties: tuple[Annotated[Party, Field(strict=False)], ...] = Field(strict=False)
    control: Control | None = Field(default=None, strict=False)
    gateway_line: tuple[Number, ...] | None = Field(default=None, strict=False)
    vendor_setting: Text | None = None
    rule: Text | None = None
    last_checked: datetime.date | None = None
    checked_by: Text | None = None
    check_every_days: int = Field(default=365, ge=1, le=3_660)
    note: Text | None = None

    @field_validator("id")
    @classmethod
    def _plain(cls, value: str) -> str:
        allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-")
        if not 1 <= len(value) <= 63 or not set(value) <= allowed or value[0] == "-":
            raise ValueError('write up to 63 small letters, digits and hyphens, such as "reception-phones"')
        return value

    @field_validator("parties", "gateway_line", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f'write a list, such as ["{value}"]')
        if value is not None and not isinstance(value, list | tuple):
            raise ValueError("write a list of texts")
        if value is not None and not value:
            raise ValueError("name at least one, or leave the key out where it may be left out")
        return value

    @field_validator("parties")
    @classmethod
    def _once(cls, value: tuple[Party, ...]) -> tuple[Party, ...]:
        if len(value) != len(set(value)):
            raise ValueError("name each party once")
        return value

    @model_validator(mode="after")
    def _coherent(self) -> "Device":
        given = [control for control, (key, _) in _PROOF.items() if getattr(self, key) is not None]
        if self.records is Records.NO:
            if self.control not in (None, Control.NONE) or given:
                raise clash(
                    "what cannot record needs no control: leave control out with all that belongs to it, or write "
                    'records = "yes" where something keeps it from recording',
                    "control" if self.control is not None else _PROOF[given[0]][0],
                )
        elif self.control is None:
            raise clash('what can record needs a control: write "none" or "unknown" if that is so', "control")
        else:
            self._proven(self.control, given)
        if (self.last_checked is None) is not (self.checked_by is None):
            missing, there = (
                ("checked_by", "last_checked") if self.checked_by is None else ("last_checked", "checked_by")
            )
            raise clash(f"{there} needs {missing}: write who checked and when, or neither", there)
        return self

    def _proven(self, control: Control, given: list[Control]) -> None:
        """Refuse a control that is not described, and descriptions of a stronger one."""
        if control in _PROOF and control not in given:
            key, remedy = _PROOF[control]
            raise clash(f'control = "{control}" needs {key}: {remedy}', "control")
        if given and (control not in _PROOF or list(_PROOF).index(given[0]) < list(_PROOF).index(control)):
            key = _PROOF[given[0]][0]
            raise clash(
                f'{key} does not go with control = "{control}": write control = "{given[0]}" if that is what controls '
                f"it, or leave {key} out",
                key,
            )

    @property
    def due(self) -> datetime.date | None:
        """The last day on which the check counts, None when there was none."""
        if self.last_checked is None:
            return None
        last = self.last_checked.toordinal() + self.check_every_days
        return datetime.date.fromordinal(min(last, datetime.date.max.toordinal()))

    @property
    def claim(self) -> str:
        """What a check has to look at, to be read after "see whether"."""
        if self.records is Records.NO:
            return "it still cannot record"
        if self.control is Control.GATEWAY:
            return f"the gateway stands before it on {', '.join(self.gateway_line or ())}"
        if self.control is Control.VENDOR_SWITCH:
            return f'the switch is set as written ("{self.vendor_setting}")'
        if self.control is Control.WRITTEN_RULE:
            return f'the rule is kept ("{self.rule}")'
        return "what is written of it is true"


class _DeviceFile(Table):
    device: tuple[Device, ...] = Field(strict=False)

    @field_validator("device", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("write [[device]], in double brackets, above each device")
        if not value:
            raise ValueError("there is no [[device]] in the file: write one, or take the file away")
        return value


@dataclass(frozen=True, slots=True)
class Entry:
    """One device and where it is written."""

    device: Device
    source: str
    line: int

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class DeviceFile:
    """One file of the inventory with the SHA-256 of its bytes."""

    source: str
    sha256: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """All files together; no two devices have one id."""

    files: tuple[DeviceFile, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every device, in the order of the files."""
        return tuple(entry for file in self.files for entry in file.entries)


def parse_devices(data: bytes, source: str) -> DeviceFile:
    """Read one file. Raises `PolicyError` with file, line and remedy for everything that is wrong."""
    devices = read_table(_DeviceFile, data, source).device
    lines = key_lines(data.decode())
    entries = (Entry(device, source, line_of(lines, ("device", at))) for at, device in enumerate(devices))
    return DeviceFile(source, hashlib.sha256(data).hexdigest(), tuple(entries))


def make_inventory(files: Iterable[DeviceFile]) -> Inventory:
    """Put files together. Raises `PolicyError`, naming both places, when two devices have one id."""
    inventory = Inventory(tuple(files))
    seen: dict[str, Entry] = {}
    problems = []
    for entry in inventory.entries:
        before = seen.setdefault(entry.device.id, entry)
        if before is not entry:
            message = f'id "{entry.device.id}" is that of {before.where} already: give each device an id of its own'
            problems.append(Problem(entry.source, entry.line, message))
    if problems:
        raise PolicyError(problems)
    return inventory


class Check(StrEnum):
    """What the last check is worth on a day."""

    CURRENT = "current"
    OVERDUE = "overdue"
    NEVER = "never"
    IN_THE_FUTURE = "in_the_future"


def check_state(device: Device, at: datetime.date) -> Check:
    """Return what the last check is worth on *at*: it counts from its day through `due`."""
    if device.last_checked is None or device.due is None:
        return Check.NEVER
    if device.last_checked > at:
        return Check.IN_THE_FUTURE
    return Check.OVERDUE if at > device.due else Check.CURRENT


def overdue_since(device: Device, at: datetime.date) -> datetime.date | None:
    """Return the first day on which the last check counted no more; None unless it is overdue."""
    if device.due is None or check_state(device, at) is not Check.OVERDUE:
        return None
    return device.due + datetime.timedelta(days=1)


def device_warnings(inventory: Inventory, today: datetime.date) -> list[Problem]:
    """What is allowed in an inventory but somebody has to see to, in its order."""
    return [
        Problem(entry.source, entry.line, f'device "{entry.device.id}": {message}', "warning")
        for entry in inventory.entries
        for message in _concerns(entry.device, today)
    ]


def _concerns(device: Device, today: datetime.date) -> list[str]:
    found = []
    if device.records is not Records.NO and device.control is Control.NONE:
        can = "it can record" if device.records is Records.YES else "it may be able to record"
        found.append(f"{can} and nothing controls it: {CONTROL_IT}")
    if device.control is Control.UNKNOWN:
        found.append(f"nobody knows what controls it: {FIND_OUT}")
    if (
        device.control is Control.GATEWAY
        and device.kind in _OWN_RECORDER
        and not (device.vendor_setting or device.rule)
    ):
        found.append(
            "the gateway stops no recorder inside the device: name the vendor_setting or the rule against that one too"
        )
    check = check_state(device, today)
    if check is Check.NEVER:
        found.append(f"never checked: see whether {device.claim}, then write last_checked and checked_by")
    elif check is Check.OVERDUE:
        found.append(f"check overdue since {overdue_since(device, today)}: see whether {device.claim}")
    elif check is Check.IN_THE_FUTURE:
        found.append(f"checked in the future ({device.last_checked}): write the day on which somebody looked")
    return found
