"""Login requires the right password."""

from clients import Clients
from definition import Lab


def test_a_wrong_password_is_refused(clients: Clients) -> None:
    refusal = clients.login_with("a wrong password")

    assert refusal.returncode != 0
    assert "invalid username/password" in refusal.stderr


def test_the_right_password_is_accepted(clients: Clients, lab: Lab) -> None:
    assert clients.login_with(lab.bundle["INITIAL_SUPERUSER_PASSWORD"]).returncode == 0
