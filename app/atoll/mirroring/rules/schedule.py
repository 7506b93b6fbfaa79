"""When mirrors are due: at the start date plus a multiple of the interval, which never drifts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from atoll.config.replication_limits import Hours, parse_hours

# A mirror is overdue without a success for this number of intervals, and of seconds: one with a
# short interval may need longer for a run.
OVERDUE_INTERVALS, OVERDUE_SECONDS = 2, 600


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

    @classmethod
    def within(cls, start: datetime, interval: int, hours: str | None) -> Schedule:
        """Return a schedule from its stored form; `hours` is a text such as `22:00-06:00`."""
        return cls(start, interval, parse_hours(hours) if hours else None)

    def first(self, now: datetime) -> datetime | None:
        """Return the first date; None if there are no dates.

        It may have passed, unless runs begin within permitted hours only.

        Args:
            now: A time with a time zone.
        """
        if not self.interval:
            return None
        return self.start if self.hours is None else self.postponed(max(self.start, now))

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

    def overdue_at(self, success: datetime) -> datetime:
        """Return when the mirror is overdue unless it succeeds again.

        Args:
            success: The last success, or the first date of a mirror without one.
        """
        overdue = success + timedelta(
            seconds=max(OVERDUE_INTERVALS * self.interval, OVERDUE_SECONDS)
        )
        date = self.after(success) if self.hours is not None else None
        if date is None:
            return overdue
        # Time outside of the permitted hours does not count.
        return max(overdue, date + timedelta(seconds=max(self.interval, OVERDUE_SECONDS)))

    def postponed(self, date: datetime) -> datetime:
        """Return a date, or the beginning of the next period of permitted hours."""
        if self.hours is None or self.hours.contain(date):
            return date
        utc = date.astimezone(UTC)
        begin = datetime.combine(utc.date(), self.hours.begin, UTC)
        return begin if begin > utc else begin + timedelta(days=1)


def within_hours(mirror: str) -> str:
    """Return the SQL condition that scheduled runs of a mirror may begin now.

    Args:
        mirror: The alias of a row with the column `options`.
    """
    time = "(statement_timestamp() AT TIME ZONE 'UTC')::time"
    begin, end = (f"split_part({mirror}.options ->> 'hours', '-', {part})::time" for part in (1, 2))
    return f"""CASE WHEN {mirror}.options ->> 'hours' IS NULL THEN true
    WHEN {begin} <= {end} THEN {time} >= {begin} AND {time} < {end}
    ELSE {time} >= {begin} OR {time} < {end} END"""
