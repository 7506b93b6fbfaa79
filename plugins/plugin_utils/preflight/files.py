"""Checks of files on the controller: images, certificates, and files that the bundle refers to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.atoll.registry.plugins.module_utils.archive import (
    ArchiveError,
    archive_reference,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    Host,
    Inventory,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    Problem,
    problem,
)

_IMAGE = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
_BUNDLE_DIRECTORY = "/conf/stack/"
# The role registry deploys these files to the directory of the bundle.
_ALWAYS_DEPLOYED = ("config.yaml", "ssl.cert", "ssl.key")


def image_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield the problems of the images of each component."""
    archives: dict[str, str] = {}
    for host, role in inventory.files_of():
        if host.failed(f"{role}_image") or host.failed(f"{role}_image_archive"):
            continue
        archive = host.text(f"{role}_image_archive")
        image = host.text(f"{role}_image")
        if archive:
            if archive not in archives:
                archives[archive] = _archive_message(archive)
            if archives[archive]:
                yield problem(
                    "image-invalid",
                    host.name,
                    archives[archive],
                    f"Build the images, or correct {role}_image_archive.",
                )
        elif not _IMAGE.fullmatch(image):
            yield problem(
                "image-invalid",
                host.name,
                f"{role}_image is {image!r}, which does not name an image by its digest."
                if image
                else f"Neither {role}_image nor {role}_image_archive is set.",
                f"Set {role}_image to NAME@sha256:DIGEST, or {role}_image_archive to an OCI archive"
                " on the controller.",
            )


def file_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield files that do not exist on the controller or cannot be read."""
    for host, role in inventory.files_of():
        for name, path in _files(host, role):
            message = inventory.read_error(path)
            if message:
                yield problem(
                    "file-missing",
                    host.name,
                    f"{name} is {path}, which cannot be read on the controller: {message}.",
                    f"Create the file, or correct {name}.",
                )
        if role == "registry":
            yield from _extra_certificates(host)
            yield from _references(host)


def _files(host: Host, role: str) -> Iterator[tuple[str, str]]:
    """Yield the names of a role's variables that name files, with the files."""
    for name, value in host.options(role).items():
        if name.endswith("_file") and value:
            yield name, str(value)
        elif name.endswith("_files") and isinstance(value, list):
            for path in value:
                yield name, str(path)


def _extra_certificates(host: Host) -> Iterator[Problem]:
    paths = host.get("registry_extra_ca_files")
    names: list[str] = []
    for path in map(str, paths if isinstance(paths, list) else []):
        name = PurePosixPath(path).name
        if not name.endswith(".crt"):
            yield problem(
                "value-invalid",
                host.name,
                f"registry_extra_ca_files contains {path}, whose name does not end in .crt.",
                "Rename the file.",
            )
        if name in names:
            yield problem(
                "value-invalid",
                host.name,
                f"registry_extra_ca_files contains two files with the name {name}, and would deploy"
                " only one of them.",
                "Rename one of the files.",
            )
        names.append(name)


def _references(host: Host) -> Iterator[Problem]:
    """Yield files of the bundle that registry_config refers to, but no variable deploys."""
    deployed = {*_ALWAYS_DEPLOYED, *deployed_files(host)}
    for place, value in leaves(host.get("registry_config"), "registry_config"):
        if not isinstance(value, str) or not value.startswith(_BUNDLE_DIRECTORY):
            continue
        name = value.removeprefix(_BUNDLE_DIRECTORY)
        if name in deployed:
            continue
        variable = "registry_extra_ca_files" if "/" in name else "registry_database_ca_file"
        yield problem(
            "bundle-file-missing",
            host.name,
            f"{place} is {value}, but the inventory deploys no such file.",
            f"Set {variable}, or remove {place.rpartition('.')[2]} if a public CA signed the"
            " certificate.",
        )


def deployed_files(host: Host) -> dict[str, str]:
    """Return the CA certificates that are deployed with the bundle, and their sources."""
    found = {}
    if host.text("registry_database_ca_file"):
        found["database.pem"] = host.text("registry_database_ca_file")
    extra = host.get("registry_extra_ca_files")
    for path in map(str, extra if isinstance(extra, list) else []):
        found[f"extra_ca_certs/{PurePosixPath(path).name}"] = path
    return found


def leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield each value in a structure of maps and lists with its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{place}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, f"{place}.{number}")
    else:
        yield place, value


def _archive_message(path: str) -> str:
    try:
        archive_reference(path)
    except ArchiveError as error:
        return str(error)
    return ""
