"""Load the bundle of this process from its directory and the environment.

Sources, later ones taking precedence, as in Quay: `config.yaml`; QUAY_OVERRIDE_CONFIG, a JSON
object that replaces whole keys; QUAY_DISTRIBUTED_STORAGE_PREFERENCE, which replaces that key. Atoll
adds ATOLL_INITIAL_SUPERUSER_PASSWORD_FILE, a file with the value of INITIAL_SUPERUSER_PASSWORD.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from atoll.config.check import check
from atoll.config.duplicate_keys import duplicate_keys
from atoll.config.fingerprint import fingerprint
from atoll.config.model import Bundle
from atoll.errors import UserError

BUNDLE_DIRECTORY = Path("/conf/stack")
PREFERENCE_VARIABLE = "QUAY_DISTRIBUTED_STORAGE_PREFERENCE"
OVERRIDE_VARIABLE = "QUAY_OVERRIDE_CONFIG"
SUPERUSER_FILE_VARIABLE = "ATOLL_INITIAL_SUPERUSER_PASSWORD_FILE"

log = logging.getLogger(__name__)


class ConfigError(UserError):
    """The bundle is invalid or cannot be read.

    Attributes:
        source: The file or environment variable with the problems.
        problems: A message for each problem.
    """

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.source = source
        self.problems = problems


def parse_preference(text: str) -> list[str]:
    """Split the environment variable's list of locations at white space and commas."""
    return [name for name in re.split(r"[\s,]+", text) if name]


def read(text: str, source: str) -> Any:
    """Parse a YAML document.

    Args:
        text: The document.
        source: The name of its file, for messages.

    Raises:
        ConfigError: The text is not YAML, or has duplicate keys.
    """
    try:
        duplicates = duplicate_keys(text)
        if duplicates:
            raise ConfigError(source, duplicates)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(source, [f"is not YAML{where}"]) from error


def load(
    environment: Mapping[str, str],
    directory: Path = BUNDLE_DIRECTORY,
    *,
    for_command: bool = False,
) -> Bundle:
    """Load the bundle from a directory, with overrides from the environment.

    Args:
        environment: The environment variables.
        directory: The bundle's directory.
        for_command: Whether an operator runs a command. Locations in the environment's preference
            that the file no longer has, as after a removal, are ignored instead of errors; and
            warnings are not logged, because servers log them and `atoll config check` prints them.

    Raises:
        ConfigError: The bundle cannot be read, or is invalid.
    """
    path = directory / "config.yaml"
    try:
        raw = read(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(
            str(path), [f"cannot be read ({reason}); mount the bundle at {directory}"]
        ) from error
    raw = _with_first_password(_override(raw, environment), environment)
    preference = _preference(environment)
    if preference is not None and for_command:
        preference = _known_locations(preference, raw)
    result = check(raw, preference)
    for warning in () if for_command else result.warnings:
        log.warning("configuration warning", extra={"file": str(path), "warning": warning})
    if result.bundle is None:
        raise ConfigError(str(path), result.problems)
    return result.bundle.model_copy(update={"fingerprint": fingerprint(raw)})


def _preference(environment: Mapping[str, str]) -> list[str] | None:
    text = environment.get(PREFERENCE_VARIABLE)
    return None if text is None else parse_preference(text)


def _known_locations(preference: list[str], raw: Any) -> list[str]:
    """Return the locations that the bundle knows; if it knows none, all, so that they are errors.

    The environment of a container does not change while the container runs.
    """
    stores = raw.get("DISTRIBUTED_STORAGE_CONFIG") if isinstance(raw, Mapping) else None
    if not isinstance(stores, Mapping):
        return preference
    known = [name for name in preference if name in stores]
    if not known:
        return preference
    for name in preference:
        if name not in stores:
            log.warning(
                "unknown location in preference, recreate this container",
                extra={"variable": PREFERENCE_VARIABLE, "location": name},
            )
    return known


def _with_first_password(raw: Any, environment: Mapping[str, str]) -> Any:
    """Add the first superuser's password from its file, which exists during migrations only.

    Raises:
        ConfigError: The file exists and cannot be read.
    """
    path = environment.get(SUPERUSER_FILE_VARIABLE)
    if not path or not isinstance(raw, dict):
        return raw
    try:
        password = Path(path).read_text(encoding="utf-8").rstrip("\n")
    except FileNotFoundError:
        return raw
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(SUPERUSER_FILE_VARIABLE, [f"{path} cannot be read ({reason})"]) from error
    return {**raw, "INITIAL_SUPERUSER_PASSWORD": password}


def _override(raw: Any, environment: Mapping[str, str]) -> Any:
    text = environment.get(OVERRIDE_VARIABLE)
    if not text:
        return raw
    try:
        override = json.loads(text)
    except ValueError as error:
        raise ConfigError(OVERRIDE_VARIABLE, ["is not a JSON object"]) from error
    if not isinstance(override, dict):
        raise ConfigError(OVERRIDE_VARIABLE, ["is not a JSON object"])
    return {**raw, **override} if isinstance(raw, dict) else raw
