"""REPLICATION_LIMITS: the bandwidth and the hours of copies to a location."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from atoll.config.units import Size

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")
# At this rate, one part of 8 MiB takes two minutes. Slower copies would hold their lease too long.
_BANDWIDTH_MINIMUM = 64 * 2**10


@dataclass(frozen=True)
class Hours:
    """A daily period in UTC, from `begin` up to `end`; past midnight if `end` is earlier."""

    begin: datetime.time
    end: datetime.time

    def contain(self, moment: datetime.datetime) -> bool:
        """Return whether a time, which must have a time zone, is within the period."""
        time = moment.astimezone(datetime.UTC).time()
        if self.begin <= self.end:
            return self.begin <= time < self.end
        return time >= self.begin or time < self.end


def parse_hours(value: Any) -> Hours:
    """Parse a period such as `22:00-06:00`.

    Raises:
        ValueError: The text is malformed, or the period is empty.
    """
    if isinstance(value, Hours):
        return value
    match = _HOURS.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("must be two times of day in UTC, such as 22:00-06:00")
    begin, end = (datetime.time(int(match[i]), int(match[i + 1])) for i in (1, 3))
    if begin == end:
        raise ValueError("begins and ends at the same time; omit it to copy at any time")
    return Hours(begin, end)


class ReplicationLimit(BaseModel):
    """The limits of one worker's copies to one location."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    bandwidth: Annotated[Size, Field(ge=_BANDWIDTH_MINIMUM)] | None = Field(
        default=None,
        description="Bytes per second of all copies of one worker together, such as 50M; at least"
        " 64 KiB.",
    )
    hours: Annotated[Hours, BeforeValidator(parse_hours)] | None = Field(
        default=None,
        description="Time of day, in UTC, within which copies run, such as 22:00-06:00.",
    )

    @model_validator(mode="after")
    def _at_least_one(self) -> ReplicationLimit:
        if self.bandwidth is None and self.hours is None:
            raise ValueError("has no effect; set bandwidth, hours or both")
        return self
