"""Read the files of the controller for the checks of a host, and compare the clocks."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.atoll.registry.plugins.module_utils.archive import (
    ArchiveError,
    archive_reference,
)
from ansible_collections.atoll.registry.plugins.module_utils.host_checks.network import (
    clock_offset,
)
from ansible_collections.atoll.registry.plugins.module_utils.host_checks.runner import (
    ERROR,
    WARNING,
    problem,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.bundle_endpoints import (
    bundle_endpoints,
)

WARNING_SECONDS = 2
ERROR_SECONDS = 30
_HTTPS_PORT = 443


class ActionModule(ActionBase):
    """Run the module with the servers of the bundle, and add problems with the clock."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Return the problems of the host."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = {"host": variables.get("inventory_hostname"), **self._task.args}
        arguments["ports"] = [entry for entry in arguments.get("ports") or [] if _is_valid(entry)]
        arguments.update(_bundle(arguments, variables))
        arguments = with_servers({**arguments, **_image(arguments)}, _read(arguments))
        hosts = {name: variables["hostvars"][name] for name in arguments.get("sites") or []}
        arguments["endpoints"] += site_endpoints(hosts)
        before = time.time()
        result.update(
            self._execute_module(
                module_name="atoll.registry.preflight_info",
                module_args=arguments,
                task_vars=task_vars,
            )
        )
        if "clock" in result:
            started, finished = result["clock"]
            offset = clock_offset(before, started, finished, time.time())
            result["problems"] += [
                {**found, "host": arguments["host"]} for found in clock_problems(offset)
            ]
        return result


def with_servers(arguments: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of the module: CA certificates, and the servers of the bundle."""
    bundle = arguments.get("bundle")
    # Before ansible-core 2.19, a template of JSON text results in a dictionary.
    found = json.loads(bundle) if isinstance(bundle, str) else bundle
    deployed = arguments.get("deployed") or []
    servers = [
        {**server, "deployed_here": server["subject"] in deployed}
        for server in (bundle_endpoints(found, files) if isinstance(found, Mapping) else [])
    ]
    changed: dict[str, Any] = {
        **arguments,
        "ca_files": dict(files),
        **({} if found is None else {"bundle": json.dumps(found)}),
        "endpoints": [*(arguments.get("endpoints") or []), *servers],
    }
    return changed


def site_endpoints(hosts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the servers at which hosts of sites publish the registry.

    Args:
        hosts: The variables of each host.
    """
    return [
        {
            "subject": "site",
            "name": name,
            "host": found.get("registry_address") or found.get("ansible_host") or name,
            "port": found.get("registry_https_port") or _HTTPS_PORT,
            "protocol": "tcp",
            "deployed_here": True,
        }
        for name, found in hosts.items()
    ]


def clock_problems(offset: float) -> list[dict[str, str]]:
    """Return a problem if the clock of a host differs from that of the controller.

    Args:
        offset: Seconds by which the clock differs at least, positive if it is ahead.
    """
    if abs(offset) <= WARNING_SECONDS:
        return []
    direction = "ahead of" if offset > 0 else "behind"
    return [
        problem(
            "clock-skew",
            ERROR if abs(offset) > ERROR_SECONDS else WARNING,
            f"The clock of the host is {abs(offset):.1f} seconds {direction} the clock of the"
            " controller.",
            "Synchronize the clocks, for example with chrony. Stores refuse requests of hosts whose"
            " clock is wrong.",
        )
    ]


def _is_valid(entry: Mapping[str, Any]) -> bool:
    """Return whether a port is a number; the checks of the controller report other values."""
    return str(entry.get("port", "")).isdecimal()


def _bundle(arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bundle of a variable, or nothing if a value in it is undefined."""
    name = arguments.get("bundle_variable")
    if not name:
        return {}
    try:
        value = variables["hostvars"][variables["inventory_hostname"]][name]
        return {"bundle": json.dumps(value)}
    except (AnsibleError, KeyError, TypeError, ValueError):
        return {}


def _read(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the CA certificates; the checks of the controller report missing files."""
    files = {}
    for name, path in (arguments.get("ca_files") or {}).items():
        try:
            files[str(name)] = Path(str(path)).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return files


def _image(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the image of the archive."""
    archive = arguments.get("image_archive")
    if not archive:
        return {}
    try:
        return {"image": archive_reference(str(archive))}
    except (ArchiveError, OSError):
        return {}
