"""Tokens of requests to Clair and of its notifications."""

from __future__ import annotations

import base64
from typing import Any

import jwt
import pytest
from atoll.scanning.clair.tokens import (
    InvalidToken,
    NotificationTokens,
    decoded_key,
    request_token,
)

from tests.clair.webhooks import notification_token

KEY = b"a key of 32 bytes for the tests!"
OTHER = b"another key of 32 bytes, for use"
# HS512 asks for a key as long as its hash.
LONG_KEY = b"a key of 64 bytes, which HS512 would accept without any warning!"
NOW = 1_800_000_000


def verify(token: str | None, *keys: bytes, now: float = NOW) -> None:
    authorization = None if token is None else f"Bearer {token}"
    NotificationTokens(keys or [KEY], lambda: now).verify(authorization)


def token(key: bytes = KEY, **claims: Any) -> str:
    return notification_token(key, now=NOW, **claims)


def unsigned() -> str:
    claims = {"iss": "clair-notifier", "exp": NOW + 59}
    return jwt.encode(claims, "", algorithm="none")


def test_notification_of_clair_is_accepted() -> None:
    verify(token())


@pytest.mark.parametrize("used", [KEY, OTHER])
def test_notification_may_have_either_key_while_it_is_replaced(used: bytes) -> None:
    verify(token(used), KEY, OTHER)


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(None, id="no token"),
        pytest.param("", id="empty token"),
        pytest.param("garbage", id="no JWT"),
        pytest.param(token(OTHER), id="wrong key"),
        pytest.param(unsigned(), id="alg none"),
        pytest.param(token(iss="quay"), id="issuer quay"),
        pytest.param(token(iss=None), id="no issuer"),
        pytest.param(token(exp=NOW - 15), id="expired"),
        pytest.param(token(exp=None), id="no expiry"),
        pytest.param(token(exp=str(NOW + 59)), id="expiry is text"),
        pytest.param(token(nbf=NOW + 16), id="not valid yet"),
        pytest.param(token(iat=NOW + 16), id="issued in the future"),
    ],
)
def test_other_notification_is_refused(refused: str | None) -> None:
    with pytest.raises(InvalidToken):
        verify(refused)


def test_notification_with_another_algorithm_is_refused() -> None:
    with pytest.raises(InvalidToken):
        verify(notification_token(LONG_KEY, algorithm="HS512", now=NOW), LONG_KEY)


def test_notification_is_refused_without_a_key() -> None:
    with pytest.raises(InvalidToken):
        NotificationTokens([], lambda: NOW).verify(f"Bearer {token()}")


def test_notification_without_the_bearer_scheme_is_refused() -> None:
    with pytest.raises(InvalidToken):
        NotificationTokens([KEY], lambda: NOW).verify(token())


@pytest.mark.parametrize("now", [NOW + 59 + 14, NOW - 61 + 60 - 14])
def test_difference_between_clocks_is_tolerated(now: float) -> None:
    verify(token(), now=now)


def test_error_does_not_contain_the_token() -> None:
    refused = token(OTHER)
    with pytest.raises(InvalidToken) as raised:
        verify(refused)
    assert refused not in str(raised.value)


def test_request_is_signed_for_five_minutes_as_quay() -> None:
    claims = jwt.decode(
        request_token(KEY, clock=lambda: NOW),
        KEY,
        algorithms=["HS256"],
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert (claims["iss"], claims["exp"]) == ("quay", NOW + 300)


def test_request_is_valid_for_a_clair_whose_clock_is_behind() -> None:
    claims = jwt.decode(
        request_token(KEY, clock=lambda: NOW),
        KEY,
        algorithms=["HS256"],
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert max(claims["nbf"], claims["iat"]) <= NOW - 60


def test_key_is_decoded_from_base64() -> None:
    assert decoded_key(base64.b64encode(KEY).decode()) == KEY


@pytest.mark.parametrize("text", ["", "not Base64!", "YQ"])
def test_malformed_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        decoded_key(text)
