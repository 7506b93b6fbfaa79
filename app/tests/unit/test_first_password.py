"""The first superuser's password is read from a file that exists only at the first migration."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from atoll.config import Bundle, ConfigError, load
from atoll.config.fingerprint import fingerprint

from .valid_bundle import valid_bundle

VARIABLE = "ATOLL_INITIAL_SUPERUSER_PASSWORD_FILE"


def loaded(directory: Path, file: Path, **changes: object) -> Bundle:
    (directory / "config.yaml").write_text(
        yaml.safe_dump(valid_bundle(SUPER_USERS=["admin"], **changes))
    )
    return load({VARIABLE: str(file)}, directory)


def test_the_password_is_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from the file\n")
    password = loaded(tmp_path, file).initial_superuser_password
    assert password is not None
    assert password.get_secret_value() == "from the file"


def test_a_removed_file_leaves_the_bundle_unchanged(tmp_path: Path) -> None:
    assert loaded(tmp_path, tmp_path / "none").initial_superuser_password is None
    own = loaded(tmp_path, tmp_path / "none", INITIAL_SUPERUSER_PASSWORD="from the bundle")
    assert own.initial_superuser_password is not None


def test_the_password_in_the_file_is_validated_like_the_key(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("short\n")
    with pytest.raises(ConfigError, match="INITIAL_SUPERUSER_PASSWORD: must have at least"):
        loaded(tmp_path, file)


def test_an_unreadable_file_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{VARIABLE}: .* cannot be read"):
        loaded(tmp_path, tmp_path)


def test_sites_with_and_without_the_password_have_no_drift() -> None:
    assert fingerprint(valid_bundle(INITIAL_SUPERUSER_PASSWORD="x" * 16)) == fingerprint(
        valid_bundle()
    )
