"""Read the bundle of this process: the file, then the environment.

Order, as in Quay: `config.yaml`, QUAY_OVERRIDE_CONFIG (a JSON object that replaces whole keys),
QUAY_DISTRIBUTED_STORAGE_PREFERENCE (replaces the preference). Atoll's own is
ATOLL_INITIAL_SUPERUSER_PASSWORD_FILE, a file with the value of INITIAL_SUPERUSER_PASSWORD.
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
from atoll.config.duplicates import doubled_keys
from atoll.config.fingerprint import fingerprint
from atoll.config.model import Bundle

BUNDLE_DIRECTORY = Path("/conf/stack")
PREFERENCE_VARIABLE = "QUAY_DISTRIBUTED_STORAGE_PREFERENCE"
OVERRIDE_VARIABLE = "QUAY_OVERRIDE_CONFIG"
SUPERUSER_FILE_VARIABLE = "ATOLL_INITIAL_SUPERUSER_PASSWORD_FILE"

log = logging.getLogger(__name__)


class ConfigError(Exception):
    """A bundle that cannot be used. `problems` holds one sentence for each mistake."""

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.source = source
        self.problems = problems


def parse_preference(text: str) -> list[str]:
    """Return the locations that the environment variable lists: by white space or commas."""
    return [name for name in re.split(r"[\s,]+", text) if name]


def read(text: str, source: str) -> Any:
    """Return what the YAML document TEXT holds, or raise ConfigError; also for a doubled key."""
    try:
        doubled = doubled_keys(text)
        if doubled:
            raise ConfigError(source, doubled)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(source, [f"is not YAML{where}"]) from error


def load(
    environment: Mapping[str, str],
    directory: Path = BUNDLE_DIRECTORY,
    *,
    forgotten_locations: bool = False,
) -> Bundle:
    """Return the bundle in DIRECTORY as ENVIRONMENT changes it, or raise ConfigError.

    With FORGOTTEN_LOCATIONS the environment's preference may name some that the file has not (any
    more), which are left out.
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
    if preference is not None and forgotten_locations:
        preference = _without_forgotten(preference, raw)
    result = check(raw, preference)
    for warning in result.warnings:
        log.warning("%s: %s", path, warning)
    if result.bundle is None:
        raise ConfigError(str(path), result.problems)
    return result.bundle.model_copy(update={"fingerprint": fingerprint(raw)})


def _preference(environment: Mapping[str, str]) -> list[str] | None:
    text = environment.get(PREFERENCE_VARIABLE)
    return None if text is None else parse_preference(text)


def _without_forgotten(preference: list[str], raw: Any) -> list[str]:
    """Return what of PREFERENCE the bundle knows; all of it if that is nothing."""
    stores = raw.get("DISTRIBUTED_STORAGE_CONFIG") if isinstance(raw, Mapping) else None
    if not isinstance(stores, Mapping):
        return preference
    known = [name for name in preference if name in stores]
    if not known:
        return preference
    for name in preference:
        if name not in stores:
            log.warning(
                "%s: the bundle does not know %s; this container is from before it was written and"
                " has to be started again",
                PREFERENCE_VARIABLE,
                name,
            )
    return known


def _with_first_password(raw: Any, environment: Mapping[str, str]) -> Any:
    """Return RAW with the first superuser's password from its file.

    The file exists during the first migration only; without it RAW is returned unchanged.

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
