"""Every operation of the API names the scope that a token needs, or is an exception listed here."""

from __future__ import annotations

from atoll.web.api.operation import Operation
from atoll.web.app import create_app
from atoll.web.router import Router

from .site import Site

# Operations that need no scope, because anonymous clients may use them ...
PUBLIC = {
    "getCsrfToken", "signinUser", "logout", "createFirstUser", "createNewUser", "discovery",
    "getRegistryCapabilities", "getGlobalMessages", "getOrganization", "getApplicationInformation",
    "showLocalApplication",
    # ... or because the query carries a token of its own.
    "getExportedLogs",
}  # fmt: skip
# Operations that accept sessions only, never a token.
SESSIONS = {"authorizeApplication", "requestAuthorization"}


def _operations(site: Site) -> list[Operation]:
    app = create_app(site.services.dependencies())
    router = app._router
    assert isinstance(router, Router)
    return [
        responder.operation
        for route in router
        for responder in route.method_map.values()
        if hasattr(responder, "operation")
    ]


def test_every_operation_has_a_scope_or_is_public(us: Site) -> None:
    operations = _operations(us)
    assert len(operations) > 100
    without = {one.name for one in operations if one.scope is None}
    assert without == PUBLIC | SESSIONS


def test_operations_without_a_scope_are_for_anonymous_clients(us: Site) -> None:
    for one in _operations(us):
        assert one.scope or one.anonymous or one.name in SESSIONS, one.name
