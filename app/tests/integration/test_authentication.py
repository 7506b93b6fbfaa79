"""Guessing is slowed, the form of a token request, the first user, and a registry at rest."""

from __future__ import annotations

import base64
import ipaddress

import jwt
import pytest
import requests
from atoll.auth.throttle import Throttle
from atoll.services import Services
from atoll.web.app import create_app
from falcon import testing

from .site import PASSWORD, SUPERUSER, Site


def login(site: Site, username: str, password: str) -> int:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{site.url}/v2/auth", auth=(username, password)).status_code


def changed(site: Site, **keys: object) -> testing.TestClient:
    """Return a client of an application whose bundle has other KEYS."""
    graph = Services(site.graph.bundle.model_copy(update=keys), spool=site.directory)
    graph.__dict__["locations"] = site.graph.locations
    return testing.TestClient(create_app(graph.dependencies()))


def test_guessing_is_stopped_and_locks_nobody_else_out(us: Site) -> None:
    assert [login(us, SUPERUSER, "guess") for _ in range(6)] == [401] * 5 + [429]
    assert login(us, SUPERUSER, PASSWORD) == 429
    pair = base64.b64encode(f"{SUPERUSER}:{PASSWORD}".encode()).decode()
    # As nginx gives it: what the client itself says of where it comes from stands before.
    for address, status in (("192.0.2.7", 200), ("192.0.2.7, 127.0.0.1", 429)):
        answer = changed(us).simulate_get(
            "/v2/auth",
            headers={"Authorization": f"Basic {pair}", "X-Forwarded-For": address},
        )
        assert (address, answer.status_code) == (address, status)


def login_from(client: testing.TestClient, address: str, password: str) -> int:
    pair = base64.b64encode(f"{SUPERUSER}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}", "X-Forwarded-For": address}
    return client.simulate_get("/v2/auth", headers=headers).status_code


def test_behind_a_trusted_balancer_guessing_is_counted_by_the_clients_address(us: Site) -> None:
    balancer = ipaddress.ip_network("10.0.0.1/32")
    client = changed(us, trusted_proxies=[balancer])
    guessing, other = "192.0.2.7, 10.0.0.1", "192.0.2.8, 10.0.0.1"
    assert [login_from(client, guessing, "guess") for _ in range(6)] == [401] * 5 + [429]
    assert login_from(client, other, PASSWORD) == 200
    assert login_from(client, "192.0.2.8, 192.0.2.7, 10.0.0.1", PASSWORD) == 429


def test_guessing_from_many_places_is_stopped_and_the_user_is_let_in_at_home(us: Site) -> None:
    client = changed(us)
    assert login_from(client, "192.0.2.1", PASSWORD) == 200
    throttle = Throttle(us.graph.redis)
    for number in range(100):
        throttle.failed(SUPERUSER, f"198.51.100.{number}")
    assert login_from(client, "203.0.113.1", PASSWORD) == 429
    assert login_from(client, "192.0.2.1", PASSWORD) == 200
    # Also where another process, or another site, saw the user last.
    assert login_from(changed(us), "192.0.2.1", PASSWORD) == 200


def test_guessing_is_stopped_at_every_site_and_also_without_redis(us: Site, eu: Site) -> None:
    assert [login(us, "nobody", "guess") for _ in range(5)] == [401] * 5
    assert login(eu, "nobody", "guess") == 429
    redis = us.graph.bundle.user_events_redis.model_copy(update={"port": 1})
    alone = changed(us, user_events_redis=redis)
    statuses = [
        alone.simulate_get("/v2/auth", headers={"Authorization": "Basic bm9ib2R5MjpndWVzcw=="})
        for _ in range(6)
    ]
    assert [answer.status_code for answer in statuses] == [401] * 5 + [429]
    assert int(statuses[-1].headers["retry-after"]) > 0


def test_a_token_request_may_be_a_form(us: Site) -> None:
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


def test_the_first_user_is_made_once_and_gets_a_token_for_the_api(us: Site) -> None:
    us.graph.database.run('DELETE FROM "user"')
    body = {"username": "first", "password": "a good password", "access_token": True}
    refused = changed(us).simulate_post("/api/v1/user/initialize", json=body)
    assert refused.status_code == 404
    client = changed(us, feature_user_initialize=True)
    made = client.simulate_post("/api/v1/user/initialize", json=body)
    assert (made.status_code, made.json["username"]) == (200, "first")
    headers = {"Authorization": f"Bearer {made.json['access_token']}"}
    assert client.simulate_get("/api/v1/user/", headers=headers).json["username"] == "first"
    assert login(us, "first", made.json["encrypted_password"]) == 200
    again = client.simulate_post("/api/v1/user/initialize", json=body)
    assert again.status_code == 400
    assert again.json["error_message"] == "Cannot initialize user in a non-empty database"


@pytest.mark.parametrize(
    ("keys", "word"),
    [({"registry_state": "readonly"}, "read-only"), ({"disable_pushes": True}, "disabled")],
)
def test_a_registry_at_rest_takes_no_pushes_and_says_so(
    us: Site, keys: dict[str, object], word: str
) -> None:
    token = requests.get(
        f"{us.url}/v2/auth",
        params={"scope": "repository:admin/app:pull,push"},
        auth=(SUPERUSER, PASSWORD),
    ).json()["token"]
    client = changed(us, **keys)
    answer = client.simulate_post(
        "/v2/admin/app/blobs/uploads/", headers={"Authorization": f"Bearer {token}"}
    )
    assert (answer.status_code, word in answer.json["errors"][0]["message"]) == (405, True)


def test_the_api_of_a_read_only_registry_changes_nothing(us: Site) -> None:
    answer = changed(us, registry_state="readonly").simulate_post(
        "/api/v1/organization/", json={"name": "acme"}
    )
    assert (answer.status_code, answer.json["is_readonly"]) == (503, True)
