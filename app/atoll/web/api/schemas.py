"""Response schemas that several resources share."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime

from typing_extensions import TypedDict


class Avatar(TypedDict):
    """The data from which user interfaces draw an account's avatar."""

    name: str
    hash: str
    color: str
    kind: str


class Member(TypedDict):
    """A user, robot or team that has a permission or belongs to a team."""

    name: str
    kind: str
    is_robot: bool
    avatar: Avatar


def avatar(name: str, kind: str) -> Avatar:
    """Return the avatar of an account."""
    digest = hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()
    return {"name": name, "hash": digest, "color": f"#{digest[:6]}", "kind": kind}


def http_date(moment: datetime | None) -> str | None:
    """Return a time in Quay's format, that of e-mail (RFC 5322)."""
    return None if moment is None else format_datetime(moment.astimezone(UTC))


def utc(moment: datetime) -> str:
    """Return a time in UTC in the format of RFC 3339."""
    return moment.astimezone(UTC).isoformat()


def optional_utc(moment: datetime | None) -> str | None:
    """Return a time as `utc` does, and None without one."""
    return None if moment is None else utc(moment)


def member(name: str, *, is_robot: bool, kind: str = "user") -> Member:
    """Return the response schema of a user, robot or team."""
    avatar_kind = "robot" if is_robot else kind
    return {"name": name, "kind": kind, "is_robot": is_robot, "avatar": avatar(name, avatar_kind)}
