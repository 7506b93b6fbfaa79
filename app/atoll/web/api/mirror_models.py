"""The bodies and queries of `repository/{repository}/mirror`, and the forms of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from atoll.mirroring.rules.settings import (
    INTERVAL_MAXIMUM,
    YEAR_MAXIMUM,
    Architectures,
    ExternalReference,
    MirrorOptions,
    Patterns,
    RegistryConfig,
)
from atoll.mirroring.rules.texts import Password, Robot, Username
from atoll.mirroring.rules.values import TIMEOUT_MINIMUM
from atoll.web.api.operation import RequestModel

_DATE = "%Y-%m-%dT%H:%M:%SZ"
# Fields of `atoll` in responses that requests may repeat.
_STATE_FIELDS = frozenset(
    {
        "run",
        "next_date",
        "last_success_date",
        "reason",
        "message",
        "deletions_confirmed",
        "of_organization",
    }
)


def parsed(date: str) -> datetime:
    """Return the time of a SyncDate."""
    return datetime.strptime(date, _DATE).replace(tzinfo=UTC)


def _date(text: str) -> str:
    try:
        year = parsed(text).year
    except ValueError as error:
        raise ValueError("must be a date of the form 2026-01-31T23:59:59Z") from error
    if year > YEAR_MAXIMUM:
        raise ValueError(f"must be before the year {YEAR_MAXIMUM + 1}")
    return text


def formatted(date: datetime | None) -> str | None:
    """Return a date in the form of SyncDate."""
    # Years before 1000 have four digits, too.
    return None if date is None else date.astimezone(UTC).strftime(_DATE).rjust(20, "0")


SyncDate = Annotated[str, Field(max_length=20), AfterValidator(_date)]
Interval = Annotated[int, Field(ge=0, le=INTERVAL_MAXIMUM)]
Timeout = Annotated[int, Field(ge=TIMEOUT_MINIMUM, le=INTERVAL_MAXIMUM)]


class MirrorRule(RequestModel):
    """Patterns of tags, one of which a tag must match."""

    rule_kind: Literal["tag_glob_csv"]
    rule_value: Annotated[Patterns, Field(min_length=1)]


class AtollOptions(MirrorOptions):
    """The options that Quay does not have; null resets an option."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _without_state(cls, value: Any) -> Any:
        """Accept the object of a response, whose further fields describe the state."""
        if not isinstance(value, Mapping):
            return value
        return {name: one for name, one in value.items() if name not in _STATE_FIELDS}


class NewMirror(RequestModel):
    """A mirror to create."""

    is_enabled: bool = True
    external_reference: ExternalReference
    external_registry_username: Username | None = None
    external_registry_password: Password | None = None
    external_registry_config: RegistryConfig | None = None
    sync_interval: Interval
    sync_start_date: SyncDate
    robot_username: Robot
    root_rule: MirrorRule
    skopeo_timeout_interval: Timeout = TIMEOUT_MINIMUM
    architecture_filter: Architectures | None = None
    atoll: AtollOptions | None = None


class ChangedMirror(RequestModel):
    """The settings of a mirror to change."""

    is_enabled: bool = Field(default=True)
    external_reference: ExternalReference = Field(default="")
    external_registry_username: Username | None = None
    external_registry_password: Password | None = None
    external_registry_config: RegistryConfig | None = None
    sync_interval: Interval = Field(default=0)
    sync_start_date: SyncDate = Field(default="")
    robot_username: Robot = Field(default="")
    root_rule: MirrorRule | None = None
    skopeo_timeout_interval: Timeout = Field(default=TIMEOUT_MINIMUM)
    architecture_filter: Architectures | None = None
    atoll: AtollOptions | None = None


class RunQuery(RequestModel):
    """The maximum number of runs."""

    limit: int = Field(default=20, ge=1, le=1000)


class TagQuery(RequestModel):
    """The state of tags, and the page of results."""

    state: Literal["current", "pending", "failed", "gone"] | None = None
    limit: int = Field(default=100, ge=1, le=1000)
    next_page: str = Field(default="", max_length=128)


class MirrorSchema(TypedDict):
    """A mirror; `atoll` has further options, and the current or last run."""

    is_enabled: bool
    mirror_type: str
    external_reference: str
    external_registry_username: str | None
    external_registry_config: dict[str, Any]
    sync_interval: int
    sync_start_date: str
    sync_expiration_date: str | None
    sync_retries_remaining: int
    sync_status: str
    root_rule: dict[str, Any]
    robot_username: str
    skopeo_timeout_interval: int
    architecture_filter: list[str]
    atoll: dict[str, Any]


class TagPage(TypedDict, total=False):
    """A page of the tags of a mirror, and the token of the next page."""

    tags: list[dict[str, Any]]
    next_page: str


class PlanSchema(TypedDict):
    """What a run would do; up to 1000 tags of each kind are listed, and `bytes` is not known."""

    success: bool
    reason: str | None
    message: str | None
    tags_listed: int
    tags_selected: int
    tags_unchanged: int
    tags_copied: int
    tags_ended: int
    tags_postponed: int
    bytes: int | None
    requests: int
    copied: list[dict[str, str]]
    ended: list[dict[str, str]]
    postponed: list[dict[str, str | None]]


class VerificationSchema(TypedDict):
    """The result of a connection to the upstream."""

    success: bool
    message: str
    tags: int | None
