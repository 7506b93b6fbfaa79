"""Decorators for the responders of pages and forms."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote

import falcon

from atoll.web.api import errors as api_errors
from atoll.web.api.errors import ForgedRequest, FreshLoginRequired, InvalidRequest
from atoll.web.api.operation import CSRF_HEADER
from atoll.web.panel.visit import Visit

Responder = TypeVar("Responder", bound=Callable[..., Any])

CSRF_FIELD = "csrf_token"
# The limit of nginx and of `admission` for paths outside of the API.
_FORM_MAXIMUM = 64 * 1024
_FIELDS_MAXIMUM = 1000
# Statuses of errors that a form shows above its fields; others get a page of their own. 404 is that
# of an object that a field names: without the object of the page itself, the page fails as well.
_SHOWN = frozenset({400, 404, 409, 429})


@dataclass(frozen=True)
class PageOptions:
    """How a responder is served.

    Attributes:
        before_login: Whether the page is shown without a login even if FEATURE_ANONYMOUS_ACCESS is
            false.
        template: The template; None for forms.
    """

    before_login: bool
    template: str | None = None


@dataclass(frozen=True)
class Shown:
    """A page that is sent in response to a form, with a secret or a result that no other page has.

    It is in no URL, and browsers do not store the page (Cache-Control: no-store).

    Attributes:
        template: The template.
        variables: Its variables.
    """

    template: str
    variables: dict[str, Any]


def page(template: str, *, before_login: bool = False) -> Callable[[Responder], Responder]:
    """Make a method `on_get(self, visit, ...)` a Falcon responder that sends a page.

    The method returns the variables of the template, or None if the browser shows the current
    version of the page already (`Visit.live`).
    """

    def decorate(responder: Responder) -> Responder:
        @functools.wraps(responder)
        def respond(resource: Any, req: falcon.Request, resp: falcon.Response, **path: Any) -> None:
            visit: Visit = req.context.visit
            context = responder(resource, visit, **path)
            if context is None:
                resp.status = falcon.HTTP_NOT_MODIFIED
            else:
                visit.render(template, context)

        respond.panel = PageOptions(before_login, template)  # type: ignore[attr-defined]
        return respond  # type: ignore[return-value]

    return decorate


def form(*, before_login: bool = False) -> Callable[[Responder], Responder]:
    """Make a method `on_post(self, visit, ...)` a Falcon responder that receives a form.

    The form must have the session's CSRF token. The method returns the path to redirect to, or
    what is `Shown` instead. If it raises an error that the user can correct, the page of the same
    resource (`on_get`) is sent again, with the variables `error`, a text, and `submitted`, the
    fields.
    """

    def decorate(responder: Responder) -> Responder:
        @functools.wraps(responder)
        def respond(resource: Any, req: falcon.Request, resp: falcon.Response, **path: Any) -> None:
            visit: Visit = req.context.visit
            _read_form(visit)
            try:
                answer = responder(resource, visit, **path)
            except Exception as error:
                if not _show_again(visit, resource, error, path):
                    raise
            else:
                if isinstance(answer, Shown):
                    visit.render(answer.template, answer.variables)
                else:
                    redirect(resp, answer)

        respond.panel = PageOptions(before_login)  # type: ignore[attr-defined]
        return respond  # type: ignore[return-value]

    return decorate


def redirect(resp: falcon.Response, path: str) -> None:
    """Redirect a browser to a path of the panel, which it gets with GET."""
    resp.status = falcon.HTTP_SEE_OTHER
    resp.set_header("Location", quote(path, safe="/?&=%:+,;@!$'()*~#"))


def is_local(path: str) -> bool:
    """Return whether a text is a path of this registry, not an address of another site.

    Browsers treat a backslash as a slash, and ignore control characters.
    """
    return (
        path.startswith("/")
        and not path.startswith("//")
        and "\\" not in path
        and path.isprintable()
        and " " not in path
    )


def _read_form(visit: Visit) -> None:
    """Read the fields of a form and check its CSRF token.

    Raises:
        InvalidRequest: The body is not a form, or too large.
        ForgedRequest: The token is missing or wrong.
    """
    req = visit.req
    declared = (req.content_type or "").partition(";")[0].strip().lower()
    if declared != falcon.MEDIA_URLENCODED:
        raise InvalidRequest(f"send the form with Content-Type: {falcon.MEDIA_URLENCODED}")
    raw = req.bounded_stream.read(_FORM_MAXIMUM + 1)
    if len(raw) > _FORM_MAXIMUM:
        raise InvalidRequest(f"the form may have at most {_FORM_MAXIMUM} bytes")
    try:
        visit.form_values = parse_qs(
            raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAXIMUM
        )
    except ValueError as error:
        raise InvalidRequest("the form is not UTF-8, or has too many fields") from error
    if any("\0" in one for values in visit.form_values.values() for one in values):
        raise InvalidRequest("the form has a zero byte")
    visit.form = {name: values[-1] for name, values in visit.form_values.items()}
    token = visit.form.pop(CSRF_FIELD, None) or req.get_header(CSRF_HEADER)
    if not visit.session.csrf_token_matches(token):
        raise ForgedRequest


def _show_again(visit: Visit, resource: Any, error: Exception, path: dict[str, Any]) -> bool:
    """Send the page of the form again with an error; return whether there is such a page."""
    responder = getattr(type(resource), "on_get", None)
    options: PageOptions | None = getattr(responder, "panel", None)
    if isinstance(error, FreshLoginRequired):
        error = InvalidRequest("Enter your current password to confirm this.")
    shown = api_errors.status_of(error)[0] in _SHOWN
    if not shown or responder is None or options is None or options.template is None:
        return False
    described = api_errors.describe(visit.req, visit.resp, error)
    context = responder.__wrapped__(resource, visit, **path)
    visit.render(options.template, {**context, "error": described.message}, status=described.status)
    return True
