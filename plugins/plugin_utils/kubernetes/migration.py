"""The Job that migrates the database, and the password that its first run needs."""

from __future__ import annotations

import hashlib
import json

from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.bundle import (
    SUPERUSER_FILE,
    encoded,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.documents import Object
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.overrides import (
    override_environment,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.pods import (
    pod_template,
    preference,
    secret_volume,
    variables,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import (
    MIGRATION,
    REGISTRY,
    Site,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.workloads import resources

_DIRECTORY = "/conf/migration"
_SUPERUSER = "initial-superuser"
_HASH_LENGTH = 10
# Seconds for the current statement to be rolled back.
_GRACE_SECONDS = 60
_RETRIES = 4
# Seconds after which the Job and its pods are deleted. If it is applied again, it changes nothing.
_KEPT_SECONDS = 7 * 24 * 3600


def migration_job(site: Site) -> Object:
    """Return the Job.

    The fields of a Job cannot be changed. Its name contains a hash of them, so that each change of
    the image or of the bundle migrates the database again.
    """
    container = {
        "args": ["migrate"],
        "env": variables(
            {
                **preference(site),
                "ATOLL_INITIAL_SUPERUSER_PASSWORD_FILE": f"{_DIRECTORY}/{SUPERUSER_FILE}",
            }
        ),
        "resources": resources(site, REGISTRY),
    }
    # The Secret is needed by the first migration, and may be deleted after it.
    password = secret_volume(_SUPERUSER, superuser_name(site), optional=True)
    template = pod_template(
        site,
        MIGRATION,
        container,
        grace=_GRACE_SECONDS,
        volumes={_DIRECTORY: password},
        restartPolicy="Never",
    )
    override_environment(template["spec"], site.options["kubernetes_overrides"].get(REGISTRY) or {})
    spec = {
        "backoffLimit": _RETRIES,
        "activeDeadlineSeconds": site.options["registry_migration_timeout"],
        "ttlSecondsAfterFinished": _KEPT_SECONDS,
        "template": template,
    }
    metadata = site.metadata(MIGRATION, _hash(spec), component=MIGRATION)
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def superuser_name(site: Site) -> str:
    """Return the name of the Secret with the password of the first superuser."""
    return site.resource(_SUPERUSER)


def superuser_secret(site: Site) -> Object:
    """Return the Secret with the password of the first superuser."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": site.metadata(_SUPERUSER, component=MIGRATION),
        "type": "Opaque",
        "data": encoded({SUPERUSER_FILE: site.bundle.superuser_password}),
    }


def _hash(spec: Object) -> str:
    text = json.dumps(spec, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
