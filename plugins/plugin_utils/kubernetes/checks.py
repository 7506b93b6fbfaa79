"""Checks of the sites on clusters, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.atoll.registry.plugins.filter.mirroring import runs_mirror
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.bundle import extra_key
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.clusters import (
    GROUP,
    Clusters,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.documents import (
    is_rendered,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.override_checks import (
    override_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.quantities import (
    is_quantity,
    quantity_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import components
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.tree import KUSTOMIZATION
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.bundle import (
    configuration_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.certificates import (
    certificate_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.files import file_problems
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    Host,
    Inventory,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    CONTROLLER,
    Problem,
    problem,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.values import (
    placeholder_problems,
    secret_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.variables import (
    undefined_problems,
    variable_problems,
)

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_SERVICE_NAME = re.compile(r"[a-z](?:[-a-z0-9]*[a-z0-9])?")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_IMAGE = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
# The name of the Job has 19 characters more, and a label has at most 63.
_NAME_LENGTH, _LABEL_LENGTH = 40, 63
_SECRET_BYTES = 1024 * 1024
_PORTS = range(1, 65536)
_COUNTS = (
    "kubernetes_replicas",
    "kubernetes_replication_replicas",
    "kubernetes_mirror_replicas",
    "registry_client_connections",
    "registry_drain_notice",
    "registry_drain_timeout",
)
_COMPONENTS = ("registry", "replication", "mirror")
# What each kind of entry to the cluster uses.
_INGRESS_SETTINGS = {
    "kubernetes_ingress_class": ("ingress",),
    "kubernetes_ingress_annotations": ("ingress", "route"),
}

_Mistakes = Iterator[tuple[str, str]]
_INVENTORY_CHECKS: tuple[Callable[[Inventory], Iterator[Problem]], ...] = (
    variable_problems,
    file_problems,
    certificate_problems,
    placeholder_problems,
    secret_problems,
    configuration_problems,
)


def manifest_problems(clusters: Clusters, directory: Path) -> list[Problem]:
    """Return all problems of the sites on clusters.

    Args:
        clusters: The sites.
        directory: The directory that their manifests are written to.
    """
    found: list[Problem] = []
    if not clusters.hosts:
        found.append(
            problem(
                "no-site",
                CONTROLLER,
                f"The group {GROUP} has no hosts.",
                "Add a host for each site on a cluster, with site_platform: kubernetes.",
            )
        )
    for check in _INVENTORY_CHECKS:
        found += check(clusters)
    for host in clusters.hosts.values():
        options = clusters.options(host)
        for mistakes in _MISTAKES:
            found += [problem("value-invalid", host.name, *one) for one in mistakes(host, options)]
        found += _overrides(host, options)
        found += _secret_size(clusters, host, options)
        found += _directory(host, directory / host.text("registry_site"))
    return [*found, *_sites(clusters), *undefined_problems(clusters)]


def _names(host: Host, options: dict[str, Any]) -> _Mistakes:
    rules = (
        ("registry_site", _LABEL, _NAME_LENGTH, "a-z, 0-9 and hyphens"),
        ("kubernetes_name", _SERVICE_NAME, _NAME_LENGTH, "a-z, 0-9 and hyphens, after a letter"),
        ("kubernetes_namespace", _LABEL, _LABEL_LENGTH, "a-z, 0-9 and hyphens"),
    )
    for name, pattern, length, characters in rules:
        value = str(options.get(name) or "")
        invalid = not pattern.fullmatch(value) or len(value) > length
        if value and invalid and not host.failed(name):
            yield (
                f"{name} is {value!r}, which is no valid name of an object of Kubernetes.",
                f"Use at most {length} characters: {characters}.",
            )


def _image(host: Host, options: dict[str, Any]) -> _Mistakes:
    image = str(options.get("registry_image") or "")
    if image and not _IMAGE.fullmatch(image):
        yield (
            f"registry_image is {image!r}, which does not name an image by its digest.",
            "Set it to NAME@sha256:DIGEST.",
        )
    elif not image and host.text("registry_image_archive"):
        yield (
            "registry_image_archive is set, but a cluster can only pull an image.",
            "Push the image to a registry that the cluster reaches, and set registry_image.",
        )


def _numbers(host: Host, options: dict[str, Any]) -> _Mistakes:
    for name in _COUNTS:
        value = options.get(name)
        if isinstance(value, int) and value < 0:
            yield f"{name} is {value}, which is negative.", f"Set {name} to 0 or more."
    for name in ("kubernetes_https_port", "kubernetes_podman_port"):
        value = options.get(name)
        if isinstance(value, int) and value not in _PORTS:
            yield f"{name} is {value}, which is no port.", f"Set {name} to 1 to 65535."
    if not is_quantity(options.get("kubernetes_spool_size")):
        yield (
            f"kubernetes_spool_size is {host.get('kubernetes_spool_size')!r}.",
            "Set it to a quantity of Kubernetes, such as 20Gi.",
        )
    for component in _COMPONENTS:
        for kind in ("requests", "limits"):
            name = f"kubernetes_{component}_{kind}"
            for message in quantity_problems(name, options.get(name) or {}):
                yield _split(message)


def _network(host: Host, options: dict[str, Any]) -> _Mistakes:
    del host
    kind = options.get("kubernetes_ingress")
    for name, kinds in _INGRESS_SETTINGS.items():
        if options.get(name) and kind not in kinds:
            yield (
                f"{name} is set, but kubernetes_ingress is {kind}.",
                f"Set kubernetes_ingress to {' or '.join(kinds)}, or remove {name}.",
            )
    bundle = options.get("registry_config")
    hostname = str(options.get("registry_hostname") or "")
    server = str(bundle.get("SERVER_HOSTNAME") or "") if isinstance(bundle, dict) else ""
    if hostname and server and server.rsplit(":", 1)[0] != hostname:
        yield (
            f"registry_hostname is {hostname}, and SERVER_HOSTNAME of registry_config is {server}.",
            "Use the name that clients use in both, for example with"
            ' SERVER_HOSTNAME: "{{ registry_hostname }}".',
        )


def _mirror(host: Host, options: dict[str, Any]) -> _Mistakes:
    del host
    bundle = options.get("registry_config")
    if options.get("registry_mirror") == "true" and not runs_mirror(bundle):
        yield (
            "registry_mirror is true, but the mirror process does not start without"
            " FEATURE_REPO_MIRROR or FEATURE_ORG_MIRROR.",
            "Set one of them to true in registry_config, or registry_mirror to auto.",
        )


def _stores(host: Host, options: dict[str, Any]) -> _Mistakes:
    del host
    bundle = options.get("registry_config")
    stores = bundle.get("DISTRIBUTED_STORAGE_CONFIG") if isinstance(bundle, dict) else None
    for name, store in stores.items() if isinstance(stores, dict) else ():
        if isinstance(store, list) and store[:1] == ["LocalStorage"]:
            yield (
                f"The location {name} is a LocalStorage, and pods have no persistent directory.",
                "Use an object store, which all sites reach.",
            )


def _extra_files(host: Host, options: dict[str, Any]) -> _Mistakes:
    del host
    for path in options.get("registry_extra_ca_files") or []:
        name = str(path).rsplit("/", 1)[-1]
        if not _SECRET_KEY.fullmatch(extra_key(name)):
            yield (
                f"registry_extra_ca_files contains {path}, whose name is no key of a Secret.",
                "Rename the file; use letters, digits, hyphens, underscores and periods.",
            )


def _overrides(host: Host, options: dict[str, Any]) -> Iterator[Problem]:
    overrides = options.get("kubernetes_overrides")
    if host.failed("kubernetes_overrides") or not isinstance(overrides, dict):
        return
    bundle, preference = (
        options.get(name) for name in ("registry_config", "registry_storage_preference")
    )
    if not isinstance(bundle, dict) or not isinstance(preference, list):
        return  # The argument specification reports it.
    for message in override_problems(overrides, components(options), preference):
        yield problem("value-invalid", host.name, *_split(message))


def _secret_size(clusters: Clusters, host: Host, options: dict[str, Any]) -> Iterator[Problem]:
    if not isinstance(options.get("registry_config"), dict):
        return  # The argument specification reports it.
    try:
        data = clusters.bundle(options).data
    except (AnsibleError, KeyError, TypeError, UnicodeDecodeError):
        return  # The other checks report it.
    size = sum(len(text.encode()) for text in data.values())
    if size > _SECRET_BYTES:
        yield problem(
            "value-invalid",
            host.name,
            f"The bundle has {size} bytes, and a Secret has at most {_SECRET_BYTES}.",
            "Remove CA certificates that are not needed from registry_extra_ca_files.",
        )


def _directory(host: Host, site: Path) -> Iterator[Problem]:
    """Yield a problem if other files would be removed from the directory of a site."""
    try:
        names = {path.name for path in site.iterdir()}
        ours = KUSTOMIZATION in names and is_rendered((site / KUSTOMIZATION).read_text())
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        names, ours = {str(error)}, False
    if names and not ours:
        yield problem(
            "value-invalid",
            host.name,
            f"{site} contains files that were not rendered, such as {min(names)}; they would be"
            " removed.",
            "Set kubernetes_directory to an empty directory, or move the files.",
        )


def _sites(clusters: Clusters) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    writers: dict[str, str] = {}
    for host in clusters.hosts.values():
        site = host.text("registry_site")
        other = owners.setdefault(site, host.name)
        if site and other != host.name:
            yield problem(
                "value-invalid",
                host.name,
                f"registry_site is {site}, as that of {other}; one host stands for a site on a"
                " cluster.",
                "Set registry_site to a name of its own, or remove one of the hosts.",
            )
        preference = host.get("registry_storage_preference")
        for location in preference[:1] if isinstance(preference, list) else []:
            first = writers.setdefault(str(location), site)
            if first != site:
                yield problem(
                    "location-shared",
                    host.name,
                    f"The sites {first} and {site} both write to the location {location}.",
                    "Put the location of the site's own store first in"
                    " registry_storage_preference.",
                    "warning",
                )


def _split(message: str) -> tuple[str, str]:
    """Return the problem and the remedy of a sentence that separates them with a colon."""
    text, _colon, remedy = message.rpartition(": ")
    return f"{text}.", f"{remedy[:1].upper()}{remedy[1:]}."


_MISTAKES = (_names, _image, _numbers, _network, _mirror, _stores, _extra_files)
