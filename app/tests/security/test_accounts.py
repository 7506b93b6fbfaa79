"""Accounts cannot be taken over, and valid credentials cannot be locked out."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
import requests

from ..image.running import RunningImage, running_image, write_bundle
from ..integration.conftest import make_database
from ..integration.services import Services


@pytest.fixture(scope="module")
def image(
    services: Services, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningImage]:
    """A registry with a superuser and an auditor who have no accounts yet."""
    changes: dict[str, object | None] = {
        "SUPER_USERS": ["admin", "ops"],
        "GLOBAL_READONLY_SUPER_USERS": ["audit"],
        "FEATURE_USER_CREATION": True,
    }
    stack = write_bundle(
        services, make_database(services, template), tmp_path_factory.mktemp("accounts"), changes
    )
    with running_image(services, stack) as running:
        yield running


@pytest.fixture
def session(image: RunningImage) -> requests.Session:
    """An HTTP client without credentials."""
    return image.session()


@pytest.mark.parametrize("name", ["ops", "audit"])
def test_a_privileged_name_cannot_be_registered(
    image: RunningImage, session: requests.Session, name: str
) -> None:
    body = {"username": name, "password": "attacker-pass"}
    assert session.post(f"{image.url}/api/v1/user/", json=body).status_code == 400
    answer = session.get(f"{image.url}/v2/auth", auth=(name, "attacker-pass"))
    assert answer.status_code == 401


def test_an_app_token_of_a_superuser_has_no_power_over_the_api(
    image: RunningImage, session: requests.Session
) -> None:
    owner = (image.username, image.password)
    made = session.post(f"{image.url}/api/v1/user/apptoken", json={"title": "ci"}, auth=owner)
    token = ("$app", made.json()["token"]["token_code"])
    for path in ("superuser/users/", "user/", "user/apptoken"):
        assert session.get(f"{image.url}/api/v1/{path}", auth=token).status_code == 403
    body = {"password": "taken over"}
    assert session.put(f"{image.url}/api/v1/user/", json=body, auth=token).status_code == 403
    scope = {"scope": "repository:admin/app:pull,push"}
    answer = session.get(f"{image.url}/v2/auth", params=scope, auth=token)
    assert answer.status_code == 200


def test_wrong_tokens_do_not_lock_out_a_valid_one(
    image: RunningImage, session: requests.Session
) -> None:
    token = image.run("atoll", "token", "create", image.username).stdout.split()[-1]
    url = f"{image.url}/api/v1/user/"
    for _ in range(60):
        wrong = {"Authorization": f"Bearer {uuid.uuid4().hex}"}
        assert session.get(url, headers=wrong).status_code in {401, 429}
    headers = {"Authorization": f"Bearer {token}"}
    assert session.get(url, headers=headers).status_code == 200


def test_registrations_from_one_address_are_limited(
    image: RunningImage, session: requests.Session
) -> None:
    statuses = {
        session.post(
            f"{image.url}/api/v1/user/",
            json={"username": f"sybil{number}", "password": "a password"},
        ).status_code
        for number in range(25)
    }
    assert statuses == {200, 429}
