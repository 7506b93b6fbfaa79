"""Each problem of a host is found, independently of all others, and without a secret in it."""

import ast
import base64
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.atoll.registry.plugins.action.preflight_info import (
    clock_problems,
    with_servers,
)
from ansible_collections.atoll.registry.plugins.module_utils.host_checks import (
    network,
    probe,
    resources,
    runner,
    system,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.bundle_endpoints import (
    bundle_endpoints,
)

PACKAGES = ["podman", "python3-podman"]
REASON = "the reason"
SECRET = "SECRET-VALUE"


class FakeHost(runner.Host):
    """A host with files below a directory, and programs with fixed output."""

    def __init__(self, root, programs=None):
        super().__init__(str(root))
        self.programs = programs or {}
        self.given = []
        self.words = []

    def run(self, words, given=None, seconds=runner.COMMAND_SECONDS):
        del seconds
        self.words.append(list(words))
        self.given.append(given)
        found = self.programs.get(words[0], (127, ""))
        return found(words) if callable(found) else found

    def write(self, name, text=""):
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self


@pytest.fixture
def host(tmp_path):
    return FakeHost(tmp_path)


def ids(problems):
    return [(found["id"], found["severity"]) for found in problems]


def release(host, name, version, title="A Linux"):
    text = f'PRETTY_NAME="{title}"\nID={name}\nVERSION_ID="{version}"\n'
    return host.write("/etc/os-release", text)


# The checks together.


def test_an_exception_in_one_check_does_not_hide_the_problems_of_others():
    def broken():
        raise ValueError("broken")

    def sound():
        return [runner.problem("a-problem", "error", "A problem.", "A remedy.")]

    found = runner.run_checks("us-1", {"first": broken, "second": sound}, 5)

    assert ids(found) == [("first-not-checked", "warning"), ("a-problem", "error")]
    assert {item["host"] for item in found} == {"us-1"}
    assert "ValueError: broken" in found[0]["problem"]


def test_a_check_that_hangs_is_reported_after_the_time_limit():
    started = time.monotonic()
    found = runner.run_checks("us-1", {"store:us:443": lambda: time.sleep(60)}, 0.2)

    assert ids(found) == [("store-not-checked", "warning")]
    assert time.monotonic() - started < 30


def test_each_problem_has_the_keys_that_the_report_expects():
    found = runner.run_checks(
        "us-1", {"cgroup": lambda: system.control_groups(FakeHost("/nonexistent"))}, 5
    )

    assert set(found[0]) == {"id", "severity", "host", "problem", "remedy"}


# The platform.


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("debian", "13", []),
        ("debian", "12", [("operating-system-unsupported", "error")]),
        ("debian", "14", [("operating-system-untested", "warning")]),
        ("ubuntu", "26.04", [("operating-system-untested", "warning")]),
        ("ubuntu", "24.04", [("operating-system-unsupported", "error")]),
        ("rocky", "9.6", [("operating-system-untested", "warning")]),
        ("rhel", "10.0", [("operating-system-untested", "warning")]),
        ("almalinux", "8.10", [("operating-system-unsupported", "error")]),
        ("arch", "", [("operating-system-unknown", "error")]),
    ],
)
def test_only_debian_13_is_accepted_without_a_problem(host, name, version, expected):
    assert ids(system.operating_system(release(host, name, version))) == expected


def test_untested_platforms_are_named_as_not_tested_by_us(host):
    found = list(system.operating_system(release(host, "rocky", "9.6", "Rocky Linux 9.6")))

    assert found[0]["problem"] == "Rocky Linux 9.6 is not tested by us."


def apt(host, installed, candidates):
    """Install the fake package manager of Debian."""
    host.write("/usr/bin/dpkg-query").write("/var/lib/apt/lists/index")
    host.programs["dpkg-query"] = (0, "".join(f"installed {name}\n" for name in installed))
    host.programs["apt-cache"] = (
        0,
        "".join(
            f"{name}:\n  Installed: (none)\n  Candidate: {version}\n  Version table:\n"
            for name, version in candidates.items()
        ),
    )
    return system.Packages(host)


def test_packages_that_are_not_in_the_repositories_are_named(host):
    manager = apt(host, ["podman"], {"python3-podman": "(none)"})

    found = list(system.packages(manager, PACKAGES))

    assert ids(found) == [("packages-unavailable", "error")]
    assert "do not have python3-podman." in found[0]["problem"]


def test_packages_that_are_not_installed_yet_are_no_problem(host):
    manager = apt(host, [], {"podman": "5.4.2+ds1-2", "python3-podman": "5.4.0-1"})

    assert list(system.packages(manager, PACKAGES)) == []
    assert list(system.podman(host, manager, "5.0", REASON)) == []


def test_a_missing_package_index_is_reported_instead_of_missing_packages(host):
    manager = apt(host, [], {})
    os.remove(host.path("/var/lib/apt/lists/index"))

    assert ids(system.packages(manager, PACKAGES)) == [("package-index-missing", "warning")]


def test_packages_of_dnf_are_read_from_its_cache(host):
    host.write("/usr/bin/dnf").write("/var/cache/dnf/index")
    host.programs["rpm"] = (0, "crun\n")
    host.programs["dnf"] = (
        0,
        "Available Packages\npodman.x86_64      5:4.6.1-5.el9      appstream\n",
    )
    manager = system.Packages(host)

    found = list(system.podman(host, manager, "5.0", REASON))

    assert ids(found) == [("podman-old", "error")]
    assert "The package repositories of the host have podman 4.6.1-5.el9" in found[0]["problem"]
    assert all("--cacheonly" in words for words in host.words if words[0] == "dnf")


def test_an_old_podman_is_refused_with_the_reason(host):
    host.programs["podman"] = (0, "4.9.3\n")

    found = list(system.podman(host, system.Packages(host), "5.0", REASON))

    assert ids(found) == [("podman-old", "error")]
    assert found[0]["problem"] == (
        "The host has podman 4.9.3, and 5.0 or later is required: the reason."
    )


def test_a_host_without_systemd_or_with_an_old_one_is_refused(host):
    assert ids(system.systemd(host)) == [("systemd-missing", "error")]
    os.makedirs(host.path("/run/systemd/system"))
    host.programs["systemctl"] = (0, "systemd 239 (239-82.el8)\n")
    assert ids(system.systemd(host)) == [("systemd-old", "error")]
    host.programs["systemctl"] = (0, "systemd 257 (257.9-1)\n")
    assert ids(system.systemd(host)) == []


def test_control_groups_of_version_1_and_missing_controllers_are_found(host):
    assert ids(system.control_groups(host)) == [("cgroup-version", "error")]
    host.write("/sys/fs/cgroup/cgroup.controllers", "cpu io pids\n")
    found = list(system.control_groups(host))
    assert ids(found) == [("cgroup-controllers", "warning")]
    assert "does not limit memory of" in found[0]["problem"]


def test_selinux_without_a_policy_for_containers_is_an_error(host):
    host.write("/sys/fs/selinux/enforce", "1").write("/usr/bin/dnf")
    host.programs["rpm"] = (0, "podman\n")

    found = ids(system.selinux(host, system.Packages(host), PACKAGES))

    assert ("selinux-policy-missing", "error") in found
    assert ("selinux-untested", "warning") in found


def test_a_host_without_selinux_has_no_problem_with_it(host):
    assert list(system.selinux(host, system.Packages(host), PACKAGES)) == []


# The resources.


def test_the_space_for_all_directories_of_a_file_system_is_added_up(tmp_path):
    status = os.statvfs(tmp_path)
    half = status.f_bavail * status.f_frsize * 2 // 3
    paths = [{"path": f"/{name}/new", "free_bytes": half} for name in ("images", "spool")]

    found = list(resources.disk(FakeHost(tmp_path), paths))

    assert ids(found) == [("disk-space", "error")]
    assert "/images/new and /spool/new" in found[0]["problem"]
    assert list(resources.disk(FakeHost(tmp_path), paths[:1])) == []


def test_memory_below_the_limits_is_a_warning_and_below_the_minimum_an_error(host):
    host.write("/proc/meminfo", "MemTotal:        2097152 kB\nMemFree: 1 kB\n")

    assert ids(resources.memory(host, 2**30, ["1G", "512M", "256mb", "nonsense"])) == []
    assert ids(resources.memory(host, 2**30, ["1G", "1.5G"])) == [("memory-low", "warning")]
    assert ids(resources.memory(host, 2**32, [])) == [("memory-low", "error")]


def port(number, address="127.0.0.1", **other):
    entry = {"name": "registry_https_port", "address": address, "port": number, "floating": False}
    return entry | other


def test_an_address_that_the_host_does_not_have_is_found():
    entries = [port(443, "198.51.100.77"), port(443), port(9091, "198.51.100.78", floating=True)]

    found = list(resources.addresses(entries))

    assert ids(found) == [("address-missing", "error")]
    assert "198.51.100.77 of registry_https_port" in found[0]["problem"]


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_port_of_another_process_is_in_use(bound):
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.create_server((bound, 0), family=family) as server:
        number = server.getsockname()[1]
        found = list(resources.ports(runner.Host(), [port(number)], ["atoll-registry"]))

    assert ids(found) == [("port-in-use", "error")]
    assert "is in use by" in found[0]["problem"]
    assert f"process {os.getpid()}" in found[0]["problem"]
    assert list(resources.ports(runner.Host(), [port(number)], [])) == []


def test_a_port_of_the_registrys_own_service_is_free(host):
    host.write("/proc/net/tcp", "head\n 0: 0100007F:01BB 00000000:0000 0A 0:0 0:0 0 0 0 4711 1\n")
    host.write("/proc/12/comm", "conmon")
    host.write("/proc/12/cgroup", "0::/system.slice/atoll-registry.service/supervisor\n")
    os.makedirs(host.path("/proc/12/fd"))
    os.symlink("socket:[4711]", host.path("/proc/12/fd/3"))

    assert list(resources.ports(host, [port(443)], ["atoll-registry"])) == []
    assert ids(resources.ports(host, [port(443)], ["atoll-redis"])) == [("port-in-use", "error")]


# The clock.


def test_the_time_of_the_transfer_is_no_clock_skew():
    assert clock_problems(network.clock_offset(100.0, 109.0, 110.0, 112.0)) == []


@pytest.mark.parametrize(
    ("started", "severity", "direction"),
    [(120.0, "warning", "ahead of"), (90.0, "warning", "behind"), (300.0, "error", "ahead of")],
)
def test_a_clock_outside_of_the_interval_of_the_task_is_skewed(started, severity, direction):
    found = clock_problems(network.clock_offset(100.0, started, started + 1, 112.0))

    assert ids(found) == [("clock-skew", severity)]
    assert direction in found[0]["problem"]


# The network.


def server(number, **other):
    return {
        "subject": "store",
        "name": "usstorage",
        "host": "127.0.0.1",
        "port": number,
        "protocol": "tls",
        "verify": "full",
        "ca": "",
        "required": True,
        "deployed_here": False,
    } | other


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture
def tls_server(certificate):
    """Start a server that may expect PostgreSQL's request first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    listening = socket.create_server(("127.0.0.1", 0))

    def start(answer=b""):
        def serve():
            while True:
                try:
                    connection, _address = listening.accept()
                    with connection:
                        if answer:
                            connection.recv(8)
                            connection.sendall(answer)
                        context.wrap_socket(connection, server_side=True)
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        return listening.getsockname()[1]

    yield start
    listening.close()


def test_a_name_without_an_address_is_reported_as_such(monkeypatch):
    def unknown(*_arguments, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    found = list(network.endpoint(server(443, host="store.example.org")))

    assert ids(found) == [("store-unresolved", "error")]
    assert found[0]["problem"] == (
        "The host cannot resolve store.example.org (usstorage): Name or service not known."
    )


def test_name_servers_that_do_not_respond_are_reported(monkeypatch):
    monkeypatch.setattr(network, "RESOLVE_SECONDS", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_o: time.sleep(30))

    found = list(network.endpoint(server(443, host="store.example.org")))

    assert ids(found) == [("store-unresolved", "error")]
    assert "the name servers did not respond" in found[0]["problem"]


def test_a_refused_connection_is_an_error_unless_the_rollout_starts_the_server(closed_port):
    refused = list(network.endpoint(server(closed_port)))

    assert ids(refused) == [("store-unreachable", "error")]
    assert "Connection refused" in refused[0]["problem"]
    assert list(network.endpoint(server(closed_port, deployed_here=True))) == []


def test_a_connection_without_a_response_suggests_a_firewall(monkeypatch):
    def slow(_addresses):
        raise TimeoutError

    monkeypatch.setattr(network, "_connect", slow)

    found = list(network.endpoint(server(443, subject="database", deployed_here=True)))

    assert ids(found) == [("database-unreachable", "warning")]
    assert "no response within 5 seconds" in found[0]["problem"]
    assert "firewall" in found[0]["remedy"]


def test_a_certificate_of_an_unknown_ca_is_not_trusted(tls_server):
    found = list(network.endpoint(server(tls_server())))

    assert ids(found) == [("store-certificate", "error")]


def test_a_certificate_of_another_name_is_refused_only_if_names_are_verified(
    tls_server, certificate
):
    number, ca = tls_server(), (certificate / "tls.crt").read_text()

    assert ids(network.endpoint(server(number, ca=ca))) == [("store-certificate", "error")]
    assert list(network.endpoint(server(number, ca=ca, verify="ca"))) == []


def test_postgresql_is_asked_for_tls_in_its_protocol(tls_server, certificate):
    ca = (certificate / "tls.crt").read_text()
    settings = {"subject": "database", "protocol": "postgres", "ca": ca, "verify": "ca"}

    assert list(network.endpoint(server(tls_server(b"S"), **settings))) == []


def test_a_postgresql_without_tls_is_an_error(tls_server):
    settings = {"subject": "database", "protocol": "postgres"}

    found = list(network.endpoint(server(tls_server(b"N"), **settings)))

    assert ids(found) == [("database-tls", "error")]


def ruleset(*rules, policy="drop"):
    chain = {
        "family": "inet",
        "table": "filter",
        "name": "forward",
        "hook": "forward",
        "policy": policy,
    }
    entries = [
        {"rule": {"family": "inet", "table": "filter", "chain": "forward", "expr": rule}}
        for rule in rules
    ]
    return json.dumps({"nftables": [{"metainfo": {}}, {"chain": chain}, *entries]})


ACCEPT_REDIRECTED = [
    {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}},
    {"accept": None},
]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (ruleset(), [("firewall-blocks-ports", "warning")]),
        (ruleset(policy="accept"), []),
        (ruleset(ACCEPT_REDIRECTED), []),
        (ruleset([{"jump": {"target": "NETAVARK_FORWARD"}}]), []),
    ],
)
def test_a_firewall_that_drops_forwarded_packets_is_found(host, rules, expected):
    host.programs["nft"] = (0, rules)

    assert ids(network.firewall(host, [port(443, "192.0.2.1")])) == expected


def test_a_firewall_does_not_matter_for_ports_on_loopback(host):
    host.programs["nft"] = (0, ruleset())

    assert list(network.firewall(host, [port(9091)])) == []


# The bundle.


def test_the_servers_of_the_example_are_found(example):
    found = bundle_endpoints(example, {"database.pem": "DB", "extra_ca_certs/ca.crt": "CA"})

    assert [(item["subject"], item["name"], item["host"], item["port"]) for item in found] == [
        ("database", "DB_URI", "192.0.2.10", 5432),
        ("redis", "Redis", "192.0.2.10", 6379),
        ("store", "usstorage", "s3.us-east-1.amazonaws.com", 443),
        ("store", "eustorage", "ceph.eu.example.org", 443),
    ]
    assert [item["ca"] for item in found] == ["DB", "CA", "CA", "CA"]
    assert found[0]["protocol"] == "postgres"
    assert found[0]["verify"] == "full"


def test_every_server_of_a_database_with_a_standby_is_found():
    uri = f"postgresql://atoll:{SECRET}@db-1.example.org:5433,db-2.example.org/atoll"
    found = bundle_endpoints({"DB_URI": f"{uri}?sslmode=require"}, {})

    assert [(item["host"], item["port"], item["verify"]) for item in found] == [
        ("db-1.example.org", 5433, "none"),
        ("db-2.example.org", 5432, "none"),
    ]
    assert SECRET not in json.dumps(found)


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (["S3Storage", {"host": "s3.example.org", "port": 8443}], ("s3.example.org", 8443, "tls")),
        (["S3Storage", {"endpoint_url": "http://minio:9000"}], ("minio", 9000, "tcp")),
        (
            ["RadosGWStorage", {"hostname": "ceph", "is_secure": False, "port": 7480}],
            ("ceph", 7480, "tcp"),
        ),
        (["SwiftStorage", {"auth_url": "https://keys:5000/v3"}], ("keys", 5000, "tls")),
        (
            ["AzureStorage", {"azure_account_name": "atoll"}],
            ("atoll.blob.core.windows.net", 443, "tls"),
        ),
        (["GoogleCloudStorage", {}], ("storage.googleapis.com", 443, "tls")),
        (["LocalStorage", {"storage_path": "/data"}], None),
        (["S3Storage", {"endpoint_url": "http://[broken"}], None),
        ("no list", None),
    ],
)
def test_the_server_of_each_kind_of_store_is_known(store, expected):
    found = bundle_endpoints({"DISTRIBUTED_STORAGE_CONFIG": {"a": store}}, {})

    assert [(item["host"], item["port"], item["protocol"]) for item in found] == (
        [expected] if expected else []
    )


def test_servers_that_the_rollout_starts_are_marked(example):
    arguments = with_servers({"bundle": json.dumps(example), "deployed": ["database"]}, {})

    assert [item["deployed_here"] for item in arguments["endpoints"]] == [True, *[False] * 3]


# The registry's own probe.


BUNDLE = json.dumps(
    {
        "SECRET_KEY": SECRET,
        "DISTRIBUTED_STORAGE_CONFIG": {"usstorage": [], "eustorage": []},
    }
)
ANSWER = json.dumps(
    {
        "problems": [
            "the store of 'usstorage' accepts no objects from this host: 403 Forbidden",
            "DB_URI: PostgreSQL cannot be reached from this host:\n\tno password",
            "SERVER_HOSTNAME: is missing",
        ],
        "warnings": [],
    }
)


def test_the_probe_reports_stores_and_the_database_without_secrets(host):
    host.programs["podman"] = (1, ANSWER)

    found = list(probe.probe(host, "image", BUNDLE, files={}))

    assert ids(found) == [("store-unusable", "error"), ("database-unusable", "error")]
    assert "403 Forbidden" in found[0]["problem"]
    assert found[1]["problem"].endswith("from this host: no password")
    assert SECRET not in json.dumps(found)
    assert SECRET not in json.dumps(host.words)
    assert host.given == [BUNDLE]


def test_the_probe_leaves_out_servers_with_known_problems(host):
    host.programs["podman"] = (0, "{}")

    list(probe.probe(host, "image", BUNDLE, files={}, skipped={"usstorage", "database"}))

    words = host.words[0]
    assert [words[i + 1] for i, word in enumerate(words) if word == "--probe"] == ["eustorage"]
    assert "--connect" not in words


def test_the_probe_trusts_the_ca_certificates_of_the_bundle(host):
    seen = {}

    def run(words):
        volume = next(word for word in words if word.endswith(":/preflight/runtime:ro"))
        folder = Path(volume.partition("=")[2].partition(":")[0])
        seen.update({path.name: path.read_text() for path in folder.parent.rglob("*.*")})
        return 0, "{}"

    host.programs["podman"] = run
    files = {"database.pem": "DATABASE", "extra_ca_certs/ca.crt": "EXTRA"}
    list(probe.probe(host, "image", BUNDLE, files=files))

    assert seen["ca-bundle.pem"] == "EXTRA"
    assert seen["database.pem"] == "DATABASE"


def test_the_probe_runs_with_the_image_of_the_host(host):
    host.write("/etc/containers/systemd/atoll-registry.container", "[Container]\nImage=old@x\n")
    host.programs["podman"] = lambda words: (0 if words[-1] == "old@x" else 1, "")

    assert probe.local_image(host, "new@y") == "old@x"
    assert probe.local_image(FakeHost("/nonexistent"), "new@y") == ""


# The module.


def test_the_module_runs_with_the_oldest_python_of_hosts(root):
    files = [*(root / "plugins/module_utils/host_checks").glob("*.py")]
    for file in [*files, root / "plugins/modules/preflight_info.py"]:
        tree = ast.parse(file.read_text(), feature_version=(3, 9))
        keywords = {word.arg for call in ast.walk(tree) for word in getattr(call, "keywords", [])}
        assert "strict" not in keywords
        assert "from __future__ import annotations" in file.read_text()


def test_the_module_changes_nothing_and_prints_no_secret(root, tmp_path):
    uri = f"postgresql://atoll:{SECRET}@127.0.0.1:1/atoll?sslmode=disable"
    play = tmp_path / "play.yml"
    play.write_text(
        json.dumps(
            [
                {
                    "hosts": "all",
                    "gather_facts": False,
                    "vars": {"configuration": {"DB_URI": uri, "SECRET_KEY": SECRET}},
                    "tasks": [
                        {
                            "atoll.registry.preflight_info": {
                                "bundle": "{{ configuration | to_json }}"
                            },
                            "register": "found",
                        },
                        {
                            "ansible.builtin.debug": {
                                "msg": "{{ found.problems | to_json | b64encode }}"
                            }
                        },
                    ],
                }
            ]
        )
    )
    done = subprocess.run(
        ["ansible-playbook", "-vvv", "-i", "us-1,", "-c", "local", "--check", str(play)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
    )
    printed = done.stdout + done.stderr
    encoded = [word for word in printed.replace('"', " ").split() if word.startswith("W3s")]

    assert done.returncode == 0, printed
    assert SECRET not in printed
    assert "changed=0" in printed
    found = json.loads(base64.b64decode(encoded[0]))
    assert ("database-unreachable", "error") in ids(found)
    assert {item["host"] for item in found} == {"us-1"}


def test_every_problem_is_documented(root):
    page = (root / "docs/reference/host-problems.md").read_text()
    folder = root / "plugins/module_utils/host_checks"
    files = [*folder.glob("*.py"), root / "plugins/action/preflight_info.py"]
    found = {
        call.args[0]
        for file in files
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "problem"
    }
    constant = {argument.value for argument in found if isinstance(argument, ast.Constant)}
    composed = {
        argument.values[-1].value for argument in found if isinstance(argument, ast.JoinedStr)
    }

    assert len(constant) > 20
    assert [name for name in sorted(constant) if f"`{name}`" not in page] == []
    assert [name for name in sorted(composed) if f"{name}`" not in page] == []
