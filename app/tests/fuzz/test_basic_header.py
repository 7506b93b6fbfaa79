"""HTTP Basic credentials are parsed, absent, or refused with a challenge."""

from __future__ import annotations

import base64

import falcon.testing
from atoll.web.basic_auth import basic_credentials
from atoll.web.errors import Unauthorized
from hypothesis import strategies as st

from .answers import assert_sendable
from .fuzzing import fuzz
from .mutation import header_values, texts


def _header(scheme: str, data: bytes) -> str:
    return f"{scheme} {base64.b64encode(data).decode()}"


_SCHEME = st.sampled_from(["Basic", "basic", "BASIC", "Bearer", ""])
_PAIRS = st.sampled_from(["user:pass", "$app:code", "user:", ":", "us\0er:pass", "user:pa\0ss"])
VALID = st.builds(_header, _SCHEME, texts(_PAIRS).map(lambda s: s.encode("utf-8", "replace")))
VALID |= st.builds(_header, _SCHEME, st.binary(max_size=40))


def check(header: str) -> None:
    req = falcon.testing.create_req(headers={"Authorization": header})
    try:
        credentials = basic_credentials(req)
    except Unauthorized as error:
        assert_sendable(error)
        return
    assert credentials is not None
    # PostgreSQL cannot store zero bytes.
    for text in (credentials.username, credentials.secret):
        assert "\0" not in text
        text.encode()


def test_any_basic_header_is_parsed_or_refused() -> None:
    fuzz(check, header_values(VALID))


def test_every_valid_user_name_and_password_is_parsed() -> None:
    names = st.text(st.characters(codec="utf-8", exclude_characters=":\0"))
    passwords = st.text(st.characters(codec="utf-8", exclude_characters="\0"))

    def read(username: str, password: str) -> None:
        header = _header("Basic", f"{username}:{password}".encode())
        req = falcon.testing.create_req(headers={"Authorization": header})
        credentials = basic_credentials(req)
        assert credentials is not None
        assert (credentials.username, credentials.secret) == (username, password)

    fuzz(read, names, passwords, share=0.1)
