"""Pieces of answers that several nouns share."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime

from typing_extensions import TypedDict


class Avatar(TypedDict):
    """What a picture is drawn from."""

    name: str
    hash: str
    color: str
    kind: str


class Member(TypedDict):
    """Somebody who may be in a team or have a permission."""

    name: str
    kind: str
    is_robot: bool
    avatar: Avatar


def avatar(name: str, kind: str) -> Avatar:
    """Return what a user interface draws an account's picture from."""
    digest = hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()
    return {"name": name, "hash": digest, "color": f"#{digest[:6]}", "kind": kind}


def http_date(moment: datetime | None) -> str | None:
    """Return a moment as Quay writes it, in the format of e-mail (RFC 5322)."""
    return None if moment is None else format_datetime(moment.astimezone(UTC))


def member(name: str, *, is_robot: bool, kind: str = "user") -> Member:
    """Return somebody who may be in a team or have a permission."""
    picture = "robot" if is_robot else kind
    return {"name": name, "kind": kind, "is_robot": is_robot, "avatar": avatar(name, picture)}
