"""Operations of the API: their parameters, responses and permissions.

The `operation` decorator validates requests before the responder runs. `openapi` generates the
document from the same description, so that both agree.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import falcon
from pydantic import BaseModel, ConfigDict, ValidationError

from atoll.audit.log import Audit, Entry
from atoll.auth.access import READ, Grant, Principal
from atoll.auth.organization_roles import Organization
from atoll.auth.sessions import Session
from atoll.invalid_input import first_problem
from atoll.json_bounds import BoundExceeded, check_structure
from atoll.names import RepositoryName
from atoll.web.api.errors import (
    ForgedRequest,
    InsufficientScope,
    InvalidRequest,
    NotFound,
    RepositoryReadOnly,
    Unauthenticated,
    not_found_message,
)
from atoll.web.api.forgery import READING, can_be_forged
from atoll.web.client_address import client_address

CSRF_HEADER = "X-CSRF-Token"
_BODY_MAXIMUM = 1024 * 1024
NO_CONTENT = 204

Responder = TypeVar("Responder", bound=Callable[..., Any])


class RequestModel(BaseModel):
    """Base model of request bodies and queries. As in Quay, unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


@dataclass(frozen=True)
class Operation:
    """A method of a path. See the `operation` decorator."""

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
    # Replaces the operation's status.
    status: int | None = None
    # Organizations with the caller's roles, which a page of several operations reads once.
    organizations: dict[str, Organization] = field(default_factory=dict)

    @property
    def actor(self) -> Principal:
        """The caller. Raises Unauthenticated."""
        if self.principal is None:
            raise Unauthenticated
        return self.principal

    def forbidden(self) -> Exception:
        """Return Unauthenticated or, if the caller is logged in, InsufficientScope."""
        if self.principal is None:
            return Unauthenticated()
        return InsufficientScope()

    def require(self, role: str) -> RepositoryName:
        """Return the repository in the path if the caller has at least a role on it.

        Raises:
            Unauthenticated: the caller lacks the role and is not logged in.
            InsufficientScope: the caller lacks the role, whether or not the repository exists.
            NotFound: the caller would have the role, but the repository does not exist.
        """
        if self.grant is None or not self.grant.allows(role):
            raise self.forbidden()
        if not self.grant.exists:
            raise NotFound(self._no_repository(self.grant.repository))
        return self.grant.repository

    def _no_repository(self, name: RepositoryName) -> str:
        """Return the error text for a repository that does not exist.

        A longer path may also be an unserved path below a repository, so the text names both.
        """
        unknown = f"there is no repository '{name}'"
        return f"{not_found_message(self.req.path)}: {unknown}" if "/" in name.name else unknown

    def may(self, role: str) -> bool:
        """Return whether the caller has at least a role on the repository in the path."""
        if self.principal is not None and self.principal.read_only and role != READ:
            return False
        return self.grant is not None and self.grant.allows(role)

    def require_personal(self) -> RepositoryName:
        """Return the repository in the path if the caller has a permission of their own on it.

        Visibility to all users does not suffice. Raises as `require`.
        """
        name = self.require(READ)
        if self.grant is None or not self.grant.personal:
            raise self.forbidden()
        return name

    def require_superuser(self) -> None:
        """Raise unless the caller is a superuser or, for reading, an auditor."""
        reading = self.req.method in READING
        if not (self.actor.superuser or (reading and self.actor.auditor)):
            raise self.forbidden()

    def require_writable(self, role: str) -> RepositoryName:
        """Return the repository in the path as `require` does, if users may change it.

        Raises:
            RepositoryReadOnly: The repository is read-only or a mirror.
        """
        name = self.require(role)
        if self.grant is not None and not self.grant.writable:
            raise RepositoryReadOnly
        return name

    def entry(self, kind: str, namespace: str | None, **metadata: Any) -> Entry:
        """Return an entry of the audit log for this request."""
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
        """Write an entry to the audit log."""
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
    secret_in_query: bool = False,
) -> Callable[[Responder], Responder]:
    """Make a method `on_<method>(self, call, ...)` a Falcon responder that serves an API operation.

    The responder takes the `Call` that `ApiMiddleware` stored in the request's context.

    Args:
        name: Quay's name for the operation.
        status: Status of a successful response.
        body: Model of the request's body.
        query: Model of the request's query.
        response: Type of the response's body, which the responder returns.
        scope: Scope that a token needs.
        anonymous: Whether the operation is available without a login.
        body_in_query: Whether fields of the body may be in the query instead.
        form: Whether a client with a session may send the body as a form. The CSRF token proves
            that the form was not on another site's page.
        before_login: Whether the operation is available without a login even if
            FEATURE_ANONYMOUS_ACCESS is false.
        secret_in_query: Whether a secret in the query permits the request, so that the page of a
            link may send a form without a session or a CSRF token.
    """

    def decorate(responder: Responder) -> Responder:
        summary = (responder.__doc__ or "").strip().partition("\n")[0]
        described = Operation(
            name, summary, status, body, query, response, scope, anonymous, before_login
        )

        @functools.wraps(responder)
        def respond(resource: Any, req: falcon.Request, resp: falcon.Response, **path: Any) -> None:
            call: Call = req.context.call
            check_caller(described, call)
            if query is not None:
                call.query = validated(query, dict(req.params), "query")
            if can_be_forged(req) and not (secret_in_query or (form and call.session)):
                _require_json(req)
            if body is not None:
                call.body = validated(body, _read_body(req, with_query=body_in_query), "body")
            if call.session is not None and not secret_in_query:
                _check_csrf_token(call, call.session)
            result = responder(resource, call, **path)
            resp.status = call.status or described.status
            if described.status != NO_CONTENT:
                resp.media = result

        respond.operation = described  # type: ignore[attr-defined]
        return respond  # type: ignore[return-value]

    return decorate


def check_caller(described: Operation, call: Call) -> None:
    """Raise Unauthenticated or InsufficientScope if the caller may not use the operation."""
    if call.principal is None:
        if not described.anonymous:
            raise Unauthenticated
        return
    if described.scope and not call.principal.has_scope(described.scope):
        raise InsufficientScope
    changing = call.req.method not in READING and not described.anonymous
    if changing and call.principal.read_only:
        raise InsufficientScope("users in GLOBAL_READONLY_SUPER_USERS may not make changes")


def _check_csrf_token(call: Call, session: Session) -> None:
    """Require the session's CSRF token for a change, because browsers attach cookies on their own.

    Raises:
        ForgedRequest: The token is missing or wrong.
    """
    if call.req.method in READING:
        return
    token = call.req.get_header(CSRF_HEADER) or getattr(call.body, "csrf_token", None)
    if not session.csrf_token_matches(token):
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


def _read_body(req: falcon.Request, *, with_query: bool) -> Any:
    """Return the content of the body: JSON, or the fields of a form.

    With `with_query`, fields of the query are added.
    """
    raw = req.bounded_stream.read(_BODY_MAXIMUM + 1)
    if len(raw) > _BODY_MAXIMUM:
        raise InvalidRequest(f"the body may have at most {_BODY_MAXIMUM} bytes")
    try:
        if (req.content_type or "").startswith(falcon.MEDIA_URLENCODED):
            value: Any = dict(parse_qsl(raw.decode(), keep_blank_values=True))
        else:
            check_structure(raw)
            value = json.loads(raw or b"{}")
        # PostgreSQL can store neither half of a surrogate pair nor NaN.
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        written.encode()
    except BoundExceeded as error:
        raise InvalidRequest(f"the body {error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the body is neither JSON nor a form") from error
    if "\\u0000" in written:
        raise InvalidRequest("the body has a zero byte")
    return {**req.params, **value} if with_query and isinstance(value, dict) else value


def validated(model: type[RequestModel], value: Any, part: str) -> RequestModel:
    """Return the body or query of a request as its model.

    Args:
        model: The model.
        value: The content of the body or query.
        part: What an error calls the whole of it.

    Raises:
        InvalidRequest: The content does not fit the model.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        field, text = first_problem(error)
        raise InvalidRequest(f"{field or part}: {text}") from error
