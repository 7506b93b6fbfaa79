"""Tokens that this registry did not sign give no access."""

from __future__ import annotations

import base64
import json
import time

import jwt
import pytest

from ..image.protocol import Registry
from ..image.running import RunningImage


def _bearer_token(image: RunningImage, registry: Registry) -> str:
    session = image.session()
    image.authorize(session, registry.name)
    return str(session.headers["Authorization"]).split()[1]


def _unsigned(claims: dict[str, object], algorithm: str) -> str:
    parts = [json.dumps({"alg": algorithm, "typ": "JWT"}), json.dumps(claims)]
    encoded = [base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])


def _status(image: RunningImage, registry: Registry, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    answer = image.session().get(f"{image.url}{registry.path('tags/list')}", headers=headers)
    return answer.status_code


def test_a_genuine_token_is_accepted(image: RunningImage, registry: Registry) -> None:
    registry.push_image("v1")
    assert _status(image, registry, _bearer_token(image, registry)) == 200


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256"])
def test_an_unsigned_token_is_refused(
    image: RunningImage, registry: Registry, algorithm: str
) -> None:
    registry.push_image("v1")
    genuine = _bearer_token(image, registry)
    claims = jwt.decode(genuine, options={"verify_signature": False})
    assert _status(image, registry, _unsigned(claims, algorithm)) == 401


def test_a_token_with_changed_claims_is_refused(image: RunningImage, registry: Registry) -> None:
    registry.push_image("v1")
    header, claims, signature = _bearer_token(image, registry).split(".")
    padded = claims + "=" * (-len(claims) % 4)
    changed = json.loads(base64.urlsafe_b64decode(padded)) | {"exp": int(time.time()) + 10**6}
    encoded = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    assert _status(image, registry, f"{header}.{encoded}.{signature}") == 401


def test_a_token_signed_with_another_key_is_refused(
    image: RunningImage, registry: Registry
) -> None:
    registry.push_image("v1")
    claims = jwt.decode(_bearer_token(image, registry), options={"verify_signature": False})
    for key in ("\0" * 32, "secret" * 6, "0" * 32):
        forged = jwt.encode(claims, key, algorithm="HS256")
        assert _status(image, registry, forged) == 401


def test_an_upload_state_is_not_accepted_as_a_token(
    image: RunningImage, registry: Registry
) -> None:
    registry.push_image("v1")
    location = registry.begin_upload()
    state = location.partition("_state=")[2].partition("&")[0]
    assert state
    assert _status(image, registry, state) == 401
