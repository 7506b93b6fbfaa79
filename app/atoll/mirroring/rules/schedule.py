"""When mirrors are due: at the start date plus a multiple of the interval, which never drifts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from atoll.config.replication_limits import Hours


@dataclass(frozen=True)
class Schedule:
    """The schedule of a mirror.

    Attributes:
        start: The first date.
        interval: Seconds between dates; 0 for no dates, so that only requests start runs.
        hours: The period of each day in which runs begin. A date outside of it is postponed to
            the beginning of the next period.
    """

    start: datetime
    interval: int
    hours: Hours | None = None

    def first(self) -> datetime | None:
        """Return the first date, which may have passed; None if there are no dates."""
        return self.postponed(self.start) if self.interval else None

    def after(self, now: datetime) -> datetime | None:
        """Return the first date after a time; None if there are no dates.

        Args:
            now: A time with a time zone.
        """
        if not self.interval:
            return None
        if now < self.start:
            return self.postponed(self.start)
        interval = timedelta(seconds=self.interval)
        latest = self.start + (now - self.start) // interval * interval
        # The latest date may have been postponed to a time that has not come yet.
        postponed = self.postponed(latest)
        return postponed if postponed > now else self.postponed(latest + interval)

    def postponed(self, date: datetime) -> datetime:
        """Return a date, or the beginning of the next period of permitted hours."""
        if self.hours is None or self.hours.contain(date):
            return date
        utc = date.astimezone(UTC)
        begin = datetime.combine(utc.date(), self.hours.begin, UTC)
        return begin if begin > utc else begin + timedelta(days=1)
