"""Login attempts are throttled, valid credentials are not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ..image.running import RunningImage
from .visitors import PASSWORD, Visitor, app_token, create_user, new_name, oauth_token


def robot(visitor: Visitor, auth: tuple[str, str]) -> tuple[str, str]:
    """Create a robot of a user and return its credentials."""
    answer = visitor.send("PUT", "/api/v1/user/robots/ci", auth, json={})
    assert answer.status_code == 201, answer.text
    return answer.json()["name"], answer.json()["token"]


def test_wrong_tokens_do_not_throttle_valid_ones(
    visitor: Visitor, accounts_image: RunningImage
) -> None:
    """One broken job must not stop the others behind the same address."""
    bob = create_user(accounts_image), PASSWORD
    at_home = Visitor(accounts_image)
    app, machine = app_token(at_home, bob), robot(at_home, bob)
    oauth = oauth_token(at_home, bob[0], "user:read")
    for number in range(8):
        assert visitor.request("GET", "/api/v1/user/", f"WRONG{number}") == 401
        for name in ("$oauthtoken", "$app", machine[0]):
            assert visitor.registry_token((name, f"WRONG{number}")).status_code == 401
    assert visitor.request("GET", "/api/v1/user/", oauth) == 200
    for auth in (("$oauthtoken", oauth), app, machine):
        assert visitor.registry_token(auth).status_code == 200
    for number in range(60):
        status = visitor.request("GET", "/api/v1/user/", f"WRONG again {number}")
    assert status == 429
    assert visitor.request("GET", "/api/v1/user/", oauth) == 200
    # Passwords are counted separately.
    assert visitor.registry_token(bob).status_code == 200


def test_wrong_passwords_do_not_throttle_tokens_or_users_at_known_addresses(
    visitor: Visitor, accounts_image: RunningImage
) -> None:
    bob, carol = create_user(accounts_image), create_user(accounts_image)
    machine = robot(Visitor(accounts_image), (bob, PASSWORD))
    assert visitor.registry_token((bob, PASSWORD)).status_code == 200
    for _ in range(50):
        visitor.registry_token((new_name("nobody"), "guess"))
    assert visitor.registry_token((carol, PASSWORD)).status_code == 429
    assert visitor.registry_token((bob, PASSWORD)).status_code == 200
    assert visitor.registry_token(machine).status_code == 200


def test_parallel_guesses_are_counted_before_they_are_checked(visitor: Visitor) -> None:
    name = new_name("victim")
    with ThreadPoolExecutor(24) as pool:
        statuses = list(
            pool.map(
                lambda number: visitor.registry_token((name, f"guess {number}")).status_code,
                range(48),
            )
        )
    assert set(statuses) == {401, 429}
    # Each process of the registry may permit one more attempt than is counted.
    assert statuses.count(401) <= 5 + 8


def test_registrations_are_limited_by_address(
    visitor: Visitor, accounts_image: RunningImage
) -> None:
    body = {"username": create_user(accounts_image), "password": PASSWORD}
    statuses = [visitor.request("POST", "/api/v1/user/", json=body) for _ in range(24)]
    assert statuses == [400] * 20 + [429] * 4
    other = {"username": new_name("dave"), "password": PASSWORD}
    assert Visitor(accounts_image).request("POST", "/api/v1/user/", json=other) == 200
