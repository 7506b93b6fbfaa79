"""Login attempts are throttled, valid tokens are not."""

from __future__ import annotations

import base64
import threading
from collections import Counter

import argon2
import pytest
from atoll.auth import passwords
from atoll.auth.throttle import Throttle, TooManyFailures
from falcon import testing

from .clients import Api, add_user, client_with_settings
from .site import PASSWORD, SUPERUSER, Site

GUESSES = 60


def _login(client: testing.TestClient, username: str, password: str, address: str) -> int:
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}", "X-Forwarded-For": address}
    return client.simulate_get("/v2/auth", headers=headers).status_code


@pytest.mark.parametrize("username", ["$oauthtoken", "$app", "admin+robot"])
def test_a_valid_token_is_accepted_after_wrong_ones_from_its_address(
    us: Site, username: str
) -> None:
    api, client = Api(us), client_with_settings(us)
    api.call("PUT", "user/robots/robot", {}, 201)
    valid = {
        "$oauthtoken": us.command("token", "create", SUPERUSER).stdout.strip(),
        "$app": api.call("POST", "user/apptoken", {"title": "x"})["token"]["token_code"],
        "admin+robot": api.call("GET", "user/robots/robot")["token"],
    }
    statuses = Counter(_login(client, username, f"guess{n}", "192.0.2.1") for n in range(GUESSES))
    assert statuses[401] == 50
    assert statuses[429] == GUESSES - 50
    for name, token in valid.items():
        assert _login(client, name, token, "192.0.2.1") == 200


def test_wrong_tokens_do_not_lock_out_passwords(us: Site) -> None:
    client = client_with_settings(us)
    for number in range(GUESSES):
        _login(client, "$oauthtoken", f"guess{number}", "192.0.2.1")
    assert _login(client, SUPERUSER, PASSWORD, "192.0.2.1") == 200


def test_a_user_logs_in_at_a_known_address_after_failed_logins_of_others(us: Site) -> None:
    client = client_with_settings(us)
    assert _login(client, SUPERUSER, PASSWORD, "192.0.2.1") == 200
    for number in range(GUESSES):
        _login(client, f"nobody{number}", "guess", "192.0.2.1")
    assert _login(client, "nobody", "guess", "192.0.2.1") == 429
    assert _login(client, SUPERUSER, PASSWORD, "192.0.2.1") == 200


def test_registrations_are_limited_by_address(us: Site) -> None:
    client = client_with_settings(us)

    def register(number: int, address: str) -> int:
        body = {"username": f"new{number}", "password": "a password"}
        headers = {"X-Forwarded-For": address}
        return client.simulate_post("/api/v1/user/", json=body, headers=headers).status_code

    statuses = [register(number, "192.0.2.1") for number in range(21)]
    assert statuses == [200] * 20 + [429]
    assert register(21, "192.0.2.2") == 200


def test_a_taken_name_is_refused_before_a_hash_is_computed(
    us: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_user(Api(us), "bob")

    def hashed(_password: str) -> str:
        raise AssertionError("a hash was computed")

    monkeypatch.setattr(passwords, "_hasher", argon2.PasswordHasher())
    monkeypatch.setattr("atoll.auth.users.hash_password", hashed)
    body = {"username": "bob", "password": "a password"}
    assert client_with_settings(us).simulate_post("/api/v1/user/", json=body).status_code == 400


def test_parallel_guesses_are_limited(us: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads pass the first check; the number of hashes is limited by failed attempts."""
    threads, hashed, lock = 24, [0], threading.Lock()
    together = threading.Barrier(threads)
    check = Throttle.check

    class Counting(argon2.PasswordHasher):
        def verify(self, *words: object) -> bool:
            with lock:
                hashed[0] += 1
            return super().verify(*words)  # type: ignore[arg-type]

    def check_together(self: Throttle, username: str, address: str) -> None:
        check(self, username, address)
        together.wait(60)

    monkeypatch.setattr(Throttle, "check", check_together)
    monkeypatch.setattr(passwords, "_hasher", Counting(time_cost=1, memory_cost=8, parallelism=1))
    client, statuses = client_with_settings(us), Counter[int]()

    def guess(number: int) -> None:
        status = _login(client, SUPERUSER, f"guess {number}", "192.0.2.1")
        with lock:
            statuses[status] += 1

    guesses = [threading.Thread(target=guess, args=[number]) for number in range(threads)]
    for thread in guesses:
        thread.start()
    for thread in guesses:
        thread.join()
    # Five failures are free; some more may be counted late.
    assert hashed[0] <= 5 + 2 * passwords.CONCURRENT_HASHES
    assert statuses[429] == threads - statuses[401]


def test_few_passwords_are_hashed_in_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()

    class Slow(argon2.PasswordHasher):
        def hash(self, *_words: object, **_more: object) -> str:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            threading.Event().wait(0.05)
            with lock:
                running -= 1
            return "hash"

    monkeypatch.setattr(passwords, "_hasher", Slow())
    workers = [
        threading.Thread(target=passwords.hash_password, args=["a password"]) for _ in "abcdefgh"
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == passwords.CONCURRENT_HASHES


def test_a_password_without_a_free_slot_is_refused_temporarily(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(passwords, "_slots", threading.BoundedSemaphore(1))
    with passwords._slot(), pytest.raises(passwords.PasswordsBusy):
        passwords.verify_password(None, "a password")
    assert issubclass(passwords.PasswordsBusy, TooManyFailures.__base__)
