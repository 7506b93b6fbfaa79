"""The addresses and credentials of a running lab."""

import shlex
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from commands import PODMAN
from definition import Lab


def describe(lab: Lab) -> dict[str, Any]:
    """Return all addresses and credentials of the lab."""
    certificate_authority = str(lab.certificate_authority)
    drivers = lab.bundle["DISTRIBUTED_STORAGE_CONFIG"]
    return {
        "registry": {
            "url": f"https://{lab.registry_hostname}",
            "hostname": lab.registry_hostname,
            "ca": certificate_authority,
            "username": lab.bundle["SUPER_USERS"][0],
            "password": lab.bundle["INITIAL_SUPERUSER_PASSWORD"],
        },
        "sites": {
            site.name: {
                "url": f"https://{site.machine.address}",
                "host": site.machine.container,
                "ssh": shlex.join(lab.ssh(site.machine)),
                "location": site.location,
            }
            for site in lab.sites
        },
        "stores": {
            store.location: {
                "endpoint": store.endpoint,
                "access_key": store.access_key,
                "secret_key": store.secret_key,
                "bucket": store.bucket,
                "storage_path": drivers[store.location][1]["storage_path"],
                "container": store.container,
            }
            for store in lab.stores
            # A store may be waiting for its site to join.
            if store.location in drivers
        },
        "postgres": {"uri": _postgres(lab.bundle["DB_URI"], certificate_authority)},
        "redis": {"uri": _redis(lab.bundle["BUILDLOGS_REDIS"], certificate_authority)},
        "podman": list(PODMAN),
    }


def _postgres(uri: str, certificate_authority: str) -> str:
    trust = urlencode({"sslmode": "verify-full", "sslrootcert": certificate_authority}, safe="/")
    return urlunsplit(urlsplit(uri)._replace(query=trust))


def _redis(settings: dict[str, Any], certificate_authority: str) -> str:
    password = quote(settings["password"], safe="")
    trust = urlencode({"ssl_ca_certs": certificate_authority}, safe="/")
    return f"rediss://:{password}@{settings['host']}:{settings['port']}/0?{trust}"
