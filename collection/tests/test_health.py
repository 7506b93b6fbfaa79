"""A site is asked as a load balancer asks it, and its answer is put in a sentence."""

import http.server
import json
import ssl
import subprocess
import threading
from typing import ClassVar

import pytest
from ansible_collections.atoll.registry.plugins.modules.health import Unwell, ask, wait


class Site(http.server.BaseHTTPRequestHandler):
    services: ClassVar = {"database": True, "storage": True}

    def do_GET(self):
        well = all(self.services.values())
        body = json.dumps({"data": {"services": self.services}}).encode()
        self.send_response(200 if well else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Keep quiet."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=site",
            "-addext",
            "subjectAltName=DNS:registry.example.org",
            "-keyout",
            folder / "tls.key",
            "-out",
            folder / "tls.crt",
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def site(certificate):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Site", (Site,), {}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def trust(certificate):
    return ssl.create_default_context(cafile=certificate / "tls.crt")


def parameters(site, **other):
    return {
        "address": "127.0.0.1",
        "port": site.server_address[1],
        "hostname": "registry.example.org",
        "timeout": 0,
    } | other


def test_a_whole_site_tells_its_services(site, trust):
    assert ask(parameters(site), "/health/endtoend", trust) == {"database": True, "storage": True}


def test_what_is_not_well_is_named(site, trust):
    site.RequestHandlerClass.services = {"database": True, "storage": False}

    with pytest.raises(Unwell, match="answers 503; not well: storage"):
        wait(parameters(site), "/health/endtoend", trust)


def test_a_certificate_for_another_name_is_named(site, trust):
    with pytest.raises(Unwell, match=r"not valid for other\.example\.org"):
        ask(parameters(site, hostname="other.example.org"), "/health/endtoend", trust)


def test_a_silent_port_is_named(site, trust):
    with pytest.raises(Unwell, match="does not answer"):
        ask(parameters(site, port=1), "/health/endtoend", trust)
