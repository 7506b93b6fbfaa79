"""Templates of pods, which the Pod Security Standard `restricted` admits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.documents import Object
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import (
    PREFIX,
    REGISTRY,
    Site,
)

METRICS_PORT = 9091
METRICS_LABEL = f"{PREFIX}/metrics"
BUNDLE_DIRECTORY = "/conf/stack"

_SPOOL_DIRECTORY = "/var/spool/atoll"
# Read-only files of a Secret belong to root, and the user id of the container is not known.
_READABLE = 0o444
_CHECK = ["atoll", "healthcheck", "--alive"]
_STARTUP_SECONDS = 2
# Measured: 0.3 MiB in each component, and 62 MiB in the registry while it receives as many large
# bodies of the API as it accepts at the same time.
_REGISTRY_TMP, _WORKER_TMP = "128Mi", "32Mi"


def pod_template(
    site: Site,
    component: str,
    container: Mapping[str, Any],
    *,
    grace: int,
    volumes: Mapping[str, Object] | None = None,
    labels: Mapping[str, str] | None = None,
    **settings: Any,
) -> Object:
    """Return the template of a pod with one container.

    Args:
        site: The site.
        component: The name of the component and of the container.
        container: The settings of the container that differ between components.
        grace: Seconds between the request to stop and the end.
        volumes: Further volumes, which are mounted read-only, by the directory in the container.
        labels: Further labels.
        settings: Further settings of the pod.
    """
    secrets = site.options["kubernetes_image_pull_secrets"]
    further = volumes or {}
    mounts = [
        *_mounts(site, component),
        *(read_only(volume["name"], directory) for directory, volume in further.items()),
    ]
    return {
        "metadata": {
            "labels": site.labels(component) | dict(labels or {}),
            "annotations": {
                f"{PREFIX}/bundle-fingerprint": site.fingerprint,
                f"{PREFIX}/bundle-checksum": site.bundle.checksum,
            },
        },
        "spec": {
            "serviceAccountName": site.resource(),
            "automountServiceAccountToken": False,
            # Variables for Services would begin with ATOLL_ as well.
            "enableServiceLinks": False,
            **({"imagePullSecrets": [{"name": name} for name in secrets]} if secrets else {}),
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": grace,
            **settings,
            "containers": [
                {
                    "name": component,
                    "image": site.options["registry_image"],
                    "imagePullPolicy": "IfNotPresent",
                    **container,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": mounts,
                }
            ],
            "volumes": [*_volumes(site, component), *further.values()],
        },
    }


def secret_volume(name: str, secret: str, **settings: Any) -> Object:
    """Return a volume with the keys of a Secret as files."""
    return {"name": name, "secret": {"secretName": secret, "defaultMode": _READABLE, **settings}}


def read_only(volume: str, directory: str) -> Object:
    """Return the mount of a volume that the container only reads."""
    return {"name": volume, "mountPath": directory, "readOnly": True}


def variables(values: Mapping[str, Any]) -> list[Object]:
    """Return environment variables."""
    return [{"name": name, "value": str(value)} for name, value in values.items()]


def preference(site: Site) -> dict[str, str]:
    """Return the environment variable that differs between sites."""
    locations = site.options["registry_storage_preference"]
    return {"QUAY_DISTRIBUTED_STORAGE_PREFERENCE": " ".join(locations)}


def probes(site: Site, port: str) -> Object:
    """Return the probes of a component whose health is served on a port.

    Other services do not count for the liveness, so that their failure restarts no container.
    """
    alive = {"exec": {"command": list(_CHECK)}, "timeoutSeconds": 10}
    starts = math.ceil(site.options["registry_start_timeout"] / _STARTUP_SECONDS)
    return {
        "startupProbe": alive
        | {"periodSeconds": _STARTUP_SECONDS, "failureThreshold": max(1, starts)},
        "livenessProbe": alive | {"periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {
            "httpGet": {"path": "/health/instance", "port": port},
            "periodSeconds": 5,
            "timeoutSeconds": 3,
            "failureThreshold": 2,
        },
    }


def _volumes(site: Site, component: str) -> list[Object]:
    size = _REGISTRY_TMP if component == REGISTRY else _WORKER_TMP
    return [
        secret_volume("bundle", site.resource("bundle"), items=site.bundle.items),
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": size}},
        # podman names a volume of the host so, which other pods would share.
        {
            "name": site.resource(component, "spool"),
            "emptyDir": {"sizeLimit": site.options["kubernetes_spool_size"]},
        },
    ]


def _mounts(site: Site, component: str) -> list[Object]:
    return [
        read_only("bundle", BUNDLE_DIRECTORY),
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the container
        {"name": site.resource(component, "spool"), "mountPath": _SPOOL_DIRECTORY},
    ]
