"""What an operation of the API is: its body, its query, its status and what it needs.

`operation` checks a request against these before the responder runs, and `openapi` writes the
document from them, so that both say the same.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import falcon
from pydantic import BaseModel, ConfigDict, ValidationError

from atoll.audit.log import Audit, Entry
from atoll.auth.access import READ, Grant, Principal
from atoll.auth.sessions import Session
from atoll.names import RepositoryName
from atoll.web.api.errors import (
    ForgedRequest,
    InsufficientScope,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    nothing_at,
)
from atoll.web.api.forgery import READING, can_be_forged
from atoll.web.client_address import client_address

CSRF_HEADER = "X-CSRF-Token"
_BODY_MAXIMUM = 1024 * 1024
NO_CONTENT = 204

Responder = TypeVar("Responder", bound=Callable[..., Any])


class RequestModel(BaseModel):
    """Base of what a request carries. Other keys are let through, as Quay lets them."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


@dataclass(frozen=True)
class Operation:
    """One method of one path. `name` is Quay's name for it."""

    name: str
    summary: str
    status: int
    body: type[RequestModel] | None
    query: type[RequestModel] | None
    response: Any
    scope: str | None
    anonymous: bool
    before_login: bool


@dataclass
class Call:
    """A request to the API whose caller has been authenticated."""

    req: falcon.Request
    resp: falcon.Response
    principal: Principal | None
    grant: Grant | None
    audit: Audit
    session: Session | None = None
    body: Any = None
    query: Any = None

    @property
    def actor(self) -> Principal:
        """Return who calls, or raise Unauthenticated."""
        if self.principal is None:
            raise Unauthenticated
        return self.principal

    def forbidden(self) -> Exception:
        """Return the error for somebody who may not do this: a login may help, or nothing does."""
        if self.principal is None:
            return Unauthenticated()
        return InsufficientScope()

    def require(self, role: str) -> RepositoryName:
        """Return the repository in the path if the caller's role on it is ROLE or more.

        Whether there is such a repository is shown to nobody else; to these NotFound is raised.
        """
        if self.grant is None or not self.grant.allows(role):
            raise self.forbidden()
        if not self.grant.exists:
            raise NotFound(self._no_repository(self.grant.repository))
        return self.grant.repository

    def _no_repository(self, name: RepositoryName) -> str:
        """Return the error text for a repository that does not exist.

        A longer path may also be meant as one below a repository that is not served.
        """
        unknown = f"there is no repository '{name}'"
        return f"{nothing_at(self.req.path)}: {unknown}" if "/" in name.name else unknown

    def may(self, role: str) -> bool:
        """Tell whether the caller may act in ROLE on the repository in the path."""
        if self.principal is not None and self.principal.read_only and role != READ:
            return False
        return self.grant is not None and self.grant.allows(role)

    def require_personal(self) -> RepositoryName:
        """Return the repository in the path, not for who only sees it because all do."""
        name = self.require(READ)
        if self.grant is None or not self.grant.personal:
            raise self.forbidden()
        return name

    def require_superuser(self) -> None:
        """Raise unless the caller is a superuser or, where nothing is changed, an auditor."""
        reading = self.req.method in READING
        if not (self.actor.superuser or (reading and self.actor.auditor)):
            raise self.forbidden()

    def require_writable(self, role: str) -> RepositoryName:
        """Return what `require` does, of a repository that may be pushed to."""
        name = self.require(role)
        if self.grant is not None and not self.grant.writable:
            raise InvalidRequest(
                "Repository is currently read only or mirror. Cannot perform write operation."
            )
        return name

    def entry(self, kind: str, namespace: str | None, **metadata: Any) -> Entry:
        """Return what the audit log is to hold of what is done."""
        repository = self.grant.repository.name if self.grant else metadata.get("repo")
        return Entry(
            kind,
            namespace,
            repository,
            self.principal.username if self.principal else None,
            client_address(self.req),
            metadata,
        )

    def log(self, kind: str, namespace: str | None, **metadata: Any) -> None:
        """Write what was done to the audit log."""
        self.audit.write(self.entry(kind, namespace, **metadata))


def operation(
    name: str,
    *,
    status: int = 200,
    body: type[RequestModel] | None = None,
    query: type[RequestModel] | None = None,
    response: Any = dict[str, Any],
    scope: str | None = None,
    anonymous: bool = False,
    body_in_query: bool = False,
    form: bool = False,
    before_login: bool = False,
) -> Callable[[Responder], Responder]:
    """Make a method `on_<method>(self, call, ...)` a Falcon responder that serves an API operation.

    The responder takes the `Call` that `ApiMiddleware` stored in the request's context.

    Args:
        name: Quay's name for the operation.
        status: Status of a successful response.
        body: Model of the request's body.
        query: Model of the request's query.
        answer: Type of the response's body, which the responder returns.
        scope: Scope that a token needs.
        anonymous: Whether the operation is available without a login.
        body_in_query: Whether the fields of the body may be in the query as well.
        form: Whether a session may send the body as a form. Its CSRF token proves that the page
            with the form was not another site's.
        before_login: Whether the operation is available without a login also where the bundle
            sets FEATURE_ANONYMOUS_ACCESS to false.
    """

    def decorate(responder: Responder) -> Responder:
        summary = (responder.__doc__ or "").strip().partition("\n")[0]
        described = Operation(
            name, summary, status, body, query, response, scope, anonymous, before_login
        )

        @functools.wraps(responder)
        def respond(resource: Any, req: falcon.Request, resp: falcon.Response, **path: Any) -> None:
            call: Call = req.context.call
            _check_caller(described, call)
            if query is not None:
                call.query = _validated(query, dict(req.params), "query")
            if can_be_forged(req) and not (form and call.session):
                _require_json(req)
            if body is not None:
                call.body = _validated(body, _carried(req, with_query=body_in_query), "body")
            if call.session is not None:
                _refuse_forged(call, call.session)
            result = responder(resource, call, **path)
            resp.status = described.status
            if described.status != NO_CONTENT:
                resp.media = result

        respond.operation = described  # type: ignore[attr-defined]
        return respond  # type: ignore[return-value]

    return decorate


def _check_caller(described: Operation, call: Call) -> None:
    """Raise Unauthenticated or InsufficientScope for whom the operation is not for."""
    if call.principal is None:
        if not described.anonymous:
            raise Unauthenticated
        return
    if described.scope and not call.principal.has_scope(described.scope):
        raise InsufficientScope
    changing = call.req.method not in READING and not described.anonymous
    if changing and call.principal.read_only:
        raise InsufficientScope("who is in GLOBAL_READONLY_SUPER_USERS changes nothing")


def _refuse_forged(call: Call, session: Session) -> None:
    """Require the session's CSRF token for a change: browsers attach the cookie by themselves.

    Raises:
        ForgedRequest: The token is missing or wrong.
    """
    if call.req.method in READING:
        return
    shown = call.req.get_header(CSRF_HEADER) or getattr(call.body, "csrf_token", None)
    if not session.confirms(shown):
        raise ForgedRequest


def _require_json(req: falcon.Request) -> None:
    """Refuse a body that is not declared as JSON.

    HTML forms and requests without a CORS preflight cannot declare it.

    Raises:
        falcon.HTTPUnsupportedMediaType: There is a body, or a type, that is not JSON.
    """
    declared = (req.content_type or "").partition(";")[0].strip().lower()
    if declared == falcon.MEDIA_JSON or declared.endswith("+json"):
        return
    if declared or req.content_length or req.get_header("Transfer-Encoding"):
        raise falcon.HTTPUnsupportedMediaType(
            description=f"send the body as JSON, with Content-Type: {falcon.MEDIA_JSON}"
        )


def _carried(req: falcon.Request, *, with_query: bool) -> Any:
    """Return the content of the body: JSON, or the fields of a form.

    With `with_query` the fields of the query are added.
    """
    raw = req.bounded_stream.read(_BODY_MAXIMUM + 1)
    if len(raw) > _BODY_MAXIMUM:
        raise InvalidRequest(f"the body may have at most {_BODY_MAXIMUM} bytes")
    try:
        if (req.content_type or "").startswith(falcon.MEDIA_URLENCODED):
            value: Any = dict(parse_qsl(raw.decode(), keep_blank_values=True))
        else:
            value = json.loads(raw or b"{}")
        # PostgreSQL can hold neither half of a surrogate pair nor a number that is none.
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        written.encode()
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the body is neither JSON nor a form") from error
    if "\\u0000" in written:
        raise InvalidRequest("the body has a zero byte")
    return {**req.params, **value} if with_query and isinstance(value, dict) else value


def _validated(model: type[RequestModel], value: Any, what: str) -> RequestModel:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or what
        raise InvalidRequest(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
