"""Formats of values in pages: sizes, durations, times and digests."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from markupsafe import Markup, escape

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
# Below this number, a size has one decimal.
_DECIMAL_BELOW = 10
_DURATIONS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
# Hexadecimal digits of a shortened digest.
_SHORT_DIGEST = 12
NOTHING = Markup('<span class="nothing">-</span>')


def size(value: float | None) -> str:
    """Return a number of bytes with a binary unit, such as `1.4 GiB`."""
    if value is None:
        return NOTHING
    number, unit = float(value), _SIZES[0]
    for unit in _SIZES:
        if number < _STEP or unit == _SIZES[-1]:
            break
        number /= _STEP
    if unit == _SIZES[0]:
        return f"{number:.0f} B"
    return f"{number:.1f} {unit}" if number < _DECIMAL_BELOW else f"{number:,.0f} {unit}"


def count(value: int | None) -> str:
    """Return a number with separators of thousands."""
    return NOTHING if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Return a duration with its two largest units, such as `2 h 5 min`."""
    if seconds is None:
        return NOTHING
    rest, parts = max(0, round(seconds)), []
    for length, unit in _DURATIONS:
        if rest >= length:
            parts.append(f"{rest // length} {unit}")
            rest %= length
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def latency(seconds: float | None) -> str:
    """Return a duration below some seconds in milliseconds, such as `20 ms`."""
    return NOTHING if seconds is None else f"{seconds * 1000:g} ms"


def moment(value: datetime | float | str | None) -> Markup:
    """Return a time as a `<time>` element in UTC, which a script converts to the viewer's zone.

    Args:
        value: A time; seconds since 1970; or a text of the API (RFC 5322 or ISO 8601).
    """
    if value is None or value == "":
        return NOTHING
    try:
        parsed = _parsed(value)
    except (ValueError, OverflowError, OSError):
        return escape(value)
    utc = parsed.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.strftime("%Y-%m-%dT%H:%M:%SZ"), utc.strftime("%Y-%m-%d %H:%M UTC")
    )


def _parsed(value: datetime | float | str) -> datetime:
    if isinstance(value, datetime):
        parsed = value
    elif isinstance(value, str):
        iso = value[:4].isdecimal()
        parsed = datetime.fromisoformat(value) if iso else parsedate_to_datetime(value)
    else:
        parsed = datetime.fromtimestamp(value, UTC)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def digest(value: str | None) -> Markup:
    """Return a digest shortened, with its full text as a title."""
    if not value:
        return NOTHING
    algorithm, _, text = value.partition(":")
    return Markup('<code class="digest" title="{}">{}</code>').format(
        value, text[:_SHORT_DIGEST] or algorithm
    )
