"""Forms of token requests are parsed to their fields, or refused."""

from __future__ import annotations

import falcon
import falcon.testing
from atoll.web.errors import InvalidForm
from atoll.web.v2.token_form import FORM_MAXIMUM, read_form
from hypothesis import strategies as st

from .answers import assert_sendable
from .fuzzing import fuzz
from .mutation import texts

VALID = st.sampled_from(
    [
        "grant_type=password&service=registry.test&username=a&password=b",
        "username=%C3%A9&password=%2B+%25&scope=repository:a/b:pull&scope=repository:c/d:push",
        "scope=repository%3Aadmin%2Fapp%3Apull%20registry%3Acatalog%3A*",
    ]
)


def check(form: bytes, content_type: str) -> None:
    req = falcon.testing.create_req(
        method="POST", body=form, headers={"Content-Type": content_type}
    )
    try:
        fields = read_form(req)
    except InvalidForm as error:
        assert_sendable(error)
        return
    assert len(form) <= FORM_MAXIMUM
    for name in ("username", "password"):
        # PostgreSQL cannot store zero bytes.
        assert "\0" not in fields.get(name, "")
    "".join(fields.values()).encode()


def test_any_form_is_parsed_or_refused() -> None:
    forms = texts(VALID).map(lambda text: text.encode(errors="replace"))
    forms |= st.binary(max_size=100) | st.just(b"a=b&" * 20_000)
    fuzz(check, forms, st.just(falcon.MEDIA_URLENCODED) | st.just("application/json"))
