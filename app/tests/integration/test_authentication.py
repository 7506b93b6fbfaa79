"""Throttling of logins, token requests as forms, the first user, and read-only registries."""

from __future__ import annotations

import base64
import ipaddress

import jwt
import pytest
import requests
from atoll.auth.throttle import Throttle
from falcon import testing

from .clients import client_with_settings
from .site import PASSWORD, SUPERUSER, Site


def login(site: Site, username: str, password: str) -> int:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{site.url}/v2/auth", auth=(username, password)).status_code


def test_guessing_is_throttled_without_locking_out_other_users(us: Site) -> None:
    assert [login(us, SUPERUSER, "guess") for _ in range(6)] == [401] * 5 + [429]
    assert login(us, SUPERUSER, PASSWORD) == 429
    pair = base64.b64encode(f"{SUPERUSER}:{PASSWORD}".encode()).decode()
    # As nginx sends it: the client's own claim about its address stands first.
    for address, status in (("192.0.2.7", 200), ("192.0.2.7, 127.0.0.1", 429)):
        answer = client_with_settings(us).simulate_get(
            "/v2/auth",
            headers={"Authorization": f"Basic {pair}", "X-Forwarded-For": address},
        )
        assert (address, answer.status_code) == (address, status)


def login_from(client: testing.TestClient, address: str, password: str) -> int:
    pair = base64.b64encode(f"{SUPERUSER}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}", "X-Forwarded-For": address}
    return client.simulate_get("/v2/auth", headers=headers).status_code


def test_guesses_are_counted_by_client_address_behind_a_trusted_load_balancer(us: Site) -> None:
    balancer = ipaddress.ip_network("10.0.0.1/32")
    client = client_with_settings(us, trusted_proxies=[balancer])
    guessing, other = "192.0.2.7, 10.0.0.1", "192.0.2.8, 10.0.0.1"
    assert [login_from(client, guessing, "guess") for _ in range(6)] == [401] * 5 + [429]
    assert login_from(client, other, PASSWORD) == 200
    assert login_from(client, "192.0.2.8, 192.0.2.7, 10.0.0.1", PASSWORD) == 429


def test_a_user_logs_in_from_a_known_address_while_others_guess_the_password(us: Site) -> None:
    client = client_with_settings(us)
    assert login_from(client, "192.0.2.1", PASSWORD) == 200
    throttle = Throttle(us.services.redis)
    for number in range(100):
        throttle.failed(SUPERUSER, f"198.51.100.{number}")
    assert login_from(client, "203.0.113.1", PASSWORD) == 429
    assert login_from(client, "192.0.2.1", PASSWORD) == 200
    # A known address is shared with other processes and other sites.
    assert login_from(client_with_settings(us), "192.0.2.1", PASSWORD) == 200


def test_guessing_is_throttled_at_every_site_and_without_redis(us: Site, eu: Site) -> None:
    assert [login(us, "nobody", "guess") for _ in range(5)] == [401] * 5
    assert login(eu, "nobody", "guess") == 429
    redis = us.services.bundle.user_events_redis.model_copy(update={"port": 1})
    alone = client_with_settings(us, user_events_redis=redis)
    statuses = [
        alone.simulate_get("/v2/auth", headers={"Authorization": "Basic bm9ib2R5MjpndWVzcw=="})
        for _ in range(6)
    ]
    assert [answer.status_code for answer in statuses] == [401] * 5 + [429]
    assert int(statuses[-1].headers["retry-after"]) > 0


def test_a_token_can_be_requested_with_a_form(us: Site) -> None:
    form = {
        "grant_type": "password",
        "service": "registry.test",
        "username": SUPERUSER,
        "password": PASSWORD,
        "scope": "repository:admin/app:pull,push registry:catalog:*",
    }
    answer = requests.post(f"{us.url}/v2/auth", data=form)
    assert answer.status_code == 200, answer.text
    access = jwt.decode(answer.json()["token"], options={"verify_signature": False})["access"]
    assert {"type": "registry", "name": "catalog", "actions": ["*"]} in access
    assert "push" in access[0]["actions"]
    assert requests.post(f"{us.url}/v2/auth", data={**form, "password": "x"}).status_code == 401
    assert requests.post(f"{us.url}/v2/auth", json=form).status_code == 400
    other = requests.post(f"{us.url}/v2/auth", data={**form, "grant_type": "code"})
    assert other.status_code == 400


def test_the_first_user_is_created_once_and_gets_an_api_token(us: Site) -> None:
    us.services.database.run('DELETE FROM "user"')
    body = {"username": "first", "password": "a good password", "access_token": True}
    refused = client_with_settings(us).simulate_post("/api/v1/user/initialize", json=body)
    assert refused.status_code == 404
    client = client_with_settings(us, feature_user_initialize=True)
    made = client.simulate_post("/api/v1/user/initialize", json=body)
    assert (made.status_code, made.json["username"]) == (200, "first")
    headers = {"Authorization": f"Bearer {made.json['access_token']}"}
    assert client.simulate_get("/api/v1/user/", headers=headers).json["username"] == "first"
    assert login(us, "first", made.json["encrypted_password"]) == 200
    again = client.simulate_post("/api/v1/user/initialize", json=body)
    assert again.status_code == 400
    assert again.json["error_message"] == "Cannot initialize user in a non-empty database"


@pytest.mark.parametrize(
    ("keys", "reason"),
    [({"registry_state": "readonly"}, "read-only"), ({"disable_pushes": True}, "disabled")],
)
def test_a_read_only_registry_refuses_pushes_with_the_reason(
    us: Site, keys: dict[str, object], reason: str
) -> None:
    token = requests.get(
        f"{us.url}/v2/auth",
        params={"scope": "repository:admin/app:pull,push"},
        auth=(SUPERUSER, PASSWORD),
    ).json()["token"]
    client = client_with_settings(us, **keys)
    answer = client.simulate_post(
        "/v2/admin/app/blobs/uploads/", headers={"Authorization": f"Bearer {token}"}
    )
    assert (answer.status_code, reason in answer.json["errors"][0]["message"]) == (405, True)


def test_the_api_of_a_read_only_registry_changes_nothing(us: Site) -> None:
    answer = client_with_settings(us, registry_state="readonly").simulate_post(
        "/api/v1/organization/", json={"name": "acme"}
    )
    assert (answer.status_code, answer.json["is_readonly"]) == (503, True)
