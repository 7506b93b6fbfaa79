"""The commands of the image, as written in Quay's documentation."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest
from atoll import exit_codes

from ..integration.services import Services
from .running import USER, RunningImage, run_once, write_bundle


def test_help_needs_no_bundle_and_lists_every_command(services: Services) -> None:
    answer = run_once(services, None, "help")
    assert answer.returncode == 0
    for command in ("registry", "repomirror", "replication", "migrate", "shell", "config"):
        assert command in answer.stdout


def test_shell_starts_a_shell(services: Services) -> None:
    answer = run_once(services, None, "shell", text="id -u; atoll --version; exit 3\n")
    assert answer.returncode == 3
    assert answer.stdout.splitlines()[0] == str(USER)
    assert answer.stdout.splitlines()[1].startswith("atoll ")


def test_an_unknown_command_is_refused_with_the_known_ones(services: Services) -> None:
    answer = run_once(services, None, "regsitry")
    assert answer.returncode == 2
    assert "regsitry" in answer.stdout
    assert "repomirror" in answer.stdout


def test_migrate_creates_the_schema_and_can_be_repeated(services: Services, tmp_path: Path) -> None:
    connection = psycopg2.connect(services.postgres_uri)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE migrated_by_the_image")
    connection.close()
    stack = write_bundle(services, "migrated_by_the_image", tmp_path)
    for _ in range(2):
        answer = run_once(services, stack, "migrate")
        assert answer.returncode == 0, answer.stdout
    uri = services.postgres_uri.rpartition("/")[0] + "/migrated_by_the_image"
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM imagestoragelocation")
        assert {row[0] for row in cursor} == {"usstorage", "eustorage"}


def test_config_check_reads_a_bundle_from_standard_input(
    services: Services, database: str, tmp_path: Path
) -> None:
    text = (write_bundle(services, database, tmp_path) / "config.yaml").read_text()
    good = run_once(services, None, "config", "check", "-", text=text)
    assert good.returncode == 0
    *warnings, verdict = good.stdout.splitlines()
    assert verdict == "-: valid"
    # The services of the tests have no TLS.
    assert all(line.startswith("-: warning: ") for line in warnings), good.stdout
    wrong = run_once(services, None, "config", "check", "-", "--preference", "atlantis", text=text)
    assert wrong.returncode == exit_codes.FAILED
    assert "atlantis" in wrong.stdout


def test_config_check_can_write_to_a_store(image: RunningImage) -> None:
    words = ("atoll", "config", "check", "/conf/stack/config.yaml", "--probe")
    good = image.run(*words, "eustorage")
    assert good.returncode == 0, good.stdout
    wrong = image.run(*words, "atlantis")
    assert wrong.returncode == exit_codes.FAILED
    assert "there is no location 'atlantis'" in wrong.stdout


def test_operator_commands_work_in_the_running_container(image: RunningImage) -> None:
    assert image.run("atoll", "healthcheck").returncode == 0
    status = image.run("atoll", "status")
    assert status.returncode == 0, status.stdout
    answer = image.run("atoll", "repository", "create", "admin/by-hand")
    assert answer.returncode == 0, answer.stdout


def test_quays_utilities_work_in_the_running_container(image: RunningImage) -> None:
    assert image.run("python", "-m", "util.backfillreplication").returncode == 0
    refused = image.run("python", "-m", "util.removelocation", "--help")
    assert refused.returncode == 0
    assert "python -m util.removelocation" in refused.stdout


def _without_certificate(stack: Path) -> None:
    (stack / "ssl.cert").unlink()


def _with_an_invalid_ca_certificate(stack: Path) -> None:
    (stack / "extra_ca_certs/broken.crt").write_text("not a certificate")


def _with_a_key_readable_by_root_only(stack: Path) -> None:
    (stack / "ssl.key").chmod(0o000)


@pytest.mark.parametrize(
    ("changes", "damage", "message"),
    [
        ({"DB_URI": None}, None, "DB_URI"),
        ({"DISTRIBUTED_STORAGE_PREFERENCE": ["atlantis"]}, None, "atlantis"),
        ({"MAXIMUM_LAYER_SIZE": "much"}, None, "MAXIMUM_LAYER_SIZE"),
        ({}, _without_certificate, "ssl.key alone"),
        ({}, _with_a_key_readable_by_root_only, "ssl.cert and ssl.key cannot be read"),
        ({}, _with_an_invalid_ca_certificate, "extra_ca_certs/broken.crt"),
    ],
    ids=["no-db", "no-location", "no-size", "no-certificate", "unreadable-key", "invalid-ca"],
)
def test_an_invalid_bundle_ends_the_container_with_a_message(
    services: Services,
    database: str,
    tmp_path: Path,
    changes: dict[str, object | None],
    damage: object,
    message: str,
) -> None:
    stack = write_bundle(services, database, tmp_path, changes)
    if callable(damage):
        damage(stack)
    answer = run_once(services, stack, "registry")
    assert answer.returncode == exit_codes.CONFIG
    assert message in answer.stdout
    assert "Traceback" not in answer.stdout


def test_a_missing_bundle_is_reported_with_the_missing_mount(services: Services) -> None:
    answer = run_once(services, None)
    assert answer.returncode == exit_codes.CONFIG
    assert "mount the bundle at /conf/stack" in answer.stdout
