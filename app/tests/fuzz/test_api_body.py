"""API request bodies are parsed to models that PostgreSQL can store, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import falcon
import falcon.testing
from atoll.audit.log import Audit
from atoll.web.api import errors, resources
from atoll.web.api.operation import Call, RequestModel, operation
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from .answers import assert_headers
from .authority import AUTHORITY
from .fuzzing import fuzz
from .mutation import json_values, mutated_json, texts


def _below(model: type[RequestModel]) -> Iterator[type[RequestModel]]:
    for child in model.__subclasses__():
        yield child
        yield from _below(child)


# Importing the resources defines all models.
MODELS = sorted(_below(RequestModel), key=lambda model: (model.__module__, model.__name__))
assert resources
assert len(MODELS) > 20
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


class _Resource:
    """A resource that accepts a body of the given model."""

    def __init__(self, model: type[RequestModel]) -> None:
        @operation("accept", body=model, anonymous=True)
        def on_post(_: _Resource, call: Call) -> dict[str, Any]:
            """Accept the body."""
            self.body = call.body
            return {}

        self.on_post = on_post


@st.composite
def _bodies(draw: st.DrawFn, model: type[RequestModel]) -> tuple[type[RequestModel], bytes]:
    """Return a body with fields of the model, of any type."""
    values: SearchStrategy[Any] = st.one_of(
        st.text(max_size=20),
        st.integers(),
        st.booleans(),
        st.none(),
        st.lists(st.text(max_size=5), max_size=3),
        st.dictionaries(st.text(max_size=5), json_values(), max_size=3),
    )
    names = [field.alias or name for name, field in model.model_fields.items()]
    valid = st.fixed_dictionaries({}, optional=dict.fromkeys(names, values))
    return model, draw(mutated_json(valid))


def check(example: tuple[type[RequestModel], bytes], content_type: str) -> None:
    model, content = example
    # Forms are read only with a bearer token.
    headers = {"Content-Type": content_type, "Authorization": "Bearer x"}
    req = falcon.testing.create_req(method="POST", body=content, headers=headers)
    resp = falcon.Response()
    resource = _Resource(model)
    try:
        req.context.call = Call(req, resp, None, None, Mock(spec=Audit))
        resource.on_post(resource, req, resp)
    except Exception as error:
        errors.write(req, resp, error, AUTHORITY)
        _check_refusal(resp)
        return
    assert isinstance(resource.body, model)
    # PostgreSQL can store the model.
    text = json.dumps(
        resource.body.model_dump(mode="python"), ensure_ascii=False, allow_nan=False, default=str
    )
    text.encode()
    assert "\\u0000" not in text.replace("\\\\", "")


def _check_refusal(resp: falcon.Response) -> None:
    assert resp.status_code == 400
    body = resp.render_body()
    assert body is not None
    assert len(body) < 8000
    assert_headers(resp)


def test_any_body_is_validated_or_refused() -> None:
    bodies = st.sampled_from(MODELS).flatmap(_bodies)
    fuzz(check, bodies, st.just(JSON) | st.sampled_from([FORM, "text/plain", ""]))


def test_any_form_is_validated_or_refused() -> None:
    form = texts(st.just("username=a&password=b&email=c%40d&name=%ff%00&name="))
    bodies = st.tuples(
        st.sampled_from(MODELS), form.map(lambda text: text.encode(errors="replace"))
    )
    fuzz(check, bodies, st.just(FORM))
