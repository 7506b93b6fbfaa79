"""UPSTREAM_LIMITS: the use of other registries by all processes of all sites together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from atoll.config.hosts import canonical_host

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PULLS = re.compile(r"([1-9]\d{0,8})\s*/\s*([1-9]\d{0,5})?\s*([smhd])")
_SHARE = re.compile(r"(\d{1,2}|100)\s*%")
_PORT_MAXIMUM = 65_535
_REGISTRY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+)(?P<port>:[0-9]{1,5})?")


@dataclass(frozen=True)
class Pulls:
    """A number of pulls in a period of seconds."""

    count: int
    seconds: int


def parse_pulls(value: Any) -> Pulls:
    """Parse a number of pulls in a period, such as `100/6h`.

    Raises:
        ValueError: The text is malformed.
    """
    if isinstance(value, Pulls):
        return value
    match = _PULLS.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("must be a number of pulls and a period in s, m, h or d, such as 100/6h")
    return Pulls(int(match[1]), int(match[2] or 1) * _UNITS[match[3]])


def parse_share(value: Any) -> float:
    """Parse a share, such as `20%`.

    Raises:
        ValueError: The text is malformed.
    """
    if isinstance(value, float):
        return value
    match = _SHARE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("must be a percentage, such as 20%")
    return int(match[1]) / 100


def checked_registry(text: str) -> str:
    """Return the name of a registry, with a port if it has one, in canonical form.

    Raises:
        ValueError: The name is malformed.
    """
    match = _REGISTRY.fullmatch(text)
    if match is None:
        raise ValueError("must be a registry without scheme and path, such as docker.io")
    if match["port"] and not 0 < int(match["port"][1:]) <= _PORT_MAXIMUM:
        raise ValueError(f"has a port that is not between 1 and {_PORT_MAXIMUM}")
    host = canonical_host(match["host"].strip("[]"))
    if match["port"] is None and not re.search(r"[.:]", host) and host != "localhost":
        # As in references to images, it would be a namespace of Docker Hub.
        raise ValueError("must be a registry with its domain, such as docker.io")
    return (f"[{host}]" if ":" in host else host) + (match["port"] or "")


class UpstreamLimit(BaseModel):
    """The permitted use of one registry with one account."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    concurrent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=4, description="The number of concurrent requests."
    )
    requests: Annotated[Pulls, BeforeValidator(parse_pulls)] | None = Field(
        default=None,
        description="The number of pulls (GET requests for manifests) in a period, such as 100/6h;"
        " without it, only the limits that the registry announces.",
    )
    reserve: Annotated[float, BeforeValidator(parse_share)] = Field(
        default=0.2,
        description="The share of the pulls announced by the registry that mirrors leave to"
        " others, such as 20%.",
    )
