"""A load balancer drains before it stops, and load balancers are deployed one after the other."""

import http.client
import http.server
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

NAME = "registry.example.org"
needs_haproxy = pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed")


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
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.started, server.finish = threading.Event(), threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.finish.set()
    server.shutdown()
    server.server_close()


class Balancer:
    """HAProxy with the role's configuration and scripts, on free ports of this machine."""

    def __init__(self, root, folder, certificate, site_port):
        self.ports = {port: free_port() for port in ("8443", "8404", "8405")}
        self.scripts = root / "roles/load_balancer/files"
        pem = folder / "tls.pem"
        pem.write_text(
            (certificate / "tls.crt").read_text() + (certificate / "tls.key").read_text()
        )
        text = self.on_free_ports(configuration(root, site_port))
        text = re.sub("/etc/atoll-load-balancer/tls.crt", str(pem), text)
        text = re.sub("/etc/atoll-load-balancer/ca.crt", str(certificate / "tls.crt"), text)
        self.configuration = folder / "haproxy.cfg"
        self.configuration.write_text(re.sub(r"bind :", "bind 127.0.0.1:", text))
        self.trust = ssl.create_default_context(cafile=certificate / "tls.crt")

    def on_free_ports(self, text):
        return re.sub("8443|8404|8405", lambda match: str(self.ports[match[0]]), text)

    def script(self, name, *arguments):
        text = self.on_free_ports((self.scripts / name).read_text())
        return subprocess.Popen(["bash", "-c", text, name, *map(str, arguments)])

    def status(self, port, path):
        if port == "8443":
            with socket.create_connection(("127.0.0.1", self.ports[port])) as plain:
                connection = http.client.HTTPConnection(NAME)
                connection.sock = self.trust.wrap_socket(plain, server_hostname=NAME)
                connection.request("GET", path, headers={"Host": NAME})
                response = connection.getresponse()
                return response.status, response.headers.get("Connection")
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port])
        connection.request("GET", path)
        return connection.getresponse().status


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def configuration(root, site_port):
    defaults = yaml.safe_load((root / "roles/load_balancer/defaults/main.yml").read_text())
    host = {
        "inventory_hostname": "us-1",
        "registry_site": "us",
        "registry_address": "127.0.0.1",
        "registry_https_port": site_port,
    }
    variables = defaults | {
        "ansible_managed": "Ansible managed",
        "groups": {"atoll_sites": ["us-1"]},
        "hostvars": {"us-1": host},
        "registry_hostname": NAME,
        "load_balancer_site": "us",
        "load_balancer_ca_file": "ca.crt",
    }
    template = (root / "roles/load_balancer/templates/haproxy.cfg.j2").read_text()
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(template))


@pytest.fixture
def balancer(root, tmp_path, certificate, registry):
    balancer = Balancer(root, tmp_path, certificate, registry.server_address[1])
    command = ["haproxy", "-W", "-db", "-f", balancer.configuration]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: balancer.status("8443", "/v2/")[0] == 200)
            yield balancer
        finally:
            process.terminate()


def wait_until(condition):
    for _attempt in range(600):
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError


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
