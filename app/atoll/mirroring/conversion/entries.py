"""The entries of a file of another tool, and the settings of mirrors that they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from atoll.errors import AtollError
from atoll.invalid_input import first_problem
from atoll.mirroring.mirrors import MirrorChange
from atoll.mirroring.rules.globs import check_patterns
from atoll.mirroring.rules.semantic_versions import InvalidRange, VersionRange
from atoll.mirroring.rules.settings import MirrorOptions
from atoll.mirroring.rules.tag_patterns import REPETITIONS_MAXIMUM, NotConvertible, tag_patterns
from atoll.mirroring.rules.texts import Password, Username
from atoll.names import Digest, is_tag
from atoll.upstream.errors import InvalidReference
from atoll.upstream.reference import UpstreamReference

_CREDENTIALS: dict[str, TypeAdapter[str]] = {
    "external_registry_username": TypeAdapter(Username),
    "external_registry_password": TypeAdapter(Password),
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


class Unusable(AtollError):
    """An entry cannot become a mirror; the message is the cause."""


class Settings:
    """The settings of one entry, and the notes on them."""

    def __init__(self) -> None:
        self.change: MirrorChange = {}
        self.options: dict[str, Any] = {}
        self.patterns: list[str] = []
        self.notes: list[str] = []

    def convert(self, expression: str, *, is_anchored: bool) -> list[str]:
        """Return the patterns of a regular expression. Raises Unusable."""
        try:
            found = tag_patterns(expression, is_anchored=is_anchored)
        except NotConvertible as error:
            raise Unusable(str(error)) from error
        if not found.is_exact:
            self.notes.append(
                f"'{expression}' selects at most {REPETITIONS_MAXIMUM} repetitions of a character"
            )
        return list(found.patterns)

    def finished(self) -> MirrorChange:
        """Return the settings. Raises Unusable."""
        change: MirrorChange = {**self.change, "root_rule": self.patterns or ["*"]}
        try:
            check_patterns(self.patterns)
        except ValueError as error:
            raise Unusable(f"the patterns of the tags: {error}") from error
        try:
            MirrorOptions.model_validate(self.options)
        except ValidationError as error:
            field, text = first_problem(error)
            raise Unusable(f"{field}: {text}") from error
        for name, adapter in _CREDENTIALS.items():
            try:
                adapter.validate_python(change.get(name, "-"))
            except ValidationError as error:
                raise Unusable(f"{name}: {first_problem(error)[1]}") from error
        if self.options:
            change["options"] = self.options
        return change


def text_list(value: Any, name: str) -> list[str]:
    """Return a list of texts. Raises Unusable."""
    found = value if isinstance(value, list) else [value]
    if any(isinstance(one, (dict, list)) or one is None for one in found):
        raise Unusable(f"{name} must be a list of texts")
    return [str(one) for one in found]


def upstream_of(text: str) -> UpstreamReference:
    """Return an upstream repository; Docker Hub is the default registry. Raises Unusable."""
    host, slash, _rest = text.partition("/")
    is_host = bool(slash) and ("." in host or ":" in host or host == "localhost")
    try:
        return UpstreamReference.parse(text if is_host else f"docker.io/{text}")
    except InvalidReference as error:
        raise Unusable(str(error)) from error


def valid_tags(tags: Sequence[str], settings: Settings) -> list[str]:
    """Return listed tags without digests, which are noted. Raises Unusable."""
    digests = [tag for tag in tags if Digest.is_digest(tag)]
    if digests:
        settings.notes.append("images without a tag are not mirrored: " + ", ".join(digests))
    found = [tag for tag in tags if tag not in digests]
    if wrong := [tag for tag in found if not is_tag(tag)]:
        raise Unusable(f"'{wrong[0][:200]}' is not a valid tag")
    if tags and not found:
        raise Unusable("it lists no tags, and images without a tag are not mirrored")
    return found


def version_ranges(ranges: Sequence[str]) -> list[str]:
    """Return ranges of versions. Raises Unusable."""
    try:
        for one in ranges:
            VersionRange.parse(one)
    except InvalidRange as error:
        raise Unusable(str(error)) from error
    return list(ranges)
