"""When a policy is for: hours of the week by the clock on the wall of one place."""

import zoneinfo
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from gateway.policy.tables import Table, clash

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]
"""Hours and minutes, 00:00 to 24:00."""


class Times(Table):
    """Hours of some days of the week. Those that end before they begin go on after midnight, and are of the day they
    began on."""

    zone: str
    """IANA time zone, such as "Europe/Berlin": its summer time counts."""
    days: tuple[Day, ...] = Field(default=WEEK, min_length=1, strict=False)
    start: TimeOfDay = "00:00"
    end: TimeOfDay = "24:00"
    """The first minute that is no longer meant."""

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError('no time zone is called so: write an IANA name such as "Europe/Berlin"') from None
        return value

    @model_validator(mode="after")
    def _coherent(self) -> "Times":
        if self.start == "24:00":
            raise clash('nothing starts at 24:00: write "00:00"', "start")
        if self.start == self.end:
            raise clash("start and end are the same: leave both out for the whole day, or change one of them", "end")
        return self

    def covers(self, at: datetime) -> bool:
        """Whether *at*, which must have a time zone, is within."""
        if at.tzinfo is None:
            raise ValueError("a time without a time zone is of no place")
        local = at.astimezone(zoneinfo.ZoneInfo(self.zone))
        minute, day = local.hour * 60 + local.minute, local.weekday()
        start, end = _minute(self.start), _minute(self.end)
        today, yesterday = WEEK[day] in self.days, WEEK[day - 1] in self.days
        if start < end:
            return today and start <= minute < end
        return (today and minute >= start) or (yesterday and minute < end)


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
