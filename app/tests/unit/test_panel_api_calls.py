"""Operations that pages run check the same as those of requests to the API."""

from __future__ import annotations

from typing import Any

import falcon.testing
import pytest
from atoll.auth.access import Principal
from atoll.web.api.errors import InsufficientScope, InvalidRequest, NotFound, Unauthenticated
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.errors import ReadOnly
from atoll.web.panel.api_calls import ApiCalls
from pydantic import Field

USER = Principal(1, "ann", None, None, None, superuser=False)


class Name(RequestModel):
    name: str = Field(max_length=3)


class Things:
    """`thing/{uuid}`."""

    @operation("getThing", query=Name, scope="repo:read", anonymous=True)
    def on_get(self, call: Call, uuid: Any) -> Any:
        return {"method": call.req.method, "name": call.query.name, "uuid": str(uuid)}

    @operation("putThing", body=Name, status=204, scope="repo:write")
    def on_put(self, call: Call, uuid: Any) -> Any:
        return {"method": call.req.method, "name": call.body.name, "uuid": str(uuid)}


PATH, UUID = "/thing/{uuid}", "0b4d7c5e-92a2-4d2c-9a5c-3d1c1d1f8a11"


def call(method: str = "GET", principal: Principal | None = USER) -> Call:
    audit: Any = None
    return Call(falcon.testing.create_req(method=method), falcon.Response(), principal, None, audit)


def calls(*, read_only: bool = False, anonymous: bool = True) -> ApiCalls:
    return ApiCalls([(f"/api/v1{PATH}", Things())], read_only=read_only, anonymous=anonymous)


def test_an_operation_gets_its_method_query_and_parameters() -> None:
    found = calls().run(call("POST"), "GET", PATH, query={"name": "a"}, uuid=UUID)
    assert found == {"method": "GET", "name": "a", "uuid": UUID}


def test_a_page_keeps_its_method_while_it_runs_an_operation() -> None:
    posted = call("POST")
    calls().run(posted, "PUT", PATH, body={"name": "a"}, uuid=UUID)
    assert posted.req.method == "POST"


def test_a_page_that_is_read_cannot_change_anything() -> None:
    with pytest.raises(RuntimeError, match="putThing"):
        calls().run(call("GET"), "PUT", PATH, body={"name": "a"}, uuid=UUID)


@pytest.mark.parametrize(
    ("principal", "settings", "error"),
    [
        (None, {}, Unauthenticated),
        (USER, {"read_only": True}, ReadOnly),
        (
            Principal(1, "eve", None, None, None, superuser=False, auditor=True, read_only=True),
            {},
            InsufficientScope,
        ),
        (
            Principal(1, "ann", None, None, frozenset({"repo:read"}), superuser=False),
            {},
            InsufficientScope,
        ),
    ],
)
def test_a_change_is_refused_as_the_api_refuses_it(
    principal: Principal | None, settings: dict[str, bool], error: type[Exception]
) -> None:
    with pytest.raises(error):
        calls(**settings).run(call("POST", principal), "PUT", PATH, body={"name": "a"}, uuid=UUID)


def test_a_visitor_reads_nothing_without_anonymous_access() -> None:
    query = {"name": "a"}
    assert calls().run(call(principal=None), "GET", PATH, query=query, uuid=UUID)
    with pytest.raises(Unauthenticated):
        calls(anonymous=False).run(call(principal=None), "GET", PATH, query=query, uuid=UUID)


def test_queries_and_bodies_are_validated() -> None:
    with pytest.raises(InvalidRequest, match="name"):
        calls().run(call(), "GET", PATH, query={"name": "long"}, uuid=UUID)
    with pytest.raises(InvalidRequest, match="name"):
        calls().run(call("POST"), "PUT", PATH, uuid=UUID)


def test_a_disabled_feature_and_an_invalid_id_are_not_found() -> None:
    assert calls().serves("/thing/{uuid}/")
    assert not calls().serves("/other")
    for path, uuid in (("/other", UUID), (PATH, "1")):
        with pytest.raises(NotFound):
            calls().run(call(), "GET", path, query={"name": "a"}, uuid=uuid)
