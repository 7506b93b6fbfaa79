"""Mirrors in the configuration files of regsync."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import yaml

from atoll.errors import UserError
from atoll.mirroring.conversion.entries import (
    Settings,
    SyncEntry,
    Unusable,
    text_list,
    upstream_of,
    valid_tags,
    version_ranges,
)
from atoll.mirroring.conversion.yaml_nodes import items, line_of, value_of
from atoll.mirroring.mirrors import MirrorChange
from atoll.mirroring.rules.globs import check_patterns
from atoll.mirroring.rules.values import ARCHITECTURES
from atoll.upstream.reference import UpstreamReference

_DAY, _HOUR = 86_400, 3600
_DURATION = re.compile(r"(?:(?P<h>\d{1,5})h)?(?:(?P<m>\d{1,7})m)?(?:(?P<s>\d{1,9})s)?")
_CRON = re.compile(r"(?P<minute>\d{1,2}) +(?P<hour>\d{1,2}|\*) +\* +\* +\*")
_TEMPLATE = re.compile(r"\{\{.*\}\}")
# Settings of an entry of regsync without a counterpart, and their remedy.
_WITHOUT_COUNTERPART = {
    "ratelimit": "UPSTREAM_LIMITS in the bundle limits requests",
    "parallel": "registry_mirror_copies limits copies",
    "backup": "the time machine keeps replaced tags",
    "hooks": "notifications of the repository report runs",
    "mediaTypes": "all images are copied",
    "referrerFilters": "set the option referrers to a list of artifact types",
    "referrerSource": "referrers are read from the source",
    "referrerTarget": "referrers are stored in the mirror",
    "includeExternal": "external layers are not copied",
    "forceRecursive": "incomplete images are always completed",
}
# The same for registries.
_OF_REGISTRIES_WITHOUT_COUNTERPART = {
    "hostname": "name that host in the external_reference of the mirror",
    "pathPrefix": "name the prefix in the external_reference of the mirror",
    "mirrors": "a mirror has one upstream",
    "clientCert": "upstreams authenticate by user name and password",
    "clientKey": "upstreams authenticate by user name and password",
    "reqPerSec": "UPSTREAM_LIMITS in the bundle limits requests",
    "reqConcurrent": "UPSTREAM_LIMITS in the bundle limits requests",
}
_CONVERTED = frozenset(
    [
        "source",
        "target",
        "type",
        "tags",
        "tagSets",
        "platform",
        "platforms",
        "referrers",
        "interval",
        "schedule",
    ]
)
# Settings that do not affect which images are copied.
_WITHOUT_EFFECT = frozenset(
    [
        "blobLimit",
        "cacheCount",
        "cacheTime",
        "digestTags",
        "fastCheck",
        "referrerSlow",
        "repos",
        "skipDockerConfig",
        "userAgent",
    ]
)


class Regsync:
    """A file of regsync."""

    def __init__(self, root: yaml.MappingNode, now: datetime) -> None:
        self._now = now
        sections = {key: node for key, node, _number in items(root, "the file")}
        defaults = value_of(sections["defaults"]) if "defaults" in sections else {}
        self._defaults = defaults if isinstance(defaults, dict) else {}
        creds = value_of(sections["creds"]) if "creds" in sections else []
        listed = creds if isinstance(creds, list) else []
        self._creds = {str(one.get("registry")): one for one in listed if isinstance(one, dict)}
        self._sync = sections["sync"]
        if not isinstance(self._sync, yaml.SequenceNode):
            raise UserError(f"line {line_of(self._sync)}: sync must be a list")

    def entries(self) -> Iterator[SyncEntry]:
        """Yield the entries; those of single images of one repository become one."""
        images: dict[tuple[str, str, str], int] = {}
        found: list[SyncEntry] = []
        for node in self._sync.value:
            given = value_of(node)
            line = line_of(node)
            if not isinstance(given, dict):
                raise UserError(f"line {line}: an entry of sync must be a map")
            entry = self._entry(line, self._merged(given))
            key = entry.source, entry.target, _comparable(entry.settings)
            if given.get("type") == "image" and not entry.problem:
                if key in images and (both := _merged_entries(found[images[key]], entry)):
                    found[images[key]] = both
                    continue
                images[key] = len(found)
            found.append(entry)
        yield from found

    def _merged(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of an entry with the defaults of the file."""
        defaults = self._defaults
        if given.get("interval") or given.get("schedule"):
            defaults = {
                name: value
                for name, value in defaults.items()
                if name not in {"interval", "schedule"}
            }
        return {**defaults, **given}

    def _entry(self, line: int, values: dict[str, Any]) -> SyncEntry:
        source, target = str(values.get("source", "")), str(values.get("target", ""))
        settings = Settings()
        try:
            kind = values.get("type")
            if kind == "registry":
                raise Unusable(
                    "type registry: mirrors keep single repositories; list them one by one, or"
                    " make an organization the mirror of a namespace, with"
                    " external_registry_type: oci"
                )
            if kind not in ("image", "repository"):
                raise Unusable(f"the type is '{kind}'; it must be image or repository")
            if _TEMPLATE.search(source + target):
                raise Unusable("source and target must not be templates")
            if kind == "image":
                source, target = self._image(source, target, settings)
            reference = upstream_of(source)
            settings.change["external_reference"] = str(reference)
            target = _path(target)
            if values.get("tagSets"):
                raise Unusable(
                    "tagSets cannot be converted: a mirror has one selection of tags; use tags"
                )
            self._select(values.get("tags") or {}, settings)
            self._access(reference, settings)
            _platforms(values, settings)
            self._schedule(values, settings)
            if values.get("referrers") is False:
                settings.options["referrers"] = "none"
            settings.notes += [
                f"{name} is ignored: {remedy}"
                for name, remedy in _WITHOUT_COUNTERPART.items()
                if values.get(name)
            ]
            settings.notes += _unknown(values)
            change = settings.finished()
        except Unusable as error:
            return SyncEntry(line, source, target, {}, problem=str(error))
        return SyncEntry(line, source, target, change, tuple(settings.notes))

    def _image(self, source: str, target: str, settings: Settings) -> tuple[str, str]:
        """Take the tag of a single image, and return the repositories."""
        if "@" in source + target:
            raise Unusable("images without a tag are not mirrored")
        (source, tag), (target, target_tag) = _split_tag(source), _split_tag(target)
        if tag != target_tag:
            raise Unusable(f"a mirror does not rename tags: '{tag}' to '{target_tag}'")
        settings.patterns = valid_tags([tag], settings)
        return source, target

    def _select(self, tags: Any, settings: Settings) -> None:
        if not isinstance(tags, dict):
            raise Unusable("tags must be a map")
        for expression in text_list(tags.get("allow") or [], "allow"):
            settings.patterns += settings.convert(expression, is_anchored=True)
        excluded: list[str] = []
        for expression in text_list(tags.get("deny") or [], "deny"):
            noted = len(settings.notes)
            excluded += settings.convert(expression, is_anchored=True)
            if len(settings.notes) > noted:
                raise Unusable(
                    f"deny: '{expression}' has no exact patterns, so the mirror would select more"
                )
        if excluded:
            settings.options["exclude"] = excluded
        if tags.get("semverRange"):
            settings.options["semver"] = version_ranges(
                text_list(tags["semverRange"], "semverRange")
            )

    def _access(self, reference: UpstreamReference, settings: Settings) -> None:
        names = (reference.registry, reference.host)
        creds = next((self._creds[name] for name in names if name in self._creds), None)
        if creds is None:
            return
        settings.notes += [
            f"{name} of creds is ignored: {remedy}"
            for name, remedy in _OF_REGISTRIES_WITHOUT_COUNTERPART.items()
            if creds.get(name)
        ]
        user, password = str(creds.get("user") or ""), str(creds.get("pass") or "")
        if _TEMPLATE.search(user + password) or creds.get("credHelper"):
            settings.notes.append(
                f"the credentials for {reference.registry} are not in the file; set them in the"
                " mirror"
            )
        elif user:
            settings.change["external_registry_username"] = user
            settings.change["external_registry_password"] = password
        tls = str(creds.get("tls") or "enabled")
        if tls == "insecure":
            settings.change["external_registry_config"] = {"verify_tls": False}
        elif tls == "disabled":
            raise Unusable("tls: disabled: an upstream must use TLS")
        if creds.get("regcert"):
            settings.options["ca_certificate"] = str(creds["regcert"])

    def _schedule(self, values: dict[str, Any], settings: Settings) -> None:
        if values.get("schedule"):
            match = _CRON.fullmatch(str(values["schedule"]).strip())
            minute, hour = (match["minute"], match["hour"]) if match else ("99", "*")
            if int(minute) >= 60 or (hour != "*" and int(hour) >= 24):  # noqa: PLR2004
                settings.notes.append(
                    f"the schedule '{values['schedule']}' is replaced by the default interval"
                )
                return
            today = self._now.astimezone(UTC).replace(minute=int(minute), second=0, microsecond=0)
            start = today if hour == "*" else today.replace(hour=int(hour))
            settings.change["sync_start_date"] = start
            settings.change["sync_interval"] = _HOUR if hour == "*" else _DAY
        elif values.get("interval"):
            match = _DURATION.fullmatch(str(values["interval"]))
            parts = (
                {unit: int(number or 0) for unit, number in match.groupdict().items()}
                if match
                else {}
            )
            seconds = parts.get("h", 0) * _HOUR + parts.get("m", 0) * 60 + parts.get("s", 0)
            if not seconds:
                raise Unusable(f"the interval '{values['interval']}' is not a duration like 60m")
            settings.change["sync_interval"] = seconds


def _unknown(values: dict[str, Any]) -> list[str]:
    """Return notes on settings that regsync does not have."""
    known = {*_CONVERTED, *_WITHOUT_COUNTERPART, *_WITHOUT_EFFECT}
    return [
        f"{str(name)[:200]} is ignored: it is no setting of regsync"
        for name in values
        if name not in known
    ]


def _merged_entries(one: SyncEntry, other: SyncEntry) -> SyncEntry | None:
    """Return an entry with the tags of both; None if these are too many patterns."""
    patterns = [*one.settings["root_rule"], *other.settings["root_rule"]]
    try:
        check_patterns(patterns)
    except ValueError:
        return None
    notes = tuple(dict.fromkeys((*one.notes, *other.notes)))
    return replace(one, settings={**one.settings, "root_rule": patterns}, notes=notes)


def _split_tag(image: str) -> tuple[str, str]:
    repository, colon, tag = image.rpartition(":")
    # A colon before the last slash belongs to a port.
    return (repository, tag) if colon and "/" not in tag else (image, "latest")


def _path(target: str) -> str:
    """Return a target without its registry."""
    host, slash, path = target.partition("/")
    is_host = bool(slash) and ("." in host or ":" in host or host == "localhost")
    return path if is_host else target


def _platforms(values: dict[str, Any], settings: Settings) -> None:
    given = values.get("platforms") or values.get("platform")
    if not given:
        return
    found = []
    for platform in text_list(given, "platforms"):
        system, _slash, architecture = platform.partition("/")
        if system != "linux" or architecture not in ARCHITECTURES:
            raise Unusable(
                f"the platform '{platform}' cannot be selected, only linux with"
                f" {', '.join(ARCHITECTURES)}"
            )
        found.append(architecture)
    settings.change["architecture_filter"] = list(dict.fromkeys(found))
    settings.notes.append("indexes keep their digests; images of other platforms are left out")


def _comparable(settings: MirrorChange) -> str:
    """Return the settings apart from the tags, as text."""
    return repr({name: value for name, value in settings.items() if name != "root_rule"})
