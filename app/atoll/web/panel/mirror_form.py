"""The form of a mirror: the texts of its fields, and the body that the API expects.

Values that the API would refuse are passed on as they are, so that its error names the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from atoll.mirroring.rules.values import ARCHITECTURES, TAG_GLOBS
from atoll.web.api.errors import InvalidRequest

# Units of durations, in seconds.
UNITS = {"86400": "days", "3600": "hours", "60": "minutes", "1": "seconds"}
# The field that pages never contain.
WRITE_ONLY = "external_registry_password"
TRUE = "true"
_HOUR, _DAY = 3600, 86_400
_MINUTE = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?Z?")
# Digits of numbers that the API may accept.
_DIGITS_MAXIMUM = 12
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_LISTS = ("exclude", "semver", "immutable_tags")
_DURATIONS = ("max_age", "delete_after")

Fields = dict[str, str]


def shared_fields(mirror: Mapping[str, Any] | None, patterns: list[str]) -> Fields:
    """Return the texts of the fields that both kinds of mirrors have.

    Args:
        mirror: The mirror as the API returns it; None for a new one.
        patterns: The patterns of tags.
    """
    shown = mirror or {}
    options = shown.get("atoll", {})
    config = shown.get("external_registry_config", {})
    referrers = options.get("referrers")
    listed = isinstance(referrers, list)
    share = options.get("delete_limit")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "is_enabled": _checked(shown.get("is_enabled", True)),
        "robot_username": shown.get("robot_username", ""),
        **_duration_fields("sync_interval", shown.get("sync_interval", _DAY)),
        "sync_start_date": (shown.get("sync_start_date") or now)[:16],
        "hours": options.get("hours") or "",
        "external_registry_username": shown.get("external_registry_username") or "",
        "verify_tls": _checked(config.get("verify_tls") is not False),
        "ca_certificate": options.get("ca_certificate") or "",
        **{name: (config.get("proxy") or {}).get(name) or "" for name in _PROXIES},
        "patterns": "\n".join(patterns),
        **{name: "\n".join(options.get(name) or []) for name in _LISTS},
        "newest": str(options.get("newest") or ""),
        "newest_by": options.get("newest_by") or "",
        **_duration_fields("max_age", options.get("max_age")),
        "referrers": "types" if listed else referrers or "",
        "referrer_types": "\n".join(referrers) if isinstance(referrers, list) else "",
        "rollback": {True: TRUE, False: "false"}.get(options.get("rollback"), ""),
        **_duration_fields("delete_after", options.get("delete_after")),
        "delete_limit": "" if share is None else f"{share * 100:g}",
    }


def shared_body(form: Mapping[str, str], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings that both kinds of mirrors have, without `atoll`.

    Args:
        form: The fields.
        before: The mirror as the API returns it; None for a new one. Credentials and proxies that
            did not change are left out, so that the stored passwords are kept.

    Raises:
        InvalidRequest: A unit is unknown.
    """
    body: dict[str, Any] = {
        "is_enabled": form.get("is_enabled") == TRUE,
        "robot_username": form.get("robot_username", "").strip(),
        "sync_interval": _seconds(form, "sync_interval"),
        "sync_start_date": _date(form.get("sync_start_date", "")),
        "external_registry_config": {"verify_tls": form.get("verify_tls") == TRUE},
    }
    known = before or {}
    proxy = {name: form.get(name, "").strip() or None for name in _PROXIES}
    stored = known.get("external_registry_config", {}).get("proxy") or {}
    if proxy != {name: stored.get(name) or None for name in _PROXIES}:
        body["external_registry_config"]["proxy"] = proxy
    username = form.get("external_registry_username", "").strip() or None
    password = form.get(WRITE_ONLY) or None
    if password is not None or username != (known.get("external_registry_username") or None):
        body["external_registry_username"] = username
    if password is not None:
        body[WRITE_ONLY] = password
    return body


def options_body(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the object `atoll`; null resets an option.

    Raises:
        InvalidRequest: A unit is unknown.
    """
    referrers: str | list[str] | None = form.get("referrers") or None
    return {
        "hours": form.get("hours", "").strip() or None,
        "ca_certificate": form.get("ca_certificate", "").replace("\r\n", "\n").strip() or None,
        **{name: lines(form, name) or None for name in _LISTS},
        "newest": form.get("newest", "").strip() or None,
        "newest_by": form.get("newest_by") or None,
        **{name: _seconds(form, name) for name in _DURATIONS},
        "referrers": lines(form, "referrer_types") if referrers == "types" else referrers,
        "rollback": form.get("rollback") or None,
        "delete_limit": _share(form.get("delete_limit", "").strip()),
    }


def tag_rule(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the rule that selects tags."""
    return {"rule_kind": TAG_GLOBS, "rule_value": lines(form, "patterns")}


def architecture_fields(architectures: list[str]) -> Fields:
    """Return the texts of the fields of architectures."""
    return {f"architecture_{one}": _checked(one in architectures) for one in ARCHITECTURES}


def architectures_body(form: Mapping[str, str]) -> list[str]:
    """Return the chosen architectures."""
    return [one for one in ARCHITECTURES if form.get(f"architecture_{one}") == TRUE]


def timeout_fields(value: int) -> Fields:
    """Return the texts of the fields of the time-out of a tag."""
    return _duration_fields("timeout", value)


def timeout_body(form: Mapping[str, str]) -> int | str | None:
    """Return the time-out of a tag in seconds. Raises InvalidRequest if its unit is unknown."""
    return _seconds(form, "timeout")


def lines(form: Mapping[str, str], name: str) -> list[str]:
    """Return the lines of a field that are not blank."""
    return [one for line in form.get(name, "").splitlines() if (one := line.strip())]


def _duration_fields(name: str, value: int | None) -> Fields:
    if value is None:
        return {name: "", f"{name}_unit": str(_DAY)}
    unit = next(one for one in map(int, UNITS) if value % one == 0) if value else _HOUR
    return {name: str(value // unit), f"{name}_unit": str(unit)}


def _seconds(form: Mapping[str, str], name: str) -> int | str | None:
    text, unit = form.get(name, "").strip(), form.get(f"{name}_unit", "1")
    if unit not in UNITS:
        raise InvalidRequest(f"{name}_unit: must be one of {', '.join(UNITS)}")
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAXIMUM):
        return text or None
    return int(text) * int(unit)


def _date(text: str) -> str:
    """Return a time in UTC, as browsers send it, in the format of the API."""
    found = _MINUTE.fullmatch(text.strip())
    return text if found is None else f"{found[1]}T{found[2]}{found[3] or ':00'}Z"


def _share(percent: str) -> float | str | None:
    try:
        return float(percent) / 100 if percent else None
    except ValueError:
        return percent


def _checked(value: bool) -> str:
    return TRUE if value else ""
