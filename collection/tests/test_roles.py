"""Roles document their variables, and their units are hardened and contain no secrets."""

import re

import jinja2
import pytest
import yaml

ROLES = [
    "clair",
    "host",
    "keepalived",
    "kubernetes",
    "load_balancer",
    "postgres",
    "redis",
    "registry",
]
CONTAINERS = [
    ("clair", "atoll-clair"),
    ("load_balancer", "atoll-load-balancer"),
    ("postgres", "atoll-postgres"),
    ("redis", "atoll-redis"),
    ("registry", "atoll-registry"),
    ("registry", "atoll-replication"),
    ("registry", "atoll-mirror"),
    ("registry", "atoll-migrate"),
]
SECRET = "SECRET-VALUE"
IMAGE = "localhost/atoll@sha256:" + "a" * 64


def specification(root, role):
    return yaml.safe_load((root / f"roles/{role}/meta/argument_specs.yml").read_text())


@pytest.mark.parametrize("role", ROLES)
def test_each_default_is_documented_with_its_value(root, role):
    documented = {}
    for entry in specification(root, role)["argument_specs"].values():
        documented |= {
            name: option["default"]
            for name, option in entry.get("options", {}).items()
            if "default" in option
        }

    assert yaml.safe_load((root / f"roles/{role}/defaults/main.yml").read_text()) == documented


@pytest.mark.parametrize("role", ROLES)
def test_each_entry_point_has_its_tasks(root, role):
    for name in specification(root, role)["argument_specs"]:
        assert (root / f"roles/{role}/tasks/{name}.yml").is_file()


@pytest.fixture
def render(root):
    def render_unit(role, container):
        environment = jinja2.Environment(  # the output is not HTML
            loader=jinja2.FileSystemLoader(root / f"roles/{role}/templates"),
            trim_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        defaults = yaml.safe_load((root / f"roles/{role}/defaults/main.yml").read_text())
        variables = defaults | {
            "registry_storage_preference": ["usstorage", "eustorage"],
            "__registry_bundle_directory": "/etc/atoll/stack",
            "registry_config": SECRET,
            "postgres_password": SECRET,
            "redis_password": SECRET,
            "clair_psk": SECRET,
            "clair_database_uri": SECRET,
            "clair_site": "us",
            "host_user_ids": {"user": 990, "group": 990},
            "ansible_managed": "Ansible managed",
            "registry_site": "us",
            "__registry_shared_label": ",z",
            f"__{role}_private_label": ",Z",
            f"{role}_address": "192.0.2.1",
            f"__{role}_image": {"reference": IMAGE},
            "registry_image_result": {"reference": IMAGE},
        }
        return environment.get_template(f"{container}.container.j2").render(variables)

    return render_unit


@pytest.mark.parametrize(("role", "container"), CONTAINERS)
def test_each_container_runs_unprivileged_with_a_read_only_root(render, role, container):
    lines = render(role, container).splitlines()

    assert {
        "User=990",
        "Group=990",
        "ReadOnly=true",
        "DropCapability=all",
        "NoNewPrivileges=true",
    } <= set(lines)


@pytest.mark.parametrize(("role", "container"), CONTAINERS)
def test_each_line_of_a_unit_is_one_setting(render, role, container):
    keys = r"Volume|Environment|PublishPort|Health\w+|Exec|Image|User|Group|Notify"
    for line in render(role, container).splitlines():
        assert re.fullmatch(r"|#.*|\[\w+\]|[A-Z]\w+=.+", line), line
        assert len(re.findall(rf"(?:{keys})=", line)) <= 1, line


@pytest.mark.parametrize(("role", "container"), CONTAINERS)
def test_units_contain_no_secret(render, role, container):
    assert SECRET not in render(role, container)


@pytest.mark.parametrize(
    ("role", "container"), [pair for pair in CONTAINERS if pair[1] != "atoll-migrate"]
)
def test_units_start_when_healthy_and_restart_without_a_limit(render, role, container):
    lines = render(role, container).splitlines()

    assert {"Notify=healthy", "Restart=always", "StartLimitIntervalSec=0"} <= set(lines)
    assert any(line.startswith("HealthStartupCmd=") for line in lines)
    assert not any(re.match(r"Health\w*Cmd=.*[\"']", line) for line in lines)


def test_each_unit_template_is_rendered_here(root):
    templates = root.glob("roles/*/templates/*.container.j2")

    assert {(file.parts[-3], file.name.partition(".")[0]) for file in templates} == set(CONTAINERS)


@pytest.mark.parametrize(("role", "container"), CONTAINERS)
def test_podman_waits_for_a_stop_for_less_time_than_systemd(render, role, container):
    """Podman kills a container after 10 seconds unless the unit says otherwise."""
    unit = render(role, container)
    (podman,) = re.findall(r"^StopTimeout=(\d+)$", unit, re.MULTILINE)
    (systemd,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)

    assert int(podman) + 5 <= int(systemd)


def test_the_log_of_clair_is_limited(render):
    """Without its database, Clair writes gigabytes of messages in minutes."""
    unit = render("clair", "atoll-clair").splitlines()

    assert "LogDriver=passthrough" in unit
    assert {"LogRateLimitIntervalSec=30s", "LogRateLimitBurst=1000"} <= set(unit)


def test_clair_is_checked_on_its_introspection_port_and_unpacks_layers_on_disk(render):
    unit = render("clair", "atoll-clair")

    assert re.search(r"^HealthCmd=.* http://127\.0\.0\.1:8089/healthz$", unit, re.MULTILINE)
    assert "Environment=TMPDIR=/var/spool/clair\n" in unit
    assert "Volume=/var/lib/atoll/clair/spool:/var/spool/clair:rw" in unit


def test_ports_are_published_on_an_address(render):
    for role, container in CONTAINERS:
        for line in render(role, container).splitlines():
            assert not re.fullmatch(r"PublishPort=\d+(:\d+)?", line)


@pytest.mark.parametrize(("role", "container"), CONTAINERS)
def test_the_number_of_processes_of_each_container_is_limited(render, role, container):
    """systemd ignores a limit that the kernel cannot enforce; podman would fail to start."""
    service = render(role, container).partition("[Service]")[2]

    assert re.search(r"^TasksMax=\d+$", service, re.MULTILINE)


@pytest.mark.parametrize(
    ("role", "container"), [pair for pair in CONTAINERS if pair[0] not in ("postgres", "redis")]
)
def test_the_memory_of_containers_that_clients_reach_is_limited(render, role, container):
    service = render(role, container).partition("[Service]")[2]

    assert re.search(r"^MemoryMax=\d+[GM]$", service, re.MULTILINE)


@pytest.mark.parametrize(
    ("role", "container", "ports"),
    [
        ("clair", "atoll-clair", {"8089"}),
        ("load_balancer", "atoll-load-balancer", {"8404"}),
        ("registry", "atoll-registry", {"9091"}),
        ("registry", "atoll-replication", {"9091"}),
        ("registry", "atoll-mirror", {"9091"}),
    ],
)
def test_metrics_and_statistics_are_published_on_loopback_unless_set(
    render, role, container, ports
):
    published = re.findall(r"^PublishPort=(.*):\d+:(\d+)$", render(role, container), re.MULTILINE)

    assert {port for address, port in published if address == "127.0.0.1"} == ports


def test_the_networks_of_the_database_have_no_default(root):
    options = specification(root, "postgres")["argument_specs"]["main"]["options"]

    assert options["postgres_allowed_networks"]["required"]
    defaults = yaml.safe_load((root / "roles/postgres/defaults/main.yml").read_text())
    assert "postgres_allowed_networks" not in defaults


def test_only_the_migration_can_read_the_initial_password(render):
    folder = "/etc/atoll/migration"

    assert f"Volume={folder}:" in render("registry", "atoll-migrate")
    assert folder not in render("registry", "atoll-registry")
    assert folder not in render("registry", "atoll-replication")
    assert folder not in render("registry", "atoll-mirror")


def test_no_file_of_a_host_contains_the_unfiltered_bundle(root):
    for path in [*root.glob("roles/registry/**/*.yml"), *root.glob("playbooks/**/bundle.yml")]:
        assert not re.search(r"(registry_config|_bundle|_before) \| to_nice_yaml", path.read_text())
