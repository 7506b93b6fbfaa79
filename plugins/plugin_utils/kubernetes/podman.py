"""The variant for `podman kube play`, with a Quadlet unit.

Podman 5.4 creates no directories for the paths of a Secret's keys, so CA certificates are a Secret
of their own. It is mounted below the bundle: crun makes mounts read-only after it has created the
directories for all of them. The volume of a Secret is named after it, so that all pods share it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.bundle import (
    EXTRA_DIRECTORY,
    encoded,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.documents import (
    Document,
    Object,
    commented,
    manifest,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.migration import (
    superuser_secret,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.pods import (
    BUNDLE_DIRECTORY,
    read_only,
    secret_volume,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import (
    MIGRATION,
    REGISTRY,
    Site,
)

_FOLDER = "podman"
_EXTRA = "extra-ca-certs"
_STOP_SECONDS = 30


def podman_documents(site: Site, deployments: Mapping[str, Object], job: Object) -> list[Document]:
    """Return the files of the variant.

    Args:
        site: The site.
        deployments: The Deployments of the site by component.
        job: The Job that migrates the database.
    """
    # Podman runs a Deployment without replicas as well.
    if site.stopped:
        return []
    name = site.resource()
    secrets = [_bundle(site), *([_extra(site)] if site.bundle.extra else [])]
    password = [superuser_secret(site)] if site.bundle.superuser_password else []
    running = {component: one for component, one in deployments.items() if one["spec"]["replicas"]}
    pods = [_deployment(site, component, one) for component, one in running.items()]
    return [
        manifest(f"{_FOLDER}/{name}.yaml", *secrets, *pods),
        manifest(f"{_FOLDER}/{name}-{MIGRATION}.yaml", *secrets, *password, _migration(site, job)),
        commented(f"{_FOLDER}/{name}.kube", _unit(site, running)),
    ]


def _bundle(site: Site) -> Object:
    return _secret(site, "bundle", site.bundle.files)


def _extra(site: Site) -> Object:
    return _secret(site, _EXTRA, dict(sorted(site.bundle.extra.items())))


def _secret(site: Site, name: str, data: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": site.metadata(name),
        "type": "Opaque",
        "data": encoded(data),
    }


def _deployment(site: Site, component: str, deployment: Object) -> Object:
    changed = copy.deepcopy(deployment)
    # Podman runs one pod of a Deployment.
    changed["spec"]["replicas"] = 1
    pod = changed["spec"]["template"]["spec"]
    # The registry reports its instances by the names of their hosts.
    pod["hostname"] = f"{site.name}-{component}"
    _mount_bundle(site, pod)
    if component == REGISTRY:
        address = site.options.get("kubernetes_podman_address")
        published = {"hostPort": site.options["kubernetes_podman_port"]}
        for port in pod["containers"][0]["ports"]:
            if port["name"] == "https":
                port.update(published | ({"hostIP": address} if address else {}))
    return changed


def _migration(site: Site, job: Object) -> Object:
    changed = copy.deepcopy(job)
    # Podman runs a Job again if it is played again, so the name needs no hash.
    changed["metadata"]["name"] = site.resource(MIGRATION)
    _mount_bundle(site, changed["spec"]["template"]["spec"])
    return changed


def _mount_bundle(site: Site, pod: Object) -> None:
    """Mount the Secrets of the variant instead of the keys of one Secret."""
    for volume in pod["volumes"]:
        if volume["name"] == "bundle":
            del volume["secret"]["items"]
    if site.bundle.extra:
        pod["volumes"].append(secret_volume(_EXTRA, site.resource(_EXTRA)))
        for container in pod["containers"]:
            directory = f"{BUNDLE_DIRECTORY}/{EXTRA_DIRECTORY}"
            container["volumeMounts"].append(read_only(_EXTRA, directory))


def _unit(site: Site, running: Mapping[str, Any]) -> list[str]:
    specs = [one["spec"]["template"]["spec"] for one in running.values()]
    grace = max((spec["terminationGracePeriodSeconds"] for spec in specs), default=0)
    name = site.resource()
    return [
        *_instructions(name),
        "[Unit]",
        f"Description=Site {site.name} of the Atoll registry",
        "Wants=network-online.target",
        "After=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        "[Kube]",
        f"Yaml={name}.yaml",
        "",
        "[Service]",
        "Restart=always",
        "RestartSec=5",
        f"TimeoutStartSec={site.options['registry_start_timeout']}",
        "# The pods stop one after the other.",
        f"TimeoutStopSec={grace * max(1, len(specs)) + _STOP_SECONDS}",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]


def _instructions(name: str) -> list[str]:
    migration = f"{name}-{MIGRATION}"
    return [
        "# An example, which needs podman with crun and catatonit. Copy it and",
        f"# {name}.yaml to /etc/containers/systemd, both with mode 0600. Before the first",
        "# start and each upgrade, migrate the database. The second command must print 0:",
        f"#   podman kube play --replace {migration}.yaml",
        f"#   podman wait {migration}-pod-{MIGRATION}",
        f"#   podman kube down {migration}.yaml",
        f"# Then run `systemctl daemon-reload` and `systemctl restart {name}`.",
    ]
