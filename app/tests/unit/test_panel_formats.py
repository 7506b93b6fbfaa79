"""Values in pages are short and exact."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from atoll.web.panel import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10 * 1024, "10 KiB"),
        (1536 * 1024**2, "1.5 GiB"),
        (5000 * 1024**5, "5,000 PiB"),
    ],
)
def test_a_size_has_a_binary_unit(value: int, text: str) -> None:
    assert formats.size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3601, "1 h"),
        (86400 * 3 + 7200 + 60, "3 d 2 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    "value",
    [
        1_700_000_000,
        datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        "2023-11-14T22:13:20Z",
        "2023-11-14T23:13:20+01:00",
        "Tue, 14 Nov 2023 22:13:20 -0000",
    ],
)
def test_a_time_is_an_element_in_utc(value: datetime | float | str) -> None:
    assert formats.moment(value) == (
        '<time datetime="2023-11-14T22:13:20Z">2023-11-14 22:13 UTC</time>'
    )


@pytest.mark.parametrize("value", ["<script>", 1e300])
def test_a_text_that_is_no_time_is_escaped(value: float | str) -> None:
    assert "<" not in formats.moment(value)


def test_a_digest_is_shortened_with_its_full_text_available() -> None:
    digest = "sha256:" + "0123456789abcdef" * 4
    assert formats.digest(digest) == (f'<code class="digest" title="{digest}">0123456789ab</code>')
    assert "<script>" not in formats.digest("sha256:<script>")


def test_missing_values_are_marked() -> None:
    missing = (
        formats.size(None),
        formats.duration(None),
        formats.moment(None),
        formats.count(None),
    )
    assert set(missing) == {formats.NOTHING}
