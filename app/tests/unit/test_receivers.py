"""A webhook goes where its users may send the registry, and nowhere else."""

from __future__ import annotations

import socket

import pytest
from atoll.notifications.receivers import AddressRefused, NotReceived, Receivers


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "169.254.169.254",
        "100.100.100.200",
        "[::1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "224.0.0.1",
    ],
)
def test_an_address_of_this_machine_or_its_surroundings_is_refused(host: str) -> None:
    for port in ("", ":8080"):
        with pytest.raises(AddressRefused, match="SSRF_ALLOWED_HOSTS"):
            Receivers().check(f"http://{host}{port}/hook")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "http://",
        "http://[::1/",
        "http://example.com:99999/",
        "http://user:word@example.com/",
        "http://example.com/a b",
        "http://example.com/\r\nX: y",
    ],
)
def test_what_is_no_address_of_a_receiver_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        Receivers().check(url)


@pytest.mark.parametrize("url", ["https://hooks.example.com/x", "http://10.1.2.3/x?y=z"])
def test_any_other_address_is_taken(url: str) -> None:
    Receivers().check(url)


def test_a_name_that_means_this_machine_is_refused_when_it_is_spoken_to() -> None:
    with pytest.raises(AddressRefused, match="SSRF_ALLOWED_HOSTS"):
        Receivers().post("http://localhost:9/hook", {})


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.0/8"])
def test_an_operator_can_allow_an_address_or_a_network(allowed: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(NotReceived):
        Receivers(frozenset({allowed})).post(f"http://127.0.0.1:{port}/hook", {})


def test_an_operator_can_forbid_a_host() -> None:
    receivers = Receivers(forbidden=frozenset({"hooks.example.com"}))
    with pytest.raises(AddressRefused, match="WEBHOOK_HOSTNAME_BLACKLIST"):
        receivers.check("https://HOOKS.example.com/x")


def test_an_address_in_an_error_names_the_host_and_not_what_is_secret_in_it() -> None:
    with pytest.raises(NotReceived) as failed:
        Receivers().post("https://no-such-name.invalid/services/secret?token=secret", {})
    assert "secret" not in str(failed.value)
