"""REPLICATION_LIMITS: how fast, and at which hours, may be copied to a location."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from atoll.config.sizes import Size

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")
# One part of 8 MiB takes two minutes at that rate; below, a lease would be kept for nothing.
_BANDWIDTH_MINIMUM = 64 * 2**10


@dataclass(frozen=True)
class Hours:
    """A time of every day, in UTC, from BEGIN up to END; over midnight where END is earlier."""

    begin: datetime.time
    end: datetime.time

    def contain(self, moment: datetime.datetime) -> bool:
        """Tell whether MOMENT, which knows its zone, is within these hours."""
        time = moment.astimezone(datetime.UTC).time()
        if self.begin <= self.end:
            return self.begin <= time < self.end
        return time >= self.begin or time < self.end


def parse_hours(value: Any) -> Hours:
    """Return hours from text such as `22:00-06:00`. Raises ValueError."""
    if isinstance(value, Hours):
        return value
    match = _HOURS.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("must be two times of day in UTC, such as 22:00-06:00")
    begin, end = (datetime.time(int(match[i]), int(match[i + 1])) for i in (1, 3))
    if begin == end:
        raise ValueError("begins when it ends; leave it out to copy at any hour")
    return Hours(begin, end)


class ReplicationLimit(BaseModel):
    """What one worker keeps to at one location."""

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
    def _something(self) -> ReplicationLimit:
        if self.bandwidth is None and self.hours is None:
            raise ValueError("limits nothing; give it bandwidth, hours or both")
        return self
