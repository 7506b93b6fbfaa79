"""Mirrors in the configuration files of skopeo sync."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from atoll.mirroring.conversion.entries import (
    Settings,
    SyncEntry,
    Unusable,
    text_list,
    upstream_of,
    valid_tags,
    version_ranges,
)
from atoll.mirroring.conversion.yaml_nodes import items, value_of

_SECTIONS = ("images", "images-by-tag-regex", "images-by-semver")
_SETTINGS = frozenset({"credentials", "tls-verify", "cert-dir"})


def skopeo_entries(root: yaml.MappingNode) -> Iterator[SyncEntry]:
    """Yield the entries of a file; a registry without images is one with a problem.

    Args:
        root: The root of the file.

    Raises:
        UserError: The file is malformed.
    """
    for registry, node, number in items(root, "the file"):
        sections = {key: value for key, value, _line in items(node, registry)}
        common = _access(sections)
        is_empty = True
        for section in _SECTIONS:
            if section not in sections:
                continue
            for image, selection, line in items(sections[section], section):
                is_empty = False
                source = f"{registry}/{image}"
                yield _entry(line, source, section, value_of(selection), common)
        if is_empty:
            problem = f"it lists no images; {', '.join(_SECTIONS)} have some"
            yield SyncEntry(number, registry, "", {}, problem=problem)


def _access(sections: dict[str, yaml.Node]) -> Settings:
    """Return the settings of all repositories of a registry."""
    found = Settings()
    if "credentials" in sections:
        given = value_of(sections["credentials"])
        if isinstance(given, dict) and given.get("username"):
            found.change["external_registry_username"] = str(given["username"])
            found.change["external_registry_password"] = str(given.get("password", ""))
        elif given:
            found.notes.append("the credentials have no username; set them in the mirror")
    if "tls-verify" in sections and value_of(sections["tls-verify"]) is False:
        found.change["external_registry_config"] = {"verify_tls": False}
    if "cert-dir" in sections:
        found.notes.append("cert-dir is ignored; set the option ca_certificate of the mirror")
    found.notes += [
        f"{name} is ignored: it is no setting of skopeo sync"
        for name in sections
        if name not in {*_SECTIONS, *_SETTINGS}
    ]
    return found


def _entry(line: int, source: str, section: str, selection: Any, common: Settings) -> SyncEntry:
    target = source.rpartition("/")[2]
    settings = Settings()
    settings.change = {**common.change}
    settings.notes = [*common.notes]
    try:
        settings.change["external_reference"] = str(upstream_of(source))
        if section == "images-by-tag-regex":
            settings.patterns = settings.convert(str(selection), is_anchored=False)
        elif section == "images-by-semver":
            settings.options["semver"] = version_ranges(text_list(selection, section))
        else:
            settings.patterns = valid_tags(text_list(selection or [], section), settings)
        change = settings.finished()
    except Unusable as error:
        return SyncEntry(line, source, target, {}, problem=str(error))
    return SyncEntry(line, source, target, change, tuple(settings.notes))
