"""A request to a page whose caller has been authenticated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import falcon

from atoll.auth.access import Principal
from atoll.auth.sessions import Session
from atoll.web.api.errors import InvalidRequest
from atoll.web.api.operation import Call
from atoll.web.panel.api_calls import ApiCalls
from atoll.web.panel.fresh_login import FreshLogin
from atoll.web.panel.live import version_of
from atoll.web.panel.navigation import NavigationItem, operator_navigation
from atoll.web.panel.polls import Polls
from atoll.web.panel.rendering import Renderer


@dataclass
class Visit:
    """A request to a page.

    Attributes:
        call: The call that the operations of the API get; it has the grant on the repository in
            the path.
        session: The session, also of callers who are not signed in.
        form: The fields of a form that was sent; the last value of each.
        form_values: All values of each field.
        version: The version of the live parts of the page; empty if it has none.
    """

    req: falcon.Request
    resp: falcon.Response
    call: Call
    session: Session
    calls: ApiCalls
    renderer: Renderer
    fresh_login: FreshLogin
    polls: Polls
    form: dict[str, str] = field(default_factory=dict)
    form_values: dict[str, list[str]] = field(default_factory=dict)
    version: str = ""

    @property
    def principal(self) -> Principal | None:
        """The signed-in user; None for anonymous callers."""
        return self.call.principal

    @property
    def csrf_token(self) -> str:
        """The token that each form of this session must send."""
        return self.session.csrf_token

    @property
    def path(self) -> str:
        """The path and query of the page."""
        return self.req.relative_uri

    @property
    def operator(self) -> bool:
        """Whether the caller sees the pages for operators."""
        return self.principal is not None and (self.principal.superuser or self.principal.auditor)

    @property
    def may_change(self) -> bool:
        """Whether the caller may make changes at all, unlike visitors and auditors."""
        return self.principal is not None and not self.principal.read_only

    @property
    def operator_navigation(self) -> list[NavigationItem]:
        """The links between the pages for operators."""
        return operator_navigation(self.calls, self.req.path)

    @property
    def password_needed(self) -> bool:
        """Whether a dangerous form must ask for the password again."""
        return not self.fresh_login.is_fresh(self.req, self.session)

    def live(self, read: Callable[[], Any], version: Callable[[Any], str] = version_of) -> Any:
        """Return the document that the live parts show; None if the browser shows it already.

        Args:
            read: Reads the document, also for later requests of the same page; see `Polls`.
            version: Returns the version of a document.
        """
        document = read()
        self.version = version(document)
        tag = self.polls.remember(self.req, self.version, lambda: version(read()))
        self.resp.set_header("ETag", tag)
        current = self.req.method == "GET" and self.req.get_header("If-None-Match") == tag
        return None if current else document

    def api(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        **parameters: Any,
    ) -> Any:
        """Run an operation of the API as the caller; see `ApiCalls.run`."""
        return self.calls.run(self.call, method, path, query=query, body=body, **parameters)

    def require_fresh_login(self) -> None:
        """Require the password that a dangerous form sent, or one given in the last 10 minutes.

        Raises:
            FreshLoginRequired: The password is missing or wrong.
        """
        password = self.form.get("current_password")
        self.fresh_login.require(self.req, self.resp, self.session, password)

    def require_self(self, username: str | None) -> str:
        """Return the name of the caller if it is that of the account in a path.

        Raises:
            InsufficientScope: It is another account.
            Unauthenticated: The caller is not signed in.
        """
        if self.principal is None or self.principal.username != username:
            raise self.call.forbidden()
        return self.principal.username

    def require_changes(self) -> None:
        """Raise Unauthenticated or InsufficientScope if the caller may make no changes at all."""
        if not self.may_change:
            raise self.call.forbidden()

    def require_name(self, field: str, name: str) -> None:
        """Require the name of an object, which users type to confirm a dangerous change.

        Spaces are compared as browsers show them.

        Raises:
            InvalidRequest: The field of the form has another text.
        """
        if self.form.get(field, "").split() != name.split():
            raise InvalidRequest(f"Type {name} to confirm this change.")

    def render(self, template: str, context: Mapping[str, Any], *, status: int = 200) -> None:
        """Write a page to the response."""
        self.resp.status = status
        self.resp.content_type = falcon.MEDIA_HTML
        values = {"error": None, "submitted": self.form, **context, "visit": self}
        self.resp.text = self.renderer.render(template, **values)
