"""Read the repositories of an upstream, as a discovery does, and name its failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atoll.auth.secrets import SecretUnreadable
from atoll.errors import AtollError
from atoll.mirroring.organizations.listing import list_repositories
from atoll.mirroring.organizations.organization_settings import DiscoverySettings
from atoll.mirroring.organizations.records import OrganizationMirror
from atoll.mirroring.organizations.sources import SOURCES
from atoll.mirroring.outcome import UPSTREAM_EMPTY, Outcome, failed
from atoll.mirroring.problems import REPOSITORIES_EMPTY, problem_text
from atoll.mirroring.runs.planner import REFUSALS_MAXIMUM
from atoll.upstream.access import Access
from atoll.upstream.documents import UpstreamDocuments
from atoll.upstream.errors import AuthFailed, UpstreamError
from atoll.upstream.reference import UpstreamReference

Connect = Callable[[UpstreamReference, Access], UpstreamDocuments]


class UpstreamEmpty(AtollError):
    """The upstream lists no repositories, but some were mirrored."""


@dataclass(frozen=True)
class Discovered:
    """The repositories of an upstream, without the namespace.

    Attributes:
        listed: All repositories of the namespace.
        selected: Those that the filters of the mirror select.
    """

    listed: list[str]
    selected: list[str]


def check_refusals(mirror: OrganizationMirror) -> None:
    """Refuse to send credentials that were refused too often. Raises AuthFailed."""
    if mirror.row["refusals"] >= REFUSALS_MAXIMUM:
        raise AuthFailed("the credentials were refused and are not sent again")


def discover(
    settings: DiscoverySettings,
    connect: Connect,
    known: Callable[[], int],
    proceed: Callable[[], None] = lambda: None,
) -> Discovered:
    """Return the repositories of an upstream.

    Args:
        settings: The upstream and the filters.
        connect: Returns the reader of an upstream.
        known: Returns the number of repositories that earlier discoveries made mirrors.
        proceed: Called before each page; an error that it raises ends the discovery.

    Raises:
        UpstreamEmpty: The list is empty, which must not end all mirrors.
        UpstreamError: The list could not be read.
    """
    namespace = settings.reference.repository
    documents = connect(settings.reference, settings.access)
    source = SOURCES[settings.kind](documents, namespace, settings.access.credentials)
    listed = list_repositories(source, namespace, proceed)
    if not listed and known():
        raise UpstreamEmpty
    return Discovered(listed, [name for name in listed if settings.selects(name)])


def outcome_of(error: Exception) -> Outcome:
    """Return how a discovery fails with an error."""
    if isinstance(error, UpstreamError):
        return failed(error.code, problem_text(error.code), is_temporary=error.is_temporary)
    if isinstance(error, UpstreamEmpty):
        return failed(UPSTREAM_EMPTY, REPOSITORIES_EMPTY)
    if isinstance(error, SecretUnreadable):
        return failed("decryption_failed", problem_text("decryption_failed"))
    return failed("unknown_error", problem_text("unknown_error"), is_temporary=True)
