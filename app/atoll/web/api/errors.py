"""What each failure means in the API, in Quay's shape."""

from __future__ import annotations

import logging

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
from atoll.names import InvalidDigest, InvalidName
from atoll.notifications import subscriptions
from atoll.outbound.errors import InvalidDestination
from atoll.placement import policies
from atoll.registry import banners, labels
from atoll.registry import errors as registry
from atoll.web.errors import ReadOnly, Unauthorized, printable
from atoll.web.external_url import ExternalUrls

log = logging.getLogger(__name__)


class InvalidRequest(Exception):
    """The request cannot be served as it is; the text says why."""


class NotFound(Exception):
    """There is no such thing."""


class Unauthenticated(Exception):
    """Somebody has to be logged in for this."""

    def __init__(self) -> None:
        super().__init__("Requires authentication")


class InsufficientScope(Exception):
    """Who is logged in, or the token that was shown, may not do this."""

    def __init__(self, text: str = "Unauthorized") -> None:
        super().__init__(text)


class FreshLoginRequired(Exception):
    """The current password is missing or wrong, in Quay's words."""

    def __init__(self) -> None:
        super().__init__("the current password is required; send it as current_password")


class ForgedRequest(Exception):
    """The CSRF token is missing or wrong, so another site's page may have sent the request."""

    def __init__(self) -> None:
        super().__init__(
            "CSRF token was invalid or missing; send what GET /csrf_token says, as X-CSRF-Token"
        )


class ForeignOrigin(Exception):
    """A browser sent the request for a page of another origin."""

    def __init__(self) -> None:
        super().__init__(
            "the request comes from another site's page; use a bearer token, or send it without"
            " the headers Origin and Sec-Fetch-Site if it does not"
        )


class TooManySearches(Exception):
    """Other callers without an account are searching."""

    def __init__(self) -> None:
        super().__init__("too many anonymous searches at the same time; try again, or log in")


def nothing_at(path: str) -> str:
    """Return the error text for a path that is not served."""
    return f"there is nothing at {path[:200]}"


_BAD, _GONE, _UNAVAILABLE = "invalid_request", "not_found", "downstream_issue"
_TOO_MANY = "too_many_requests"
_THROTTLED = (Throttled, subscriptions.TooManyTests, log_exports.TooManyExports)

MEANINGS: dict[type[Exception], tuple[int, str]] = {
    InvalidRequest: (400, _BAD),
    InvalidName: (400, _BAD),
    InvalidDigest: (400, _BAD),
    PasswordTooShort: (400, _BAD),
    users.InvalidUsername: (400, _BAD),
    users.UserExists: (400, _BAD),
    robots.InvalidRobotName: (400, _BAD),
    robots.RobotExists: (400, _BAD),
    robots.RobotsDisallowed: (400, _BAD),
    # As Quay does: a robot that is not there is a bad request.
    robots.RobotUnknown: (400, _BAD),
    organizations.InvalidTeam: (400, _BAD),
    organizations.LastAdministrator: (400, _BAD),
    permissions.DelegateUnknown: (400, _BAD),
    InvalidDestination: (400, _BAD),
    subscriptions.TooManyNotifications: (400, _BAD),
    registry.Denied: (400, _BAD),
    policies.PolicyInvalid: (400, _BAD),
    Unauthorized: (401, "invalid_token"),
    Unauthenticated: (401, "invalid_token"),
    WrongCredentials: (401, "invalid_token"),
    FreshLoginRequired: (401, "fresh_login_required"),
    InsufficientScope: (403, "insufficient_scope"),
    ForgedRequest: (403, "invalid_csrf_token"),
    ForeignOrigin: (403, "cross_origin_request"),
    NotFound: (404, _GONE),
    applications.ApplicationUnknown: (404, _GONE),
    api_tokens.ApiTokenUnknown: (404, _GONE),
    assigned_authorizations.AssignmentUnknown: (404, _GONE),
    organizations.OrganizationUnknown: (404, _GONE),
    organizations.TeamUnknown: (404, _GONE),
    organizations.MemberUnknown: (404, _GONE),
    permissions.PrototypeUnknown: (404, _GONE),
    subscriptions.NotificationUnknown: (404, _GONE),
    api_tokens.AppTokenUnknown: (404, _GONE),
    users.UserUnknown: (404, _GONE),
    banners.BannerUnknown: (404, _GONE),
    log_exports.ExportUnknown: (404, _GONE),
    policies.SubjectUnknown: (404, _GONE),
    registry.RepositoryUnknown: (404, _GONE),
    registry.ManifestUnknown: (404, _GONE),
    labels.LabelUnknown: (404, _GONE),
    Throttled: (429, _TOO_MANY),
    subscriptions.TooManyTests: (429, _TOO_MANY),
    log_exports.TooManyExports: (429, _TOO_MANY),
    TooManySearches: (429, _TOO_MANY),
    ReadOnly: (503, "read_only"),
    registry.DeletionUnfinished: (503, _UNAVAILABLE),
    DatabaseUnavailable: (503, _UNAVAILABLE),
}


def write(
    req: falcon.Request, resp: falcon.Response, error: Exception, external_urls: ExternalUrls
) -> None:
    """Write the answer for an exception that an operation raised."""
    if isinstance(error, falcon.HTTPRouteNotFound):
        error = NotFound(nothing_at(req.path))
    status, kind = next(
        (MEANINGS[base] for base in type(error).__mro__ if base in MEANINGS),
        (500, "internal_error"),
    )
    message = str(error) or "Invalid credentials"
    if isinstance(error, falcon.HTTPError):
        status, kind = error.status_code, _BAD
        message = error.description or error.title or "the request cannot be served"
        resp.set_headers(error.headers or {})
    elif kind == "internal_error":
        log.exception("a request failed for a reason that nobody thought of")
        message = "something went wrong here; the log of this site tells what"
    elif kind == _UNAVAILABLE:
        log.error("request not served", extra={"cause": message, "path": req.path})
        if not isinstance(error, registry.RegistryError):
            # What exactly is down is for operators: it names hosts.
            message = "the registry cannot serve this now; try again"
        resp.set_header("Retry-After", "5")
    message = printable(message)
    resp.status = status
    resp.media = {
        "detail": message,
        "error_message": message,
        "error_type": kind,
        "title": kind,
        "type": external_urls.url(req, f"/api/v1/error/{kind}"),
        "status": status,
    }
    if isinstance(error, ReadOnly):
        resp.media["is_readonly"] = True
    if isinstance(error, _THROTTLED):
        resp.set_header("Retry-After", str(error.seconds))
    if isinstance(error, TooManySearches):
        resp.set_header("Retry-After", "1")
    if status == falcon.http_status_to_code(falcon.HTTP_UNAUTHORIZED):
        # Basic credentials are accepted, but never asked for: a browser would prompt for them and
        # then attach them to every request, also to those that other sites' pages trigger.
        resp.set_header("WWW-Authenticate", 'Bearer realm="api"')
