"""Filters with which the playbooks validate their input on the controller."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.atoll.registry.plugins.module_utils.archive import (
    ArchiveError,
    archive_reference,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.plain import plain


def bundle_problems(bundle: Any, preference: Any = None) -> list[str]:
    """Return a sentence for each problem of a configuration bundle, as the registry would."""
    problems = _registry_configuration().problems(plain(bundle), plain(preference))
    return list(problems)


def bundle_warnings(bundle: Any, preference: Any = None) -> list[str]:
    """Return a sentence for each warning about a configuration bundle, as the registry would."""
    return list(_registry_configuration().check(plain(bundle), plain(preference)).warnings)


def bundle_for_hosts(bundle: Any) -> dict[str, Any]:
    """Return a bundle as it is stored on hosts: without the initial superuser's password."""
    return {
        key: value for key, value in plain(bundle).items() if key != "INITIAL_SUPERUSER_PASSWORD"
    }


def bundle_fingerprint(bundle: Any) -> str:
    """Return the fingerprint that instances with this bundle report in `atoll status --json`."""
    fingerprints = _registry_module("atoll.config.fingerprint")
    return str(fingerprints.combined(fingerprints.fingerprint(bundle_for_hosts(bundle))))


def bundle_without_location(bundle: Any, location: str) -> dict[str, Any]:
    """Return a bundle without the store and all other mentions of a location."""
    reduced: dict[str, Any] = plain(bundle)
    stores = reduced.get("DISTRIBUTED_STORAGE_CONFIG")
    if isinstance(stores, dict):
        reduced["DISTRIBUTED_STORAGE_CONFIG"] = {
            name: store for name, store in stores.items() if name != location
        }
    scanners = reduced.get("SCANNER_ENDPOINTS")
    if isinstance(scanners, dict):
        reduced["SCANNER_ENDPOINTS"] = {
            name: url for name, url in scanners.items() if name != location
        }
    for key in ("DISTRIBUTED_STORAGE_PREFERENCE", "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS"):
        if isinstance(reduced.get(key), list):
            reduced[key] = [name for name in reduced[key] if name != location]
    return reduced


def archive_problems(archive: Any) -> list[str]:
    """Return a sentence if an image archive cannot be used."""
    try:
        archive_reference(str(archive))
    except ArchiveError as error:
        return [str(error)]
    return []


def _registry_configuration() -> Any:
    return _registry_module("atoll.config")


def _registry_module(name: str) -> Any:
    """Import a module of the registry's package atoll.config."""
    application = _application()
    if str(application) not in sys.path:
        sys.path.insert(0, str(application))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise AnsibleFilterError(
            f"The controller cannot validate the configuration bundle: the Python that runs"
            f" Ansible ({sys.executable}) has no module {error.name}."
            f" Install it with: {sys.executable} -m pip install idna psycopg2-binary pydantic"
            " pyyaml"
        ) from error


def _application() -> Path:
    """Return the directory of the registry's source; plugins/ may be a symbolic link."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "app" / "atoll").is_dir():
            return folder / "app"
    raise AnsibleFilterError(
        "The collection is incomplete: app/atoll, which validates the configuration bundle, is"
        " missing. Install the collection again."
    )


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "archive_problems": archive_problems,
            "bundle_fingerprint": bundle_fingerprint,
            "bundle_for_hosts": bundle_for_hosts,
            "bundle_problems": bundle_problems,
            "bundle_warnings": bundle_warnings,
            "bundle_without_location": bundle_without_location,
        }
