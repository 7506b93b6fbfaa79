"""A load balancer drains before it stops, and load balancers are deployed one after the other."""

import http.server
import threading
import time
from contextlib import contextmanager

import pytest
import yaml
from haproxy import Balancer, needs_haproxy, running, serving, wait_until


class Registry(http.server.BaseHTTPRequestHandler):
    """A healthy site with one slow request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/slow":
            self.server.started.set()
            self.server.finish.wait(60)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments):
        """Log nothing."""


@pytest.fixture
def registry(certificate):
    with serving(Registry, certificate) as server:
        server.started, server.finish = threading.Event(), threading.Event()
        yield server
        server.finish.set()


@pytest.fixture
def balancer(root, tmp_path, certificate, registry):
    with running(Balancer(root, tmp_path, certificate, registry.server_address[1])) as balancer:
        yield balancer


@contextmanager
def request_in_progress(balancer, registry):
    thread = threading.Thread(target=balancer.status, args=("8443", "/slow"))
    thread.start()
    assert registry.started.wait(60)
    yield
    registry.finish.set()
    thread.join()


@needs_haproxy
def test_a_draining_load_balancer_is_unhealthy_and_continues_to_serve(balancer):
    assert balancer.status("8404", "/health") == 200
    assert balancer.status("8443", "/v2/") == (200, None)

    with balancer.script("drain", 60, 0) as draining:
        wait_until(lambda: balancer.status("8404", "/health") == 503)
        assert balancer.status("8443", "/health/endtoend")[0] == 503
        assert balancer.status("8443", "/v2/") == (200, "close")
        # Otherwise podman would kill the container.
        assert balancer.script("healthcheck").wait() == 0
        assert draining.poll() is None
        draining.kill()


@needs_haproxy
def test_the_draining_ends_when_the_last_request_has_finished(balancer, registry):
    with request_in_progress(balancer, registry), balancer.script("drain", 0, 60) as draining:
        time.sleep(2)
        assert draining.poll() is None
        registry.finish.set()
        assert draining.wait() == 0


@needs_haproxy
def test_the_draining_ends_after_its_timeout(balancer, registry):
    with request_in_progress(balancer, registry):
        assert balancer.script("drain", 0, 1).wait() == 0
        assert not registry.finish.is_set()


@needs_haproxy
def test_without_requests_the_draining_takes_only_the_notice(balancer):
    started = time.monotonic()

    assert balancer.script("drain", 1, 600).wait() == 0
    assert 1 <= time.monotonic() - started < 300


def plays(playbook):
    for play in yaml.safe_load(playbook.read_text()):
        imported = play.get("ansible.builtin.import_playbook")
        yield from plays(playbook.parent / imported) if imported else [play]


@pytest.mark.parametrize("name", ["site", "add_site", "remove_site", "load_balancers"])
def test_load_balancers_are_deployed_one_after_the_other(root, name):
    deploying = [
        play
        for play in plays(root / f"playbooks/{name}.yml")
        if "atoll.registry.load_balancer" in str(play)
        and not any(f"'tasks_from': '{name}'" in str(play) for name in ("leave", "remove"))
    ]

    assert deploying
    assert all(play.get("serial") == 1 and play["any_errors_fatal"] for play in deploying)
