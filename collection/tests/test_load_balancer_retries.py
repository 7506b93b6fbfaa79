"""Requests that a failing host leaves without a response are repeated where that is harmless."""

import http.server

import pytest
from haproxy import Balancer, needs_haproxy, running, serving, wait_until

UPLOADS = "/v2/acme/app/blobs/uploads/"
MANIFEST = "/v2/acme/app/manifests/1"


class FailingHosts:
    """Healthy hosts; the first that a client's request reaches closes the connection."""

    def __init__(self):
        self.requests = []

    @property
    def handler(self):
        hosts = self

        class Host(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_request(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path != "/v2/" and not self.path.startswith("/health/"):
                    hosts.requests.append(self.command)
                    if len(hosts.requests) == 1:
                        self.close_connection = True
                        return
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments):
                """Log nothing."""

        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Host, f"do_{method}", Host.handle_request)
        return Host


@pytest.fixture(scope="module")
def hosts():
    return FailingHosts()


@pytest.fixture(scope="module")
def balancer(root, tmp_path_factory, certificate, hosts):
    folder = tmp_path_factory.mktemp("haproxy")
    with serving(hosts.handler, certificate) as one, serving(hosts.handler, certificate) as other:
        ports = (one.server_address[1], other.server_address[1])
        with running(Balancer(root, folder, certificate, *ports)) as balancer:
            yield balancer


@needs_haproxy
@pytest.mark.parametrize(
    ("sent", "body", "repeated"),
    [
        (("GET", MANIFEST), None, True),
        (("HEAD", MANIFEST), None, True),
        (("POST", UPLOADS), None, True),
        (("POST", f"{UPLOADS}?mount=sha256:00&from=acme/base"), None, True),
        (("POST", f"{UPLOADS}?digest=sha256:00"), b"blob", False),
        (("PATCH", f"{UPLOADS}1"), b"blob", False),
        (("PUT", MANIFEST), b"{}", False),
        (("DELETE", MANIFEST), None, False),
        (("POST", "/api/v1/organization/"), None, False),
    ],
)
def test_requests_are_repeated_only_if_that_is_harmless(balancer, hosts, sent, body, repeated):
    method, path = sent
    wait_until(lambda: balancer.status("8443", "/v2/")[0] == 200)
    hosts.requests.clear()

    status, _ = balancer.status("8443", path, method, body)

    assert status == (200 if repeated else 502)
    assert hosts.requests == [method] * (2 if repeated else 1)
