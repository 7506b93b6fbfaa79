"""keepalived moves the floating address, with hosts that are network namespaces."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.topology import (
    topology_problems,
)
from preflight_run import inventory

ADDRESS = "10.213.7.100"
HOSTS = {"lb-1": "10.213.7.11", "lb-2": "10.213.7.12"}
CHECK = "/opt/atoll/check-load-balancer"
ATTEMPTS = 3

# A load balancer: /health returns the status in a file, port 8443 the name of the host.
BALANCER = """
import http.server, pathlib, sys, threading
name, file = sys.argv[1], pathlib.Path(sys.argv[2])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(file.read_text()) if self.path == "/health" else 200)
        self.end_headers()
        self.wfile.write(name.encode())
health = http.server.ThreadingHTTPServer(("127.0.0.1", 8404), Handler)
threading.Thread(target=health.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("0.0.0.0", 8443), Handler).serve_forever()
"""
# A client, which prints the name of the host that responds at the floating address.
CLIENT = """
import sys, time, urllib.request
while True:
    try:
        name = urllib.request.urlopen("http://%s:8443/" % sys.argv[1], timeout=0.2).read().decode()
    except OSError:
        name = ""
    if name in sys.argv[2:]:
        break
    time.sleep(0.02)
print(name)
"""


def available():
    if os.geteuid() or not shutil.which("keepalived"):
        return False
    found = subprocess.run(["ip", "netns", "add", "atoll-probe"], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "del", "atoll-probe"], check=False, capture_output=True)
    return found.returncode == 0


needs_keepalived = pytest.mark.skipif(
    not available(), reason="requires keepalived, and root for network namespaces"
)


def configuration(root, name, hosts=HOSTS, **variables):
    role = root / "roles/keepalived"
    hostvars = {
        host: {
            "inventory_hostname": host,
            "ansible_host": address,
            "keepalived_address": ADDRESS,
        }
        for host, address in hosts.items()
    }
    values = {
        **yaml.safe_load((role / "defaults/main.yml").read_text()),
        **yaml.safe_load((role / "vars/main.yml").read_text()),
        "ansible_managed": "Ansible managed",
        "groups": {"atoll_load_balancer": [*hosts, "other"]},
        "hostvars": hostvars | {"other": {"inventory_hostname": "other"}},
        "__keepalived_interface": "eth0",
        **hostvars[name],
        **variables,
    }
    values = {
        key: trust_as_template(value) if isinstance(value, str) else value
        for key, value in values.items()
    }
    template = (role / "templates/keepalived.conf.j2").read_text()
    return Templar(loader=DataLoader(), variables=values).template(trust_as_template(template))


class Site:
    """Two load balancers and a client at one switch."""

    def __init__(self, root, folder, stack):
        self.root, self.folder, self.stack = root, folder, stack
        self.processes = {}
        self.namespaces = {name: f"atoll-{os.getpid()}-{name}" for name in ("client", *HOSTS)}
        for namespace in self.namespaces.values():
            run("ip", "netns", "add", namespace)
            stack.callback(run, "ip", "netns", "del", namespace)
        self.inside("client", "ip", "link", "add", "switch", "type", "bridge")
        self.inside("client", "ip", "address", "add", "10.213.7.1/24", "dev", "switch")
        self.inside("client", "ip", "link", "set", "switch", "up")
        for number, name in enumerate(HOSTS):
            self.connect(name, f"port{number}")

    def connect(self, name, port):
        peer = ("type", "veth", "peer", "name", "eth0", "netns", self.namespaces[name])
        self.inside("client", "ip", "link", "add", port, *peer)
        self.inside("client", "ip", "link", "set", port, "master", "switch", "up")
        self.inside(name, "ip", "link", "set", "lo", "up")
        self.inside(name, "ip", "address", "add", f"{HOSTS[name]}/24", "dev", "eth0")
        self.inside(name, "ip", "link", "set", "eth0", "up")
        self.set_health(name, 200)
        self.spawn(name, sys.executable, "-c", BALANCER, name, str(self.folder / name))

    def command(self, name, *words):
        return ["ip", "netns", "exec", self.namespaces[name], *words]

    def inside(self, name, *words):
        return run(*self.command(name, *words))

    def spawn(self, name, *words):
        process = subprocess.Popen(
            self.command(name, *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def set_health(self, name, status):
        new = self.folder / f"{name}.new"
        new.write_text(str(status))
        new.rename(self.folder / name)

    def start_keepalived(self, name):
        file = self.folder / f"{name}.conf"
        file.write_text(configuration(self.root, name, __keepalived_check=CHECK))
        source = self.root / "roles/keepalived/files/check-load-balancer"
        pids = [f"--{kind}={self.folder}/{name}.{kind}" for kind in ("pid", "vrrp_pid")]
        # keepalived runs only scripts that others cannot replace, so not those below /tmp.
        prepare = f"mount -t tmpfs none /opt && install -D --mode=755 {source} {CHECK}"
        keepalived = f"exec keepalived --vrrp --dont-fork --use-file {file} {' '.join(pids)}"
        self.processes[name] = self.spawn(name, "bash", "-c", f"{prepare} && {keepalived}")

    def holder(self, *names):
        """Wait until one of the hosts responds at the floating address."""
        return self.inside("client", sys.executable, "-c", CLIENT, ADDRESS, *names).strip()

    def moves_to(self, name):
        """Return the seconds until the host responds at the floating address."""
        started = time.monotonic()
        assert self.holder(name) == name
        return time.monotonic() - started


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def site(root, tmp_path):
    with ExitStack() as stack:
        site = Site(root, tmp_path, stack)
        for name in HOSTS:
            site.start_keepalived(name)
        yield site


def fastest_move(site, fail, repair):
    """Return the seconds of the fastest move, because the machine may be slow at times."""
    times = []
    for _attempt in range(ATTEMPTS):
        holder = site.holder(*HOSTS)
        (other,) = HOSTS.keys() - {holder}
        fail(holder)
        times.append(site.moves_to(other))
        if times[-1] < 2:
            break
        repair(holder)
        time.sleep(5)
    return min(times)


@needs_keepalived
def test_a_failed_host_loses_the_address_within_two_seconds(site):
    def set_link(name, state):
        site.inside(name, "ip", "link", "set", "eth0", state)

    fastest = fastest_move(
        site, lambda name: set_link(name, "down"), lambda name: set_link(name, "up")
    )
    assert fastest < 2


@needs_keepalived
def test_an_unhealthy_load_balancer_loses_the_address_within_two_seconds(site):
    fastest = fastest_move(
        site, lambda name: site.set_health(name, 503), lambda name: site.set_health(name, 200)
    )
    assert fastest < 2


@needs_keepalived
def test_a_load_balancer_that_recovers_does_not_take_the_address_back(site):
    holder = site.holder(*HOSTS)
    (other,) = HOSTS.keys() - {holder}
    site.set_health(holder, 503)
    site.moves_to(other)
    site.set_health(holder, 200)
    time.sleep(5)

    assert site.holder(*HOSTS) == other


@needs_keepalived
def test_an_unhealthy_load_balancer_keeps_the_address_if_no_other_is_healthy(site):
    holder = site.holder(*HOSTS)
    (other,) = HOSTS.keys() - {holder}
    site.set_health(other, 503)
    time.sleep(5)
    site.set_health(holder, 503)
    time.sleep(5)

    assert site.holder(*HOSTS) == holder


def test_only_load_balancers_with_the_same_address_are_peers(root):
    text = configuration(root, "lb-2")

    assert "unicast_src_ip 10.213.7.12\n" in text
    assert "unicast_peer {\n        10.213.7.11\n    }\n" in text


def test_a_single_load_balancer_has_no_peers(root):
    assert "unicast" not in configuration(root, "lb-1", hosts={"lb-1": HOSTS["lb-1"]})


@needs_keepalived
@pytest.mark.parametrize("hosts", [HOSTS, {"lb-1": HOSTS["lb-1"]}])
def test_keepalived_accepts_the_configuration(root, tmp_path, hosts):
    file = tmp_path / "keepalived.conf"
    file.write_text(configuration(root, "lb-1", hosts, __keepalived_check="/bin/true"))
    test = f"keepalived --config-test --use-file {file}"
    make_interface = "ip link add eth0 type veth peer name eth1"

    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", f"{make_interface} && {test}"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def mistakes():
    """Return a function that checks the inventory, with variables of the first load balancer."""

    def check(**first):
        balancers = {
            name: {
                "ansible_host": address,
                "load_balancer_site": "us",
                "keepalived_address": ADDRESS,
            }
            for name, address in HOSTS.items()
        }
        balancers["lb-1"] |= first
        sites = {name: {"registry_site": name} for name in ("us", "eu")}
        checked = inventory(atoll_sites=sites, atoll_load_balancer=balancers)
        return [i for i in topology_problems(checked) if i["id"] == "floating-address"]

    return check


def test_a_floating_address_of_one_site_is_accepted(mistakes):
    assert mistakes() == []


@pytest.mark.parametrize(
    "mistake",
    [
        {"keepalived_address": "lb.example.org"},
        {"keepalived_address": HOSTS["lb-2"]},
        {"load_balancer_site": "eu"},
    ],
)
def test_a_name_a_used_address_or_two_sites_are_refused(mistakes, mistake):
    assert "lb-1" in {item["host"] for item in mistakes(**mistake)}


@pytest.mark.parametrize(("variables", "expected"), [({"keepalived_address": ADDRESS}, 1), ({}, 0)])
def test_status_includes_keepalived_if_there_is_a_floating_address(root, variables, expected):
    tasks = yaml.safe_load((root / "playbooks/tasks/status/host.yml").read_text())
    (task,) = [task for task in tasks if "atoll.registry.host_info" in task]
    values = {
        "group_names": ["atoll_load_balancer"],
        "status_units": [
            {key: trust_as_template(text) for key, text in unit.items()}
            for unit in task["vars"]["status_units"]
            # Those of sites depend on the bundle.
            if "atoll_sites" not in unit["group"]
        ],
        **variables,
    }
    units = trust_as_template(task["atoll.registry.host_info"]["units"])

    found = Templar(loader=DataLoader(), variables=values).template(units)
    assert found.count("atoll-load-balancer.service") == 1
    assert found.count("keepalived.service") == expected
