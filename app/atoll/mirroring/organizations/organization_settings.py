"""The settings of a mirror of an organization."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from atoll.auth.secrets import Cipher
from atoll.mirroring.errors import InvalidMirror
from atoll.mirroring.organizations.sources import OCI, QUAY
from atoll.mirroring.rules.globs import PATTERNS_MAXIMUM, check_patterns, matcher
from atoll.mirroring.rules.settings import (
    INTERVAL_MAXIMUM,
    RegistryConfig,
    access_of,
)
from atoll.mirroring.rules.tag_rules import split_patterns
from atoll.mirroring.rules.values import (
    ORGANIZATION_TIMEOUT_MAXIMUM,
    ORGANIZATION_TIMEOUT_MINIMUM,
)
from atoll.names import RepositoryName
from atoll.upstream.access import Access
from atoll.upstream.errors import InvalidReference
from atoll.upstream.reference import UpstreamReference

INTERVAL_MINIMUM = 60
VISIBILITIES = ("public", "private")

_TOKEN = re.compile(r"[ -~]*")
_FORBIDDEN = re.compile(r"[?#\\%@\s]")
_FORM = "use the form https://registry.example.com, without a path"


def _url(text: str) -> str:
    if _FORBIDDEN.search(text):
        raise ValueError("must not contain blanks or any of the characters ? # \\ % @")
    _host_of_url(text)
    return text


def _namespace(text: str) -> str:
    if not RepositoryName.fits(text):
        raise ValueError(
            "must have components of lower-case letters and digits, separated by . _ or -"
        )
    return text


def _filters(patterns: list[str]) -> list[str]:
    found = split_patterns(patterns)
    # Unlike tags, the names of repositories may have slashes.
    check_patterns([one.replace("/", "-") for one in found])
    return list(found)


RegistryType = Literal["harbor", "quay", "oci"]
RegistryUrl = Annotated[str, Field(max_length=2048), AfterValidator(_url)]
Namespace = Annotated[str, Field(max_length=200), AfterValidator(_namespace)]
Interval = Annotated[int, Field(ge=INTERVAL_MINIMUM, le=INTERVAL_MAXIMUM)]
Timeout = Annotated[int, Field(ge=ORGANIZATION_TIMEOUT_MINIMUM, le=ORGANIZATION_TIMEOUT_MAXIMUM)]
Visibility = Literal["public", "private"]
RepositoryFilters = Annotated[
    list[Annotated[str, Field(max_length=10_000)]],
    Field(max_length=PATTERNS_MAXIMUM),
    AfterValidator(_filters),
]


@dataclass(frozen=True)
class DiscoverySettings:
    """What a discovery of repositories needs.

    Attributes:
        kind: The kind of registry, a key of `SOURCES`.
        reference: The registry and the namespace.
        access: How the registry is reached.
        filters: Patterns of repositories, one of which a name must match; all names if empty.
    """

    kind: str
    reference: UpstreamReference
    access: Access
    filters: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Mapping[str, Any], cipher: Cipher) -> DiscoverySettings:
        """Return the settings of a row of `orgmirrorconfig`.

        Raises:
            InvalidReference: The row was written by a version with other rules.
            SecretUnreadable: The password was encrypted with another bundle's key.
        """
        return cls(
            row["external_registry_type"],
            UpstreamReference.parse(namespace_reference(row)),
            access_of(row, cipher),
            tuple(row["repository_filters"]),
        )

    def selects(self, name: str) -> bool:
        """Return whether a repository is to be mirrored.

        Args:
            name: Its name without the namespace.
        """
        return not self.filters or matcher(self.filters)(name)


def host_of(row: Mapping[str, Any]) -> str:
    """Return the host and port of the upstream of a row of `orgmirrorconfig`."""
    return _host_of_url(row["external_registry_url"])


def namespace_reference(row: Mapping[str, Any]) -> str:
    """Return the reference of the upstream's namespace, in which those of repositories begin."""
    return f"{host_of(row)}/{row['external_namespace']}"


def check_row(row: Mapping[str, Any]) -> UpstreamReference:
    """Check settings that depend on each other, and return the upstream.

    Raises:
        InvalidMirror: A setting is not valid.
    """
    namespace = row["external_namespace"]
    if "/" in namespace and row["external_registry_type"] != OCI:
        raise InvalidMirror(
            "external_namespace",
            f"a namespace of {row['external_registry_type']} has no slash; external_registry_type"
            f" '{OCI}' permits several components",
        )
    config = RegistryConfig.model_validate(row["external_registry_config"])
    if row["external_registry_url"].startswith("http://") and config.verify_tls is not False:
        raise InvalidMirror(
            "external_registry_url",
            "plain HTTP requires external_registry_config.verify_tls: false; use https://",
        )
    try:
        return UpstreamReference.parse(namespace_reference(row))
    except InvalidReference as error:
        raise InvalidMirror("external_registry_url", str(error)) from error


def check_password(kind: str, password: str | None) -> None:
    """Check that a password can be sent to a registry of some kind.

    Raises:
        InvalidMirror: Quay needs an OAuth token, which is a header of requests as it is.
    """
    if kind == QUAY and password is not None and not _TOKEN.fullmatch(password):
        raise InvalidMirror(
            "external_registry_password",
            "an OAuth token of Quay must have one line of ASCII characters",
        )


def scope_of(row: Mapping[str, Any]) -> Sequence[object]:
    """Return the settings that decide which repositories a discovery finds."""
    names = ("external_registry_url", "external_namespace", "repository_filters")
    return [row[name] for name in names]


def _host_of_url(text: str) -> str:
    """Return the host and port of a URL, whose scheme may be omitted.

    Raises:
        ValueError: The URL is malformed.
    """
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        if parts.scheme not in {"https", "http"} or parts.path not in {"", "/"} or not parts.netloc:
            raise ValueError("not the URL of a host")
        UpstreamReference.parse(f"{parts.netloc}/any")
    except (ValueError, InvalidReference) as error:
        raise ValueError(f"is not the URL of a registry; {_FORM}") from error
    return parts.netloc
