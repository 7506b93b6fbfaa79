"""HTTP Basic credentials and token forms contain no bytes that PostgreSQL cannot store."""

from __future__ import annotations

import base64

import falcon
import falcon.testing
import pytest
from atoll.web.basic_auth import basic_credentials
from atoll.web.errors import InvalidForm, Unauthorized
from atoll.web.v2.token_form import read_form


@pytest.mark.parametrize("pair", ["us\0er:secret", "$app:sec\0ret", "user"])
def test_credentials_with_a_zero_byte_or_without_a_password_are_refused(pair: str) -> None:
    header = f"Basic {base64.b64encode(pair.encode()).decode()}"
    with pytest.raises(Unauthorized):
        basic_credentials(falcon.testing.create_req(headers={"Authorization": header}))


@pytest.mark.parametrize("form", ["username=a%00&password=b", "username=$app&password=b%00"])
def test_a_form_with_a_zero_byte_is_refused(form: str) -> None:
    headers = {"Content-Type": falcon.MEDIA_URLENCODED}
    with pytest.raises(InvalidForm, match="zero byte"):
        read_form(falcon.testing.create_req(method="POST", body=form, headers=headers))
