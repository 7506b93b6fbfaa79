"""Clair's documents, as far as they are read; additional fields are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from atoll.invalid_input import first_problem
from atoll.scanning.clair.errors import (
    ImageRejected,
    InvalidScannerResponse,
    ScannerError,
)
from atoll.scanning.clair.failures import index_failure

Severity = Literal["Unknown", "Negligible", "Low", "Medium", "High", "Critical"]
_Model = TypeVar("_Model", bound=BaseModel)
_Value = TypeVar("_Value")

_Text = Annotated[str, Field(min_length=1)]


def _empty_for_null(value: Any) -> Any:
    return {} if value is None else value


def _no_items_for_null(value: Any) -> Any:
    return [] if value is None else value


# Clair is written in Go, whose empty maps and lists may become null.
_Map = Annotated[dict[str, _Value], BeforeValidator(_empty_for_null)]
_List = Annotated[list[_Value], BeforeValidator(_no_items_for_null)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class IndexState(_Document):
    """The state of an indexer: it changes when images should be indexed again."""

    state: _Text


class IndexReport(_Document):
    """The result of indexing an image.

    Attributes:
        manifest_hash: The digest of the image.
        state: IndexFinished, IndexError, or another state while the image is being indexed; empty
            also after a client abandoned its request.
        success: Whether the image was indexed.
        err: The message of a failure.
        indexer_state: The state of the indexer that responded; None if it did not state it. It is
            taken from a header.
    """

    manifest_hash: _Text
    state: str
    success: bool
    err: str = ""
    indexer_state: str | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the image was indexed, so that it has a vulnerability report."""
        return self.state == "IndexFinished" and self.success

    @property
    def is_failed(self) -> bool:
        """Whether indexing failed; posting the image again is possible."""
        return self.state == "IndexError"

    def failure(self) -> ScannerError:
        """Return the error that a failed report describes."""
        # Clair stored the report, so an unknown cause lies in the image.
        return index_failure(self.err, unknown=ImageRejected)


class Package(_Document):
    """A package of an image."""

    id: str
    name: str
    version: str
    kind: str = ""
    arch: str = ""


class Distribution(_Document):
    """An operating system."""

    did: str = ""
    name: str = ""
    version: str = ""
    version_id: str = ""
    pretty_name: str = ""


class Repository(_Document):
    """A repository of packages."""

    name: str = ""
    uri: str = ""


class Environment(_Document):
    """Where a package was found.

    Attributes:
        introduced_in: The digest of the layer.
    """

    introduced_in: _Text
    package_db: str = ""
    distribution_id: str = ""
    repository_ids: _List[str] = Field(default_factory=list)


class Vulnerability(_Document):
    """A vulnerability of a package.

    Attributes:
        links: URLs, separated by spaces.
        fixed_in_version: The first version without it; empty if there is none. May be URL-encoded.
    """

    id: str
    name: _Text
    normalized_severity: Severity
    updater: str = ""
    description: str = ""
    links: str = ""
    severity: str = ""
    fixed_in_version: str = ""
    distribution: Distribution | None = None
    repository: Repository | None = None


class VulnerabilityReport(_Document):
    """The vulnerabilities of an image. Keys are ids that are valid within the report only.

    Attributes:
        environments: Where each package was found.
        package_vulnerabilities: The ids of the vulnerabilities of each package.
        enrichments: Additional data by media type, such as CVSS scores by vulnerability.
    """

    manifest_hash: _Text
    packages: _Map[Package]
    environments: _Map[_List[Environment]]
    vulnerabilities: _Map[Vulnerability]
    package_vulnerabilities: _Map[_List[str]]
    distributions: _Map[Distribution] = Field(default_factory=dict)
    repository: _Map[Repository] = Field(default_factory=dict)
    enrichments: _Map[_List[JsonValue]] = Field(default_factory=dict)


class Page(_Document):
    """The position of a page.

    Attributes:
        next: The parameter of the following page; None for the last one.
    """

    size: int
    next: str | None = None


class NotifiedVulnerability(_Document):
    """A vulnerability in a notification; its severity is normalized."""

    name: _Text
    severity: Severity
    description: str = ""
    links: str = ""
    fixed_in_version: str = ""


class Notification(_Document):
    """A change of the vulnerabilities of an image.

    Attributes:
        manifest: The digest of the image.
        reason: `added`, `removed` or another one. Of a summary, which Clair sends unless its
            notifier is configured otherwise, it may be wrong.
    """

    id: _Text
    manifest: _Text
    reason: _Text
    vulnerability: NotifiedVulnerability


class NotificationPage(_Document):
    """A page of the changes that a notification announces."""

    page: Page
    notifications: _List[Notification]


class Announcement(_Document):
    """What Clair posts to the registry: that a notification can be read.

    Attributes:
        notification_id: The notification.
        callback: Its URL at the Clair that posts, which the registry need not reach.
    """

    notification_id: UUID
    callback: str = ""


class ErrorDocument(_Document):
    """The body of an error."""

    code: str = ""
    message: str = ""


def parse(model: type[_Model], body: bytes) -> _Model:
    """Parse a document.

    Args:
        model: The kind of document.
        body: The document.

    Raises:
        InvalidScannerResponse: It is not understood.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        field, text = first_problem(error)
        raise InvalidScannerResponse(
            f"{model.__name__} of Clair is not understood: {field or 'the document'}: {text}"
        ) from None


def error_document(body: bytes) -> ErrorDocument:
    """Return the code and message of an error; empty if the body is none of Clair's."""
    try:
        return ErrorDocument.model_validate_json(body)
    except ValidationError:
        return ErrorDocument()
