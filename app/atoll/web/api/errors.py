"""Map exceptions to responses of the API, in Quay's format."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import falcon

from atoll.audit import export_requests as log_exports
from atoll.auth import (
    api_tokens,
    applications,
    assigned_authorizations,
    organizations,
    permissions,
    robots,
    users,
)
from atoll.auth.access import WrongCredentials
from atoll.auth.passwords import PasswordTooShort
from atoll.auth.throttle import Throttled
from atoll.db.pool import DatabaseUnavailable
from atoll.mirroring import errors as mirroring
from atoll.names import InvalidDigest, InvalidName
from atoll.notifications import authorized_addresses, mailer, notices, subscriptions
from atoll.outbound.errors import InvalidDestination
from atoll.placement import policies
from atoll.placement.locations import errors as locations
from atoll.placement.upkeep.bounded_backfill import LocationNotRequired
from atoll.registry import banners, labels
from atoll.registry import errors as registry
from atoll.scanning.errors import ReportUnavailable
from atoll.scanning.report_findings import InvalidReport
from atoll.web.errors import ReadOnly, Unauthorized, printable
from atoll.web.external_url import ExternalUrls

log = logging.getLogger(__name__)


class InvalidRequest(Exception):
    """The request is invalid; the message contains the reason."""


class NotFound(Exception):
    """The object does not exist."""


class Unauthenticated(Exception):
    """The operation requires authentication."""

    def __init__(self) -> None:
        super().__init__("Requires authentication")


class InsufficientScope(Exception):
    """The caller, or the caller's token, lacks the permission."""

    def __init__(self, text: str = "Unauthorized") -> None:
        super().__init__(text)


class FreshLoginRequired(Exception):
    """The current password is missing or wrong; Quay requires a fresh login."""

    def __init__(self) -> None:
        super().__init__("the current password is required; send it as current_password")


class ForgedRequest(Exception):
    """The CSRF token is missing or wrong, so another site's page may have sent the request."""

    def __init__(self) -> None:
        super().__init__(
            "CSRF token was invalid or missing; send the token of GET /csrf_token as X-CSRF-Token"
        )


class ForeignOrigin(Exception):
    """A browser sent the request for a page of another origin."""

    def __init__(self) -> None:
        super().__init__(
            "the request comes from another site's page; use a bearer token, or send it without"
            " the headers Origin and Sec-Fetch-Site if it does not"
        )


class RepositoryReadOnly(Exception):
    """The state of the repository permits no changes."""

    def __init__(self) -> None:
        super().__init__("Repository is in read only or mirror mode")


class TooManySearches(Exception):
    """Too many unauthenticated searches run at the same time."""

    def __init__(self) -> None:
        super().__init__("too many anonymous searches at the same time; try again, or log in")


def not_found_message(path: str) -> str:
    """Return the error text for a path that is not served."""
    return f"there is nothing at {path[:200]}"


class TooManyVerifications(Exception):
    """Too many connections to upstreams are verified at the same time."""

    def __init__(self) -> None:
        super().__init__("too many upstreams are verified at the same time; try again later")


class TooManyReports(Exception):
    """Another operation that reads many blobs is in progress."""

    def __init__(self) -> None:
        super().__init__(
            "another drain, backfill or preview of a loss is in progress; try again when it has"
            " ended"
        )


_BAD, _NOT_FOUND, _UNAVAILABLE = "invalid_request", "not_found", "downstream_issue"
_TOO_MANY = "too_many_requests"
_THROTTLED = (
    Throttled,
    subscriptions.TooManyTests,
    authorized_addresses.TooManyRequests,
    log_exports.TooManyExports,
)

STATUSES: dict[type[Exception], tuple[int, str]] = {
    InvalidRequest: (400, _BAD),
    InvalidName: (400, _BAD),
    InvalidDigest: (400, _BAD),
    PasswordTooShort: (400, _BAD),
    users.InvalidUsername: (400, _BAD),
    users.UserExists: (400, _BAD),
    robots.InvalidRobotName: (400, _BAD),
    robots.RobotExists: (400, _BAD),
    robots.RobotsDisallowed: (400, _BAD),
    robots.RobotInUse: (400, _BAD),
    # As in Quay, an unknown robot is a bad request.
    robots.RobotUnknown: (400, _BAD),
    organizations.InvalidTeam: (400, _BAD),
    organizations.LastAdministrator: (400, _BAD),
    permissions.DelegateUnknown: (400, _BAD),
    InvalidDestination: (400, _BAD),
    subscriptions.TooManyNotifications: (400, _BAD),
    subscriptions.InvalidReceiver: (400, _BAD),
    authorized_addresses.InvalidLink: (400, _BAD),
    registry.Denied: (400, _BAD),
    policies.PolicyInvalid: (400, _BAD),
    mirroring.InvalidMirror: (400, _BAD),
    mirroring.MirroredOrganization: (400, _BAD),
    mirroring.MirrorInactive: (400, _BAD),
    mirroring.OrganizationMirrorRefused: (400, _BAD),
    mirroring.NothingToConfirm: (400, _BAD),
    Unauthorized: (401, "invalid_token"),
    Unauthenticated: (401, "invalid_token"),
    WrongCredentials: (401, "invalid_token"),
    FreshLoginRequired: (401, "fresh_login_required"),
    InsufficientScope: (403, "insufficient_scope"),
    ForgedRequest: (403, "invalid_csrf_token"),
    ForeignOrigin: (403, "cross_origin_request"),
    NotFound: (404, _NOT_FOUND),
    applications.ApplicationUnknown: (404, _NOT_FOUND),
    api_tokens.ApiTokenUnknown: (404, _NOT_FOUND),
    assigned_authorizations.AssignmentUnknown: (404, _NOT_FOUND),
    organizations.OrganizationUnknown: (404, _NOT_FOUND),
    organizations.TeamUnknown: (404, _NOT_FOUND),
    organizations.MemberUnknown: (404, _NOT_FOUND),
    permissions.PrototypeUnknown: (404, _NOT_FOUND),
    subscriptions.NotificationUnknown: (404, _NOT_FOUND),
    notices.NoticeUnknown: (404, _NOT_FOUND),
    authorized_addresses.AddressUnknown: (404, _NOT_FOUND),
    api_tokens.AppTokenUnknown: (404, _NOT_FOUND),
    users.UserUnknown: (404, _NOT_FOUND),
    banners.BannerUnknown: (404, _NOT_FOUND),
    log_exports.ExportUnknown: (404, _NOT_FOUND),
    LocationNotRequired: (400, _BAD),
    policies.SubjectUnknown: (404, _NOT_FOUND),
    registry.RepositoryUnknown: (404, _NOT_FOUND),
    registry.ManifestUnknown: (404, _NOT_FOUND),
    labels.LabelUnknown: (404, _NOT_FOUND),
    mirroring.MirrorUnknown: (404, _NOT_FOUND),
    mirroring.OrganizationMirrorUnknown: (404, _NOT_FOUND),
    locations.LocationUnknown: (404, _NOT_FOUND),
    mirroring.MirrorExists: (409, "conflict"),
    locations.LocationError: (409, "conflict"),
    Throttled: (429, _TOO_MANY),
    subscriptions.TooManyTests: (429, _TOO_MANY),
    authorized_addresses.TooManyRequests: (429, _TOO_MANY),
    log_exports.TooManyExports: (429, _TOO_MANY),
    TooManySearches: (429, _TOO_MANY),
    TooManyVerifications: (429, _TOO_MANY),
    TooManyReports: (429, _TOO_MANY),
    ReadOnly: (503, "read_only"),
    # As in Quay.
    ReportUnavailable: (520, "downstream_issue"),
    InvalidReport: (520, "downstream_issue"),
    RepositoryReadOnly: (503, "read_only"),
    registry.DeletionUnfinished: (503, _UNAVAILABLE),
    mailer.NotMailed: (503, _UNAVAILABLE),
    DatabaseUnavailable: (503, _UNAVAILABLE),
}


@dataclass(frozen=True)
class ErrorResponse:
    """The status, Quay's name and the text of a response to an exception."""

    status: int
    kind: str
    message: str


def status_of(error: Exception) -> tuple[int, str]:
    """Return the status and Quay's name of the response to an exception."""
    return next(
        (STATUSES[base] for base in type(error).__mro__ if base in STATUSES),
        (500, "internal_error"),
    )


def describe(req: falcon.Request, resp: falcon.Response, error: Exception) -> ErrorResponse:
    """Return the response to an exception, after setting its headers and logging it."""
    if isinstance(error, falcon.HTTPRouteNotFound):
        error = NotFound(not_found_message(req.path))
    status, kind = status_of(error)
    message = str(error) or "Invalid credentials"
    if isinstance(error, falcon.HTTPError):
        status, kind = error.status_code, _BAD
        message = error.description or error.title or "the request cannot be served"
        resp.set_headers(error.headers or {})
    elif kind == "internal_error":
        log.exception("unhandled exception")
        message = "internal error; the log of this site has the details"
    elif kind == _UNAVAILABLE:
        log.error("request not served", extra={"cause": message, "path": req.path})
        if not isinstance(error, registry.RegistryError):
            # The details name hosts, which are for operators only.
            message = "the registry cannot serve this now; try again"
        resp.set_header("Retry-After", "5")
    if isinstance(error, _THROTTLED):
        resp.set_header("Retry-After", str(error.seconds))
    if isinstance(error, TooManySearches | TooManyVerifications | TooManyReports):
        resp.set_header("Retry-After", "1")
    return ErrorResponse(status, kind, printable(message))


def write(
    req: falcon.Request, resp: falcon.Response, error: Exception, external_urls: ExternalUrls
) -> None:
    """Write the response for an exception that an operation raised."""
    described = describe(req, resp, error)
    resp.status = described.status
    resp.media = {
        "detail": described.message,
        "error_message": described.message,
        "error_type": described.kind,
        "title": described.kind,
        "type": external_urls.url(req, f"/api/v1/error/{described.kind}"),
        "status": described.status,
    }
    if isinstance(error, ReadOnly):
        resp.media["is_readonly"] = True
    if described.status == falcon.http_status_to_code(falcon.HTTP_UNAUTHORIZED):
        # Basic credentials are accepted, but the challenge does not offer them: a browser would
        # prompt for them and attach them to all requests, including those of other sites' pages.
        resp.set_header("WWW-Authenticate", 'Bearer realm="api"')
