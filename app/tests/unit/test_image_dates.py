"""Dates of images, which their authors write."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from atoll.mirroring.runs.look_up import image_date

DATE = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("created", "date"),
    [
        ("2024-01-01T00:00:00Z", DATE),
        ("2024-01-01T00:00:00", DATE),
        ("2024-01-01T20:00:00+20:00", DATE),
        # The date in UTC is before the first year.
        ("0001-01-01T00:00:00+10:00", None),
        ("9999-12-31T23:59:59-10:00", None),
        ("yesterday", None),
        (1704067200, None),
        (None, None),
    ],
)
def test_a_date_that_cannot_be_stored_is_no_date(created: object, date: datetime | None) -> None:
    assert image_date({"created": created}) == date
