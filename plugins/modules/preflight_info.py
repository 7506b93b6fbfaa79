#!/usr/bin/python
"""Ansible module: the problems of a host before a rollout."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: Find the problems of a host before a rollout
description:
  - Checks the operating system, packages, podman, control groups, SELinux, disk space, memory, the
    clock, addresses, ports and firewall of a host, and whether it reaches the database, Redis and
    every store.
  - The checks run in parallel and change nothing. A check that fails is a problem itself, and the
    task does not fail.
  - If the host has an image of the registry, the registry's own probe writes a test object to each
    store and deletes it.
version_added: 0.1.0
options:
  host:
    description: Name of the host in the problems. By default, the name in the inventory.
    type: str
  ports:
    description: Ports that services of the registry publish on this host.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the variable that contains the port.
        type: str
        required: true
      address:
        description: Address that the port is published on.
        type: str
        required: true
      port:
        description: The port.
        type: int
        required: true
      floating:
        description: Whether another host may have the address at present.
        type: bool
        default: false
  own_units:
    description: Units that may already listen on the ports, without the suffix C(.service).
    type: list
    elements: str
    default:
      - atoll-registry
      - atoll-replication
      - atoll-mirror
      - atoll-postgres
      - atoll-redis
      - atoll-load-balancer
      - atoll-clair
  paths:
    description: Directories and the free space that they require, added up for each file system.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory, which need not exist.
        type: path
        required: true
      free_bytes:
        description: Required free space in bytes.
        type: int
        required: true
  minimum_memory:
    description: Memory in bytes below which the host is unusable.
    type: int
    default: 0
  memory_limits:
    description:
      - Memory limits of the services, such as C(2G). A warning is returned if the host has less
        memory than their sum.
    type: list
    elements: str
    default: []
  packages:
    description: Packages that are installed by the rollout.
    type: list
    elements: str
    default: []
  minimum_podman_version:
    description: Oldest version of podman that is accepted.
    type: str
    default: "5.0"
  podman_reason:
    description: The reason for the oldest version, as the end of a sentence.
    type: str
    default: >-
      earlier versions do not support Notify=healthy in Quadlet units, with which a rollout waits
      until a container is healthy
  endpoints:
    description:
      - Servers that the host must reach. Those of O(bundle) are added.
    type: list
    elements: dict
    default: []
    suboptions:
      subject:
        description: Kind of server, which is the first part of the problems' ids.
        type: str
        choices: [database, redis, store, registry, site]
        required: true
      name:
        description: Name of the server in problems, such as a location.
        type: str
        required: true
      host:
        description: Host name or address.
        type: str
        required: true
      port:
        description: The port.
        type: int
        default: 443
      protocol:
        description:
          - V(dns) only resolves the name, V(tcp) connects, V(tls) also verifies the certificate,
            and V(postgres) does so in the protocol of PostgreSQL.
        type: str
        choices: [dns, tcp, tls, postgres]
        default: tls
      verify:
        description: Whether the certificate is verified with its names (V(full)), without (V(ca)),
          or not at all.
        type: str
        choices: [full, ca, none]
        default: full
      ca:
        description: CA certificates in PEM form that are trusted beside those of the system.
        type: str
        default: ""
      required:
        description: Whether a failure is an error instead of a warning.
        type: bool
        default: true
      deployed_here:
        description: Whether the rollout starts the server, so that it may refuse connections now.
        type: bool
        default: false
  sites:
    description: Hosts of the inventory whose registry the host must reach, as a load balancer does.
    type: list
    elements: str
    default: []
  bundle:
    description:
      - The configuration of the registry in JSON, whose database, Redis and stores are checked.
      - It is passed to a container through standard input.
    type: str
  bundle_variable:
    description:
      - Name of the variable with the configuration, instead of O(bundle). If its template fails,
        the servers are not checked, and the other checks still run.
    type: str
  ca_files:
    description:
      - Files on the controller with CA certificates, by their path in the directory of the bundle.
    type: dict
    default: {}
  deployed:
    description: Servers of the bundle that the rollout starts.
    type: list
    elements: str
    choices: [database, redis]
    default: []
  image:
    description: Image of the registry that is rolled out, as C(NAME@sha256:DIGEST).
    type: str
  image_archive:
    description: OCI archive on the controller, instead of O(image).
    type: path
  timeout:
    description: Seconds for all checks; a check that is not finished by then is a problem.
    type: int
    default: 40
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
    details: The module changes nothing.
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Find the problems of a host
  atoll.registry.preflight_info:
    ports:
      - name: registry_https_port
        address: 192.0.2.11
        port: 443
    paths:
      - path: /var/lib/containers
        free_bytes: 4294967296
    packages: [podman, python3-podman]
    bundle: "{{ registry_config | to_json }}"
    ca_files:
      extra_ca_certs/ca.crt: /srv/tls/ca.crt
  register: preflight_host
"""

RETURN = r"""
problems:
  description: The problems of the host.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Identifies the kind of problem.
      type: str
    severity:
      description: Either C(error) or C(warning).
      type: str
    host:
      description: Name of the host.
      type: str
    problem:
      description: The problem.
      type: str
    remedy:
      description: What to do about it.
      type: str
clock:
  description: Time of the host in seconds since 1970, when the module started and finished.
  returned: always
  type: list
  elements: float
"""

import socket
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.host_checks import (
    network,
    resources,
    system,
)
from ansible_collections.atoll.registry.plugins.module_utils.host_checks.probe import (
    local_image,
    probe,
)
from ansible_collections.atoll.registry.plugins.module_utils.host_checks.runner import (
    Check,
    Host,
    Problem,
    run_checks,
)


def checks_of(parameters: Mapping[str, Any], host: Host) -> dict[str, Check]:
    """Return the checks that do not depend on others, by name."""
    manager = system.Packages(host)
    names = parameters["packages"]
    ports = parameters["ports"]
    return {
        "operating-system": partial(system.operating_system, host),
        "systemd": partial(system.systemd, host),
        "cgroup": partial(system.control_groups, host),
        "packages": partial(system.packages, manager, names),
        "podman": partial(
            system.podman,
            host,
            manager,
            parameters["minimum_podman_version"],
            parameters["podman_reason"],
        ),
        "python-podman": partial(system.python_library, manager, names),
        "selinux": partial(system.selinux, host, manager, names),
        "disk": partial(resources.disk, host, parameters["paths"]),
        "memory": partial(
            resources.memory,
            host,
            parameters["minimum_memory"],
            parameters["memory_limits"],
        ),
        "address": partial(resources.addresses, ports),
        "port": partial(resources.ports, host, ports, parameters["own_units"]),
        "firewall": partial(network.firewall, host, ports),
    }


def endpoint_checks(endpoints: Iterable[Mapping[str, Any]], failing: set[str]) -> dict[str, Check]:
    """Return a check for each endpoint, which adds the names of failing ones to a set."""

    def check(entry: Mapping[str, Any]) -> list[Problem]:
        found = list(network.endpoint(entry))
        if found:
            failing.add("database" if entry["subject"] == "database" else entry["name"])
        return found

    return {
        f"{entry['subject']}:{entry['host']}:{entry['port']}:{entry['name']}": partial(check, entry)
        for entry in endpoints
    }


def application_checks(
    parameters: Mapping[str, Any], host: Host, failing: set[str]
) -> dict[str, Check]:
    """Return the registry's own check if the host has an image, without failing endpoints."""
    image = local_image(host, parameters["image"] or "") if parameters["bundle"] else ""
    if not image:
        return {}
    # A database that the rollout starts may not be running yet.
    skipped = failing | {name for name in parameters["deployed"] if name == "database"}
    check = partial(probe, host, image, parameters["bundle"])
    return {"probe": partial(check, files=parameters["ca_files"], skipped=skipped)}


def main() -> None:
    """Return the problems of the host."""
    started = time.time()
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str"},
            "ports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "floating": {"type": "bool", "default": False},
                },
            },
            "own_units": {
                "type": "list",
                "elements": "str",
                "default": [
                    "atoll-registry",
                    "atoll-replication",
                    "atoll-mirror",
                    "atoll-postgres",
                    "atoll-redis",
                    "atoll-load-balancer",
                    "atoll-clair",
                ],
            },
            "paths": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "free_bytes": {"type": "int", "required": True},
                },
            },
            "minimum_memory": {"type": "int", "default": 0},
            "memory_limits": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "minimum_podman_version": {"type": "str", "default": "5.0"},
            "podman_reason": {
                "type": "str",
                "default": "earlier versions do not support Notify=healthy in Quadlet units, with"
                " which a rollout waits until a container is healthy",
            },
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "subject": {
                        "type": "str",
                        "choices": ["database", "redis", "store", "registry", "site"],
                        "required": True,
                    },
                    "name": {"type": "str", "required": True},
                    "host": {"type": "str", "required": True},
                    "port": {"type": "int", "default": 443},
                    "protocol": {
                        "type": "str",
                        "choices": ["dns", "tcp", "tls", "postgres"],
                        "default": "tls",
                    },
                    "verify": {
                        "type": "str",
                        "choices": ["full", "ca", "none"],
                        "default": "full",
                    },
                    "ca": {"type": "str", "default": ""},
                    "required": {"type": "bool", "default": True},
                    "deployed_here": {"type": "bool", "default": False},
                },
            },
            "sites": {"type": "list", "elements": "str", "default": []},
            "bundle": {"type": "str", "no_log": True},
            "bundle_variable": {"type": "str"},
            "ca_files": {"type": "dict", "default": {}},
            "deployed": {
                "type": "list",
                "elements": "str",
                "choices": ["database", "redis"],
                "default": [],
            },
            "image": {"type": "str"},
            "image_archive": {"type": "path"},
            "timeout": {"type": "int", "default": 40},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    host = Host()
    name = parameters["host"] or socket.gethostname()
    failing: set[str] = set()
    deadline = time.monotonic() + parameters["timeout"]
    checks = checks_of(parameters, host)
    checks.update(endpoint_checks(parameters["endpoints"], failing))
    problems = run_checks(name, checks, parameters["timeout"])
    checks = application_checks(parameters, host, failing)
    problems += run_checks(name, checks, max(1.0, deadline - time.monotonic()))
    module.exit_json(changed=False, problems=problems, clock=[started, time.time()])


if __name__ == "__main__":
    main()
