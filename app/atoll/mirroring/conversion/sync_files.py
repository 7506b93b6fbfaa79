"""Mirrors in the configuration files of skopeo sync and regsync."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml
from pydantic import ValidationError

from atoll.errors import UserError
from atoll.mirroring.mirrors import MirrorChange
from atoll.mirroring.rules.globs import check_patterns
from atoll.mirroring.rules.semantic_versions import InvalidRange, VersionRange
from atoll.mirroring.rules.settings import ARCHITECTURES, MirrorOptions
from atoll.mirroring.rules.tag_patterns import REPETITIONS_MAXIMUM, NotConvertible, tag_patterns
from atoll.names import Digest, is_tag
from atoll.upstream.errors import InvalidReference
from atoll.upstream.reference import UpstreamReference

_SIZE_MAXIMUM = 1024 * 1024
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


@dataclass(frozen=True)
class SyncEntry:
    """A repository in a configuration file.

    Attributes:
        line: the line of the file, from 1.
        source: the upstream repository as the file names it.
        target: the path of the repository that is to become a mirror; it has no namespace if the
            file names none.
        settings: the settings of the mirror, without the robot; empty with a problem.
        notes: what the mirror does differently.
        problem: why there cannot be a mirror; empty if there can.
    """

    line: int
    source: str
    target: str
    settings: MirrorChange
    notes: tuple[str, ...] = ()
    problem: str = ""


def read_sync_file(text: str, now: datetime) -> list[SyncEntry]:
    """Return the entries of a file of skopeo sync or regsync, in the order of the file.

    Args:
        text: the content of the file.
        now: the current time.

    Raises:
        UserError: the text is neither.
    """
    root = _compose(text)
    keys = {str(key.value) for key, _value in root.value}
    if "sync" in keys:
        return list(_Regsync(root, now).entries())
    return list(_skopeo_entries(root))


class _Unusable(Exception):
    """An entry cannot become a mirror; the message is the cause."""


class _Settings:
    """The settings of one entry, and the notes on them."""

    def __init__(self) -> None:
        self.change: MirrorChange = {}
        self.options: dict[str, Any] = {}
        self.patterns: list[str] = []
        self.notes: list[str] = []

    def convert(self, expression: str, *, is_anchored: bool) -> list[str]:
        """Return the patterns of a regular expression. Raises _Unusable."""
        try:
            found = tag_patterns(expression, is_anchored=is_anchored)
        except NotConvertible as error:
            raise _Unusable(str(error)) from error
        if not found.is_exact:
            self.notes.append(
                f"'{expression}' selects at most {REPETITIONS_MAXIMUM} repetitions of a character"
            )
        return list(found.patterns)

    def finished(self) -> MirrorChange:
        """Return the settings. Raises _Unusable."""
        change: MirrorChange = {**self.change, "root_rule": self.patterns or ["*"]}
        try:
            check_patterns(self.patterns)
        except ValueError as error:
            raise _Unusable(f"the patterns of the tags: {error}") from error
        try:
            MirrorOptions.model_validate(self.options)
        except ValidationError as error:
            wrong = error.errors()[0]
            raise _Unusable(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from error
        if self.options:
            change["options"] = self.options
        return change


def _compose(text: str) -> yaml.MappingNode:
    if len(text) > _SIZE_MAXIMUM:
        raise UserError("the file is larger than 1 MiB")
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"the file is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(root, yaml.MappingNode):
        raise UserError(
            "the file is no configuration of skopeo sync or regsync: it must be a map of"
            " registries, or have the key sync"
        )
    return root


def _items(node: yaml.Node, name: str) -> Iterator[tuple[str, yaml.Node, int]]:
    """Yield the keys, values and lines of a map. Raises UserError."""
    if isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~"):
        return
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"line {_line(node)}: {name} must be a map")
    for key, value in node.value:
        yield str(key.value), value, _line(key)


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _value(node: yaml.Node) -> Any:
    """Return the value of a node without nested maps of its own tags. Raises UserError."""
    try:
        return yaml.safe_load(yaml.serialize(node, Dumper=yaml.SafeDumper))
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"line {_line(node)}: the value is malformed") from error


def _strings(value: Any, name: str) -> list[str]:
    """Return a list of texts. Raises _Unusable."""
    found = value if isinstance(value, list) else [value]
    if any(isinstance(one, (dict, list)) or one is None for one in found):
        raise _Unusable(f"{name} must be a list of texts")
    return [str(one) for one in found]


def _reference(text: str) -> UpstreamReference:
    """Return an upstream repository; Docker Hub is the default registry. Raises _Unusable."""
    host, slash, _rest = text.partition("/")
    is_host = bool(slash) and ("." in host or ":" in host or host == "localhost")
    try:
        return UpstreamReference.parse(text if is_host else f"docker.io/{text}")
    except InvalidReference as error:
        raise _Unusable(str(error)) from error


# skopeo sync


def _skopeo_entries(root: yaml.MappingNode) -> Iterator[SyncEntry]:
    for registry, node, _number in _items(root, "the file"):
        sections = {key: value for key, value, _line_of in _items(node, registry)}
        common = _skopeo_access(sections)
        for section in ("images", "images-by-tag-regex", "images-by-semver"):
            if section not in sections:
                continue
            for image, selection, line in _items(sections[section], section):
                source = f"{registry}/{image}"
                yield _skopeo_entry(line, source, section, _value(selection), common)


def _skopeo_access(sections: dict[str, yaml.Node]) -> _Settings:
    """Return the settings of all repositories of a registry."""
    found = _Settings()
    if "credentials" in sections:
        given = _value(sections["credentials"])
        if isinstance(given, dict) and given.get("username"):
            found.change["external_registry_username"] = str(given["username"])
            found.change["external_registry_password"] = str(given.get("password", ""))
    if "tls-verify" in sections and _value(sections["tls-verify"]) is False:
        found.change["external_registry_config"] = {"verify_tls": False}
    if "cert-dir" in sections:
        found.notes.append("cert-dir is ignored; set the option ca_certificate of the mirror")
    return found


def _skopeo_entry(
    line: int, source: str, section: str, selection: Any, common: _Settings
) -> SyncEntry:
    target = source.rpartition("/")[2]
    settings = _Settings()
    settings.change = {**common.change}
    settings.notes = [*common.notes]
    try:
        settings.change["external_reference"] = str(_reference(source))
        if section == "images-by-tag-regex":
            settings.patterns = settings.convert(str(selection), is_anchored=False)
        elif section == "images-by-semver":
            settings.options["semver"] = _ranges([str(selection)])
        else:
            settings.patterns = _tags(_strings(selection or [], section), settings)
        change = settings.finished()
    except _Unusable as error:
        return SyncEntry(line, source, target, {}, problem=str(error))
    return SyncEntry(line, source, target, change, tuple(settings.notes))


def _tags(tags: Sequence[str], settings: _Settings) -> list[str]:
    digests = [tag for tag in tags if Digest.is_digest(tag)]
    if digests:
        settings.notes.append("images without a tag are not mirrored: " + ", ".join(digests))
    found = [tag for tag in tags if tag not in digests]
    if wrong := [tag for tag in found if not is_tag(tag)]:
        raise _Unusable(f"'{wrong[0][:200]}' is not a valid tag")
    if tags and not found:
        raise _Unusable("it lists no tags, and images without a tag are not mirrored")
    return found


def _ranges(ranges: Sequence[str]) -> list[str]:
    try:
        for one in ranges:
            VersionRange.parse(one)
    except InvalidRange as error:
        raise _Unusable(str(error)) from error
    return list(ranges)


# regsync


class _Regsync:
    """A file of regsync."""

    def __init__(self, root: yaml.MappingNode, now: datetime) -> None:
        self._now = now
        sections = {key: node for key, node, _number in _items(root, "the file")}
        defaults = _value(sections["defaults"]) if "defaults" in sections else {}
        self._defaults = defaults if isinstance(defaults, dict) else {}
        creds = _value(sections["creds"]) if "creds" in sections else []
        listed = creds if isinstance(creds, list) else []
        self._creds = {str(one.get("registry")): one for one in listed if isinstance(one, dict)}
        self._sync = sections["sync"]
        if not isinstance(self._sync, yaml.SequenceNode):
            raise UserError(f"line {_line(self._sync)}: sync must be a list")

    def entries(self) -> Iterator[SyncEntry]:
        """Yield the entries; those of single images of one repository become one."""
        images: dict[tuple[str, str, str], SyncEntry] = {}
        found: list[SyncEntry] = []
        for node in self._sync.value:
            given = _value(node)
            line = _line(node)
            if not isinstance(given, dict):
                raise UserError(f"line {line}: an entry of sync must be a map")
            entry = self._entry(line, {**self._defaults, **given}, given)
            key = entry.source, entry.target, _comparable(entry.settings)
            if given.get("type") == "image" and not entry.problem and key in images:
                # The pattern lists are the same object as in the listed entry.
                images[key].settings["root_rule"] += entry.settings["root_rule"]
                continue
            if given.get("type") == "image":
                images[key] = entry
            found.append(entry)
        yield from found

    def _entry(self, line: int, values: dict[str, Any], given: dict[str, Any]) -> SyncEntry:
        source, target = str(values.get("source", "")), str(values.get("target", ""))
        settings = _Settings()
        try:
            kind = values.get("type")
            if kind == "registry":
                raise _Unusable(
                    "type registry: mirrors keep single repositories; list them one by one"
                )
            if kind not in ("image", "repository"):
                raise _Unusable(f"the type is '{kind}'; it must be image or repository")
            if _TEMPLATE.search(source + target):
                raise _Unusable("source and target must not be templates")
            if kind == "image":
                source, target = self._image(source, target, settings)
            reference = _reference(source)
            settings.change["external_reference"] = str(reference)
            target = _path(target)
            self._select(values.get("tags") or {}, settings)
            self._access(reference, settings)
            _platforms(values, settings)
            self._schedule(values, settings)
            if given.get("referrers") is False:
                settings.options["referrers"] = "none"
            settings.notes += [
                f"{name} is ignored: {remedy}"
                for name, remedy in _WITHOUT_COUNTERPART.items()
                if values.get(name)
            ]
            change = settings.finished()
        except _Unusable as error:
            return SyncEntry(line, source, target, {}, problem=str(error))
        return SyncEntry(line, source, target, change, tuple(settings.notes))

    def _image(self, source: str, target: str, settings: _Settings) -> tuple[str, str]:
        """Take the tag of a single image, and return the repositories."""
        if "@" in source + target:
            raise _Unusable("images without a tag are not mirrored")
        (source, tag), (target, target_tag) = _split_tag(source), _split_tag(target)
        if tag != target_tag:
            raise _Unusable(f"a mirror does not rename tags: '{tag}' to '{target_tag}'")
        settings.patterns = _tags([tag], settings)
        return source, target

    def _select(self, tags: Any, settings: _Settings) -> None:
        if not isinstance(tags, dict):
            raise _Unusable("tags must be a map")
        for expression in _strings(tags.get("allow") or [], "allow"):
            settings.patterns += settings.convert(expression, is_anchored=True)
        excluded: list[str] = []
        for expression in _strings(tags.get("deny") or [], "deny"):
            noted = len(settings.notes)
            excluded += settings.convert(expression, is_anchored=True)
            if len(settings.notes) > noted:
                raise _Unusable(
                    f"deny: '{expression}' has no exact patterns, so the mirror would select more"
                )
        if excluded:
            settings.options["exclude"] = excluded
        if tags.get("semverRange"):
            settings.options["semver"] = _ranges(_strings(tags["semverRange"], "semverRange"))

    def _access(self, reference: UpstreamReference, settings: _Settings) -> None:
        names = (reference.registry, reference.host)
        creds = next((self._creds[name] for name in names if name in self._creds), None)
        if creds is None:
            return
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
            raise _Unusable("tls: disabled: an upstream must use TLS")
        if creds.get("regcert"):
            settings.options["ca_certificate"] = str(creds["regcert"])

    def _schedule(self, values: dict[str, Any], settings: _Settings) -> None:
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
                raise _Unusable(f"the interval '{values['interval']}' is not a duration like 60m")
            settings.change["sync_interval"] = seconds


def _split_tag(image: str) -> tuple[str, str]:
    repository, colon, tag = image.rpartition(":")
    # A colon before the last slash belongs to a port.
    return (repository, tag) if colon and "/" not in tag else (image, "latest")


def _path(target: str) -> str:
    """Return a target without its registry."""
    host, slash, path = target.partition("/")
    is_host = bool(slash) and ("." in host or ":" in host or host == "localhost")
    return path if is_host else target


def _platforms(values: dict[str, Any], settings: _Settings) -> None:
    given = values.get("platforms") or values.get("platform")
    if not given:
        return
    found = []
    for platform in _strings(given, "platforms"):
        system, _slash, architecture = platform.partition("/")
        if system != "linux" or architecture not in ARCHITECTURES:
            raise _Unusable(
                f"the platform '{platform}' cannot be selected, only linux with"
                f" {', '.join(ARCHITECTURES)}"
            )
        found.append(architecture)
    settings.change["architecture_filter"] = list(dict.fromkeys(found))
    settings.notes.append("indexes keep their digests; images of other platforms are left out")


def _comparable(settings: MirrorChange) -> str:
    """Return the settings apart from the tags, as text."""
    return repr({name: value for name, value in settings.items() if name != "root_rule"})
