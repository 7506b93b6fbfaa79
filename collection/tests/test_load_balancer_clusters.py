"""HAProxy sends requests to sites on clusters that have an address, as to hosts of sites."""

import http.server
import subprocess

import pytest
from haproxy import Balancer, configuration, needs_haproxy, running, serving, wait_until


def cluster(site, name, **variables):
    return {name: {"inventory_hostname": name, "registry_site": site} | variables}


def servers(text):
    """Return the options of each server of the first backend, by name."""
    (backend,) = [part for part in text.split("\nbackend ") if part.startswith("sites\n")]
    lines = [line.split() for line in backend.splitlines() if line.startswith("    server ")]
    return {words[1]: words[2:] for words in lines}


def test_a_cluster_is_used_like_the_hosts_of_another_site(root):
    found = servers(
        configuration(root, [8443], cluster("eu", "eu-cluster", kubernetes_address="198.51.100.40"))
    )

    assert "backup" not in found["us-1"]
    assert found["eu-cluster"][0] == "198.51.100.40:443"
    assert found["eu-cluster"][1:] == [*found["us-1"][1:], "backup"]


def test_a_cluster_of_the_nearest_site_is_preferred(root):
    clusters = cluster("eu", "eu", kubernetes_address="198.51.100.40", kubernetes_https_port=8443)

    found = servers(configuration(root, [8443], clusters, load_balancer_site="eu"))

    assert found["eu"][0] == "198.51.100.40:8443"
    assert "backup" not in found["eu"]
    assert "backup" in found["us-1"]


def test_sites_on_clusters_alone_are_balanced(root):
    clusters = cluster("us", "us", kubernetes_address="192.0.2.40")
    clusters |= cluster("eu", "eu", kubernetes_address="[2001:db8::40]")

    found = servers(configuration(root, [], clusters))

    assert {name: ("backup" in words) for name, words in found.items()} == {"us": False, "eu": True}
    assert found["eu"][0] == "[2001:db8::40]:443"


def test_a_cluster_without_an_address_or_that_is_left_out_receives_no_requests(root):
    clusters = cluster("eu", "eu") | cluster("ap", "ap", kubernetes_address="203.0.113.40")

    found = servers(configuration(root, [8443], clusters, load_balancer_sites_left_out=["ap"]))

    assert list(found) == ["us-1"]


def test_an_inventory_without_clusters_has_an_unchanged_configuration(root):
    text = configuration(root, [8443])

    assert "resolvers" not in text
    assert text == configuration(root, [8443], cluster("eu", "eu"))


@needs_haproxy
def test_a_name_that_does_not_resolve_does_not_stop_haproxy(root, tmp_path, certificate):
    clusters = cluster("eu", "eu", kubernetes_address="registry.cluster.invalid")
    balancer = Balancer(root, tmp_path, certificate, 1, clusters=clusters)
    assert "resolvers system init-addr" in balancer.configuration.read_text()

    done = subprocess.run(
        ["haproxy", "-c", "-q", "-f", balancer.configuration],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr


class Site(http.server.BaseHTTPRequestHandler):
    """A site that names itself, and whose health can be changed."""

    protocol_version = "HTTP/1.1"
    name = ""
    status = 200

    def do_GET(self):
        body = self.name.encode()
        self.send_response(self.status if self.path == "/health/endtoend" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Log nothing."""


@needs_haproxy
@pytest.mark.parametrize("trusted", [True, False])
def test_requests_go_to_a_cluster_with_a_valid_certificate_while_the_nearest_site_is_unhealthy(
    root, tmp_path, certificate, other_certificate, trusted
):
    host = type("Host", (Site,), {"name": "host"})
    pods = type("Pods", (Site,), {"name": "cluster"})
    shown = certificate if trusted else other_certificate
    with serving(host, certificate) as near, serving(pods, shown) as far:
        port = far.server_address[1]
        clusters = cluster("eu", "eu", kubernetes_address="127.0.0.1", kubernetes_https_port=port)
        ports = [near.server_address[1]]
        with running(Balancer(root, tmp_path, certificate, *ports, clusters=clusters)) as balancer:
            assert received(balancer) == "host"
            host.status = 503
            expected = "cluster" if trusted else "host"
            wait_until(lambda: "DOWN" in state(balancer, "us-1"))
            wait_until(lambda: received(balancer) == expected)
            assert ("UP" in state(balancer, "eu")) == trusted


def received(balancer):
    """Return the name of the site that a request reaches."""
    return balancer.body("8443", "/v2/")


def state(balancer, server):
    """Return the state of a server of the backend with healthy sites, as HAProxy reports it."""
    rows = balancer.body("8404", "/stats;csv").splitlines()
    (row,) = [one.split(",") for one in rows if one.startswith(f"sites,{server},")]
    return row[17]
