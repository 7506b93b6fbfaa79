"""HAProxy with the configuration of the role, in front of test servers on this machine."""

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


class Balancer:
    """HAProxy with the role's configuration and scripts, on free ports of this machine."""

    def __init__(self, root, folder, certificate, *site_ports, clusters=None):
        self.ports = {port: free_port() for port in ("8443", "8404", "8405")}
        self.scripts = root / "roles/load_balancer/files"
        pem = folder / "tls.pem"
        pem.write_text(
            (certificate / "tls.crt").read_text() + (certificate / "tls.key").read_text()
        )
        text = self.on_free_ports(configuration(root, site_ports, clusters))
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

    def body(self, port, path):
        """Return the text of a response."""
        with socket.create_connection(("127.0.0.1", self.ports[port])) as connected:
            connection = http.client.HTTPConnection(NAME)
            connection.sock = connected
            if port == "8443":
                connection.sock = self.trust.wrap_socket(connected, server_hostname=NAME)
            connection.request("GET", path, headers={"Host": NAME})
            return connection.getresponse().read().decode()

    def status(self, port, path, method="GET", body=None):
        if port == "8443":
            with socket.create_connection(("127.0.0.1", self.ports[port])) as plain:
                connection = http.client.HTTPConnection(NAME)
                connection.sock = self.trust.wrap_socket(plain, server_hostname=NAME)
                connection.request(method, path, body, headers={"Host": NAME})
                response = connection.getresponse()
                return response.status, response.headers.get("Connection")
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port])
        connection.request("GET", path)
        return connection.getresponse().status


@contextmanager
def running(balancer):
    """Run HAProxy until the block ends; the servers must be healthy."""
    command = ["haproxy", "-W", "-db", "-f", balancer.configuration]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: balancer.status("8443", "/v2/")[0] == 200)
            yield balancer
        finally:
            process.terminate()


@contextmanager
def serving(handler, certificate):
    """Serve HTTPS on a free port until the block ends."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def configuration(root, site_ports, clusters=None, **changes):
    defaults = yaml.safe_load((root / "roles/load_balancer/defaults/main.yml").read_text())
    hosts = {
        f"us-{number}": {
            "inventory_hostname": f"us-{number}",
            "registry_site": "us",
            "registry_address": "127.0.0.1",
            "registry_https_port": port,
        }
        for number, port in enumerate(site_ports, start=1)
    }
    groups = {"atoll_sites": list(hosts)} if hosts else {}
    if clusters:
        groups["atoll_kubernetes"] = list(clusters)
    variables = defaults | {
        "ansible_managed": "Ansible managed",
        "groups": groups,
        "hostvars": hosts | (clusters or {}),
        "registry_hostname": NAME,
        "load_balancer_site": "us",
        "load_balancer_ca_file": "ca.crt",
    }
    variables |= changes
    template = (root / "roles/load_balancer/templates/haproxy.cfg.j2").read_text()
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(template))


def wait_until(condition):
    for _attempt in range(600):
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError
