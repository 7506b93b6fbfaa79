"""Clients that hold many unfinished requests delay only themselves."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from ..image.running import CONFINED, RunningImage, running_image, write_bundle
from ..integration.conftest import make_database
from ..integration.services import Services, wait_until
from .raw import Answer, connect, exchange, head, read_answer

# The default of ATOLL_CLIENT_CONNECTIONS.
DEFAULT_LIMIT = 256
LIMIT = 4
EXTRA = 4
UNFINISHED = "Content-Length: 1000"


@contextmanager
def unfinished(
    url: str, number: int, *headers: str, path: str = "/v2/auth"
) -> Iterator[list[socket.socket]]:
    """Hold requests whose bodies are never sent."""
    with ExitStack() as held:
        connections = [held.enter_context(connect(url)) for _ in range(number)]
        for connection in connections:
            connection.sendall(head("POST", path, UNFINISHED, *headers) + b"x")
        yield connections


def ask(image: RunningImage, *headers: str, path: str = "/v2/") -> Answer:
    return exchange(image.url, head("GET", path, "Connection: close", *headers))


@contextmanager
def client_at_limit(image: RunningImage, limit: int, *headers: str) -> Iterator[None]:
    """Hold unfinished requests of one client until nginx refuses its next request.

    nginx may accept a later request first, and refuse one of these instead. Therefore more are
    added until the limit is reached.
    """
    with ExitStack() as held:
        held.enter_context(unfinished(image.url, limit, *headers))

        def is_limited() -> bool:
            if ask(image, *headers).status == 429:
                return True
            held.enter_context(unfinished(image.url, EXTRA, *headers))
            return False

        wait_until("the client is at its limit", is_limited)
        yield


def assert_limited(answer: Answer) -> None:
    assert (answer.status, answer.codes()) == (429, ["TOOMANYREQUESTS"])
    assert int(answer.headers["retry-after"]) > 0


def test_requests_of_one_client_are_limited(image: RunningImage) -> None:
    with client_at_limit(image, DEFAULT_LIMIT):
        assert_limited(ask(image))
        assert ask(image, path="/health/instance").status == 200
        assert ask(image, path="/health/endtoend").status == 200
        # Without TRUSTED_PROXIES, clients of a load balancer are told apart only by its own header.
        assert ask(image, "X-Forwarded-For: 198.51.100.7").status == 401
    wait_until("the client is served", lambda: ask(image).status == 401)


@pytest.fixture(scope="module")
def balanced(
    services: Services, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningImage]:
    """A registry that allows few requests per client and trusts this machine as a load balancer."""
    changes: dict[str, object | None] = {"TRUSTED_PROXIES": ["10.0.0.0/8", "127.0.0.0/8"]}
    stack = write_bundle(
        services, make_database(services, template), tmp_path_factory.mktemp("balanced"), changes
    )
    options = (*CONFINED, f"--env=ATOLL_CLIENT_CONNECTIONS={LIMIT}")
    with running_image(services, stack, options=options) as running:
        yield running


def test_clients_of_a_trusted_load_balancer_are_distinguished(balanced: RunningImage) -> None:
    first, second = "X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 198.51.100.2"
    with client_at_limit(balanced, LIMIT, first):
        assert_limited(ask(balanced, first))
        assert ask(balanced, second).status == 401


def test_a_forged_header_does_not_evade_the_limit(balanced: RunningImage) -> None:
    """The load balancer appends the client's address to the header that the client sent."""
    client = "198.51.100.3"
    with client_at_limit(balanced, LIMIT, f"X-Forwarded-For: {client}"):
        assert_limited(ask(balanced, f"X-Forwarded-For: 203.0.113.9, {client}"))


def test_the_audit_log_has_the_address_from_the_load_balancer(
    balanced: RunningImage,
) -> None:
    session = balanced.session()
    session.headers["X-Forwarded-For"] = "203.0.113.9, 198.51.100.4"
    balanced.authorize(session, "library/addresses")
    assert session.post(f"{balanced.url}/v2/library/addresses/blobs/uploads/").status_code == 202
    wait_until("the address is in the log", lambda: '"client": "198.51.100.4"' in balanced.log())


@pytest.mark.parametrize("path", ["/v2/auth", "/v2/a/blobs/uploads/x/y", "//v2/a/blobs/uploads/"])
def test_slow_bodies_hold_no_connection_of_the_application(image: RunningImage, path: str) -> None:
    """There are more of them than the application has threads and connections in total."""
    clients = 10
    with ExitStack() as held:
        for number in range(clients):
            address = f"X-Forwarded-For: 198.51.100.{100 + number}"
            held.enter_context(unfinished(image.url, DEFAULT_LIMIT, address, path=path))
        assert ask(image).status == 401
        assert ask(image, path="/health/endtoend").status == 200


@pytest.mark.long
def test_unfinished_headers_time_out(image: RunningImage) -> None:
    # Without a response, but well before the safety limit.
    with connect(image.url) as connection, suppress(ConnectionError):
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: registry.test\r\nX-Slow: ")
        assert connection.recv(100) == b""


@pytest.mark.long
def test_stalled_bodies_time_out(image: RunningImage) -> None:
    # Without a response or with 408, but well before the safety limit.
    with unfinished(image.url, 1) as (connection,), suppress(ConnectionError):
        assert read_answer(connection).status == 408
