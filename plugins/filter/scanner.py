"""Filters for Clair, the security scanner: its addresses, its database and its updates."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.atoll.registry.plugins.plugin_utils.clair_database import parse_database
from ansible_collections.atoll.registry.plugins.plugin_utils.plain import plain

_PORT = 6060
_GZIP_MAGIC = b"\x1f\x8b"
# The first line of a file of updates is an operation or a vulnerability, of some kilobytes.
_FIRST_LINE_BYTES = 16 * 1024 * 1024

_Groups = Mapping[str, Sequence[str]]
_Hostvars = Mapping[str, Mapping[str, Any]]


def scanner_hosts(groups: _Groups, hostvars: _Hostvars, sites: str | Sequence[str]) -> list[str]:
    """Return the hosts that run the Clair of a site, or of several sites.

    Args:
        groups: The hosts of each group.
        hostvars: The variables of each host.
        sites: A name, or a list of names.
    """
    names = [sites] if isinstance(sites, str) else list(sites)
    return [
        str(host)
        for host in groups.get("atoll_clair", [])
        if _site(hostvars[host]) in [str(name) for name in names]
    ]


def scanner_endpoints(groups: _Groups, hostvars: _Hostvars) -> dict[str, str]:
    """Return the URL of the Clair of each location, the value of SCANNER_ENDPOINTS.

    The location is the one that the Clair's site writes to. A Clair of an unknown site has none.

    Args:
        groups: The hosts of each group.
        hostvars: The variables of each host.
    """
    locations: dict[str, str] = {}
    for host in [*groups.get("atoll_sites", []), *groups.get("atoll_kubernetes", [])]:
        preference = hostvars[host].get("registry_storage_preference") or []
        for location in preference[:1]:
            locations.setdefault(str(hostvars[host].get("registry_site", "")), str(location))
    endpoints: dict[str, str] = {}
    for host in groups.get("atoll_clair", []):
        variables = hostvars[host]
        location = locations.get(_site(variables))
        if location:
            endpoints.setdefault(location, _url(str(host), variables))
    return endpoints


def scanner_settings(bundle: Any, hosts: Sequence[str], hostvars: _Hostvars) -> list[str]:
    """Return the keys of a bundle that name the Clair of one of the hosts.

    Args:
        bundle: The bundle of the registry.
        hosts: Hosts that run Clair.
        hostvars: The variables of each host.
    """
    urls = {_url(str(host), hostvars[host]) for host in hosts}
    endpoints = bundle.get("SCANNER_ENDPOINTS")
    settings = {"SECURITY_SCANNER_V4_ENDPOINT": bundle.get("SECURITY_SCANNER_V4_ENDPOINT")} | {
        f"SCANNER_ENDPOINTS.{location}": url
        for location, url in (endpoints.items() if isinstance(endpoints, Mapping) else ())
    }
    return [key for key, url in settings.items() if str(url or "").rstrip("/") in urls]


def clair_database_problems(uri: Any, bundle: Any = None) -> list[str]:
    """Return a sentence if Clair cannot use a database.

    Args:
        uri: The address of Clair's database.
        bundle: The bundle of the registry.
    """
    own = parse_database(str(uri))
    if own is None:
        return [
            "clair_database_uri names no host: set it to the URI of an external PostgreSQL"
            " database, such as postgresql://clair:PASSWORD@db.example.org:5432/clair."
        ]
    address = bundle.get("DB_URI") if isinstance(bundle, Mapping) else None
    registry = parse_database(str(address or ""))
    server = own.shared_server(registry) if registry is not None else None
    if server is None:
        return []
    host, port = server
    return [
        f"clair_database_uri is the database of the registry ({own.name} at {host}:{port}):"
        " Clair needs a database of its own. Create another database, which may be on the same"
        " server, and set clair_database_uri to it."
    ]


def clair_database_servers(uri: Any, deployed: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the servers of Clair's database as endpoints of the module preflight_info.

    Args:
        uri: The address of Clair's database.
        deployed: Addresses of servers that the rollout itself starts.
    """
    database = parse_database(str(uri or ""))
    own = [str(address).strip("[]").lower() for address in deployed]
    return [
        {
            "subject": "database",
            "name": "clair_database_uri",
            "host": host,
            "port": port,
            "protocol": "tcp",
            "deployed_here": host in own,
        }
        for host, port in (database.servers if database else ())
    ]


def scanner_updates_problems(path: Any) -> list[str]:
    """Return a sentence if a file is not one that `clairctl export-updaters` wrote.

    Only the start of the file is read.

    Args:
        path: The path on the controller.
    """
    if not str(path or ""):
        return [
            "No file was specified: set -e atoll_scanner_updates=updates.json.gz to a file that"
            " `clairctl export-updaters updates.json.gz` wrote."
        ]
    file = Path(str(path)).expanduser()
    try:
        with file.open("rb") as content:
            magic = content.read(len(_GZIP_MAGIC))
        if magic != _GZIP_MAGIC:
            return [
                f"{path} is not compressed with gzip: write it with"
                " `clairctl export-updaters updates.json.gz`."
            ]
        with gzip.open(file) as lines:
            first = json.loads(lines.readline(_FIRST_LINE_BYTES))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return [f"{path} is damaged or incomplete: copy it again."]
    except OSError as error:
        return [f"{path} cannot be read on the controller: {error.strerror or error}."]
    except ValueError:
        first = None
    keys = first if isinstance(first, dict) else {}
    if "updater" not in {key.lower() for key in keys}:
        return [
            f"{path} contains no vulnerability data of Clair: write it with"
            " `clairctl export-updaters updates.json.gz`."
        ]
    return []


def _site(variables: Mapping[str, Any]) -> str:
    return str(variables.get("clair_site") or variables.get("registry_site") or "")


def _url(host: str, variables: Mapping[str, Any]) -> str:
    """Return the URL of a Clair, with the defaults of the role."""
    if variables.get("clair_url"):
        return str(plain(variables["clair_url"])).rstrip("/")
    scheme = "https" if variables.get("clair_tls_certificate_file") else "http"
    address = variables.get("clair_address") or variables.get("ansible_host") or host
    return f"{scheme}://{address}:{variables.get('clair_port') or _PORT}"


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "clair_database_problems": clair_database_problems,
            "clair_database_servers": clair_database_servers,
            "scanner_endpoints": scanner_endpoints,
            "scanner_hosts": scanner_hosts,
            "scanner_settings": scanner_settings,
            "scanner_updates_problems": scanner_updates_problems,
        }
