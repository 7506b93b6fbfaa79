"""The settings of a mirror.

Those that Quay has are columns of `repomirrorconfig`. All others are in the column `options`, and
in the object `atoll` of the API, where no client of Quay looks for them.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from atoll.auth.secrets import Cipher
from atoll.config.replication_limits import parse_hours
from atoll.mirroring.rules.globs import PATTERNS_MAXIMUM, check_patterns
from atoll.mirroring.rules.proxy_passwords import ProxyPasswords, hide_password, mirrored
from atoll.mirroring.rules.schedule import Schedule
from atoll.mirroring.rules.semantic_versions import VersionRange
from atoll.mirroring.rules.tag_rules import NewestBy, TagRule, split_patterns
from atoll.mirroring.rules.texts import printable
from atoll.mirroring.rules.values import ARCHITECTURES, TAG_GLOBS, TIMEOUT_MINIMUM
from atoll.outbound.errors import InvalidDestination
from atoll.outbound.proxies import Proxies
from atoll.upstream.access import Access
from atoll.upstream.credentials import Credentials
from atoll.upstream.errors import InvalidReference
from atoll.upstream.reference import UpstreamReference

INTERVAL_MAXIMUM = 2**31 - 1
# Later dates plus an interval exceed the dates that Python can represent.
YEAR_MAXIMUM = 2999

# The characters of all ranges of versions of a rule. Each tag is compared with each of them.
_RANGES_LENGTH = 1000
_CA_CERTIFICATE_MAXIMUM = 64 * 1024
_DAY = 86_400
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*")
# Characters of URLs, tags and digests, which a reference to a repository cannot have.
_FORBIDDEN_IN_REFERENCES = re.compile(r"[?#\\%\s]")


def _pattern_list(patterns: list[str]) -> list[str]:
    found = split_patterns(patterns)
    check_patterns(found)
    return list(found)


def _ranges(ranges: list[str]) -> list[str]:
    for one in ranges:
        VersionRange.parse(printable(one))
    if sum(map(len, ranges)) > _RANGES_LENGTH:
        raise ValueError(f"may have at most {_RANGES_LENGTH} characters in total")
    return ranges


def _hours(text: str) -> str:
    parse_hours(printable(text))
    return text


def _referrers(value: str | list[str]) -> str | list[str]:
    for one in value if isinstance(value, list) else []:
        if not _MEDIA_TYPE.fullmatch(one):
            raise ValueError(
                f"'{one[:100]}' is not an artifact type, such as application/spdx+json"
            )
    return value


def _reference(text: str) -> str:
    if "://" in text:
        raise ValueError("must not have a scheme; use the form registry.example.com/repository")
    if _FORBIDDEN_IN_REFERENCES.search(text):
        raise ValueError("must not contain blanks or any of the characters ? # \\ %")
    try:
        UpstreamReference.parse(text)
    except InvalidReference as error:
        raise ValueError(str(error)) from error
    return text


def _certificates(text: str) -> str:
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError, TypeError) as error:
        # TypeError: there are other characters than those of ASCII.
        raise ValueError("is not a list of certificates in PEM format") from error
    return text


Patterns = Annotated[
    list[Annotated[str, Field(max_length=10_000)]],
    Field(max_length=PATTERNS_MAXIMUM),
    AfterValidator(_pattern_list),
]
ExternalReference = Annotated[str, Field(max_length=512), AfterValidator(_reference)]
Architectures = Annotated[
    list[Literal["amd64", "arm64", "ppc64le", "s390x"]], Field(max_length=len(ARCHITECTURES))
]


class ProxySettings(BaseModel):
    """The proxies of one mirror; empty ones are not used."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    http_proxy: Annotated[str, Field(max_length=1024), AfterValidator(printable)] | None = None
    https_proxy: Annotated[str, Field(max_length=1024), AfterValidator(printable)] | None = None
    no_proxy: Annotated[str, Field(max_length=4096), AfterValidator(printable)] | None = None

    def proxies(self) -> Proxies | None:
        """Return the proxies; None for those of the environment.

        Raises:
            InvalidDestination: A URL is malformed.
        """
        if not self.http_proxy and not self.https_proxy:
            return None
        return Proxies.of(self.http_proxy, self.https_proxy, self.no_proxy)


def _proxy(value: ProxySettings | None) -> ProxySettings | None:
    try:
        if value is not None:
            value.proxies()
            for url in filter(None, (value.http_proxy, value.https_proxy)):
                hide_password(url)
    except InvalidDestination as error:
        raise ValueError(str(error)) from error
    return value


class RegistryConfig(BaseModel):
    """How the upstream is reached, as in Quay. `unsigned_images` has no effect."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    verify_tls: bool | None = None
    unsigned_images: bool | None = None
    proxy: Annotated[ProxySettings | None, AfterValidator(_proxy)] = None


class MirrorOptions(BaseModel):
    """The options that Quay does not have. An option that is None has its default."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    exclude: Patterns | None = Field(default=None, description="Patterns of tags to leave out.")
    semver: (
        Annotated[
            list[Annotated[str, Field(max_length=500)]],
            Field(max_length=50),
            AfterValidator(_ranges),
        ]
        | None
    ) = Field(
        default=None,
        description="Ranges of versions, such as `>=1.2 <2`, one of which a tag must be in.",
    )
    newest: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="The number of newest tags to select."
    )
    newest_by: NewestBy | None = Field(
        default=None, description="The order of tags for `newest`; `semver` if it is not set."
    )
    max_age: Annotated[int, Field(ge=1, le=INTERVAL_MAXIMUM)] | None = Field(
        default=None, description="The maximum age of images, in seconds."
    )
    hours: Annotated[str, Field(max_length=20), AfterValidator(_hours)] | None = Field(
        default=None,
        description="Time of day, in UTC, within which runs begin, such as 22:00-06:00.",
    )
    referrers: (
        Annotated[
            Literal["all", "none"]
            | Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=50)],
            AfterValidator(_referrers),
        ]
        | None
    ) = Field(
        default=None,
        description="Which referrers of an image are copied: `all`, which is the default, `none`,"
        " or a list of artifact types.",
    )
    rollback: bool | None = Field(
        default=None,
        description="Whether all tags change together or not at all; REPO_MIRROR_ROLLBACK if it"
        " is not set.",
    )
    delete_after: Annotated[int, Field(ge=0, le=INTERVAL_MAXIMUM)] | None = Field(
        default=None,
        description="Seconds after which a tag that the upstream no longer has is deleted; 86400"
        " if it is not set.",
    )
    delete_limit: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None,
        description="The largest share of the tags that a run deletes without confirmation; 0.5 if"
        " it is not set.",
    )
    immutable_tags: Patterns | None = Field(
        default=None,
        description="Patterns of tags that do not change once they were copied; the upstream is"
        " asked for them once a week only.",
    )
    ca_certificate: (
        Annotated[
            str,
            Field(min_length=1, max_length=_CA_CERTIFICATE_MAXIMUM),
            AfterValidator(_certificates),
        ]
        | None
    ) = Field(default=None, description="Further CA certificates for the upstream, in PEM format.")


@dataclass(frozen=True)
class MirrorSettings:
    """What a run of a mirror does, and how.

    Attributes:
        reference: The upstream.
        access: How it is reached.
        rule: The selection of tags.
        schedule: When runs begin.
        architectures: The architectures of images to copy; all if empty.
        referrers: `all`, `none`, or the artifact types of referrers to copy.
        rollback: Whether all tags change together or not at all; None for the bundle's default.
        delete_after: How long after the upstream no longer has a tag it is deleted.
        delete_limit: The largest share of the tags that a run deletes without confirmation.
        tag_timeout: The time without progress after which a tag fails.
        immutable_tags: Patterns of tags that do not change once they were copied.
    """

    reference: UpstreamReference
    access: Access
    rule: TagRule
    schedule: Schedule
    architectures: tuple[str, ...] = ()
    referrers: Literal["all", "none"] | tuple[str, ...] = "all"
    rollback: bool | None = None
    delete_after: timedelta = timedelta(seconds=_DAY)
    delete_limit: float = 0.5
    tag_timeout: timedelta = timedelta(seconds=TIMEOUT_MINIMUM)
    immutable_tags: tuple[str, ...] = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any], cipher: Cipher) -> MirrorSettings:
        """Return the settings of a row of `repomirrorconfig`.

        Raises:
            InvalidReference: The row was written by a version with other rules.
            SecretUnreadable: The password was encrypted with another bundle's key.
        """
        options = MirrorOptions.model_validate(row["options"])
        return cls(
            UpstreamReference.parse(row["external_reference"]),
            access_of(row, cipher),
            _rule(row["root_rule"], options),
            schedule_of(row),
            tuple(row["architecture_filter"]),
            _referrer_types(options),
            options.rollback,
            timedelta(seconds=_DAY if options.delete_after is None else options.delete_after),
            0.5 if options.delete_limit is None else options.delete_limit,
            timedelta(seconds=row["skopeo_timeout"]),
            tuple(options.immutable_tags or ()),
        )


def password_purpose(row: Mapping[str, Any]) -> str:
    """Return the purpose for which the password of a mirror is encrypted.

    Args:
        row: A row of `repomirrorconfig` or `orgmirrorconfig`.
    """
    return f"mirror of {mirrored(row)}"


def access_of(row: Mapping[str, Any], cipher: Cipher) -> Access:
    """Return how the upstream of a row of `repomirrorconfig` or `orgmirrorconfig` is reached.

    Raises:
        SecretUnreadable: A password was encrypted with another bundle's key.
    """
    stored = dict(row["external_registry_config"])
    if stored.get("proxy"):
        stored["proxy"] = ProxyPasswords.from_row(row, cipher).revealed(stored["proxy"])
    config = RegistryConfig.model_validate(stored)
    username, encrypted = row["external_registry_username"], row["external_registry_password"]
    credentials = None
    if username is not None:
        password = "" if encrypted is None else cipher.decrypt(encrypted, password_purpose(row))
        credentials = Credentials(username, password)
    return Access(
        credentials,
        verify_tls=config.verify_tls is not False,
        ca_certificate=MirrorOptions.model_validate(row["options"]).ca_certificate,
        proxies=None if config.proxy is None else config.proxy.proxies(),
    )


def schedule_of(row: Mapping[str, Any]) -> Schedule:
    """Return the schedule of a row of `repomirrorconfig`."""
    hours = MirrorOptions.model_validate(row["options"]).hours
    return Schedule.within(row["sync_start_date"], row["sync_interval"], hours)


def include_rule(patterns: list[str]) -> dict[str, Any]:
    """Return the column `root_rule` for patterns, in Quay's form."""
    return {"rule_kind": TAG_GLOBS, "rule_value": list(split_patterns(patterns))}


def _rule(root_rule: Mapping[str, Any], options: MirrorOptions) -> TagRule:
    return TagRule(
        split_patterns(root_rule["rule_value"]),
        tuple(options.exclude or ()),
        tuple(VersionRange.parse(one) for one in options.semver or ()),
        None if options.max_age is None else timedelta(seconds=options.max_age),
        options.newest,
        options.newest_by or "semver",
    )


def _referrer_types(options: MirrorOptions) -> Literal["all", "none"] | tuple[str, ...]:
    if isinstance(options.referrers, list):
        return tuple(options.referrers)
    return options.referrers or "all"
