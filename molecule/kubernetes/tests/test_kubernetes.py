"""Two converted QuayRegistry files run as one registry, and one site is removed without loss.

The tests depend on their order: the last one removes a site.
"""

from pathlib import Path

import pytest
from clients import Clients
from cluster import ClusterMachine
from commands import wait_until
from conftest import Registry
from load import Load, copy, write_image
from next_version import TABLE, VERSION, next_version
from rows import Rows

_COMPONENTS = ("registry", "replication", "mirror")
_SCHEMA = """
SELECT table_name, column_name, data_type FROM information_schema.columns
WHERE table_schema = 'public' ORDER BY 1, 2
"""
_APPLIED = "SELECT * FROM schema_migration ORDER BY 1"
_LACKING = """
SELECT count(*) FROM imagestorage s
WHERE (SELECT count(*) FROM imagestorageplacement p WHERE p.storage_id = s.id) < 2
"""


def push(clients: Clients, folder: Path, host: str, name: str) -> str:
    """Push a new image to a host, and return its digest."""
    digest = write_image(folder / "layout")
    assert not copy(clients, f"oci:{folder / 'layout'}:1", f"docker://{host}/{name}")
    return digest


def restart(machine: ClusterMachine, load: Load) -> None:
    """Play the manifests of a machine, and wait until further images are pulled."""
    machine.restart()
    pulls = load.pulls
    wait_until("images are pulled", lambda: load.pulls > pulls)


def common_bundle(registry: Registry) -> str:
    """Return the fingerprint of the bundle of all instances, when all report the same one."""
    machines = registry.machines
    names = {f"{machine.name}-{component}" for machine in machines for component in _COMPONENTS}
    found: dict[str, str] = {}

    def agree() -> bool:
        found.clear()
        found.update(registry.us.fingerprints())
        return found.keys() == names and len(set(found.values())) == 1

    wait_until("all instances report the same bundle", agree)
    return found.popitem()[1]


@pytest.fixture(scope="session")
def pushed(clients: Clients, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Push images through the load balancer, and return their digests by name."""
    folder = tmp_path_factory.mktemp("images")
    names = [f"admin/app:{number}" for number in range(3)]
    return {name: push(clients, folder, clients.registry, name) for name in names}


def test_each_process_has_the_preference_of_its_quay_registry(registry: Registry) -> None:
    for machine in registry.machines:
        for component in _COMPONENTS:
            value = machine.execute(
                component, "printenv", "QUAY_DISTRIBUTED_STORAGE_PREFERENCE"
            ).strip()
            assert value == machine.location, component


def test_an_image_is_complete_at_both_sites_and_pulled_by_the_name_of_the_registry(
    registry: Registry, clients: Clients, pushed: dict[str, str], database: Rows
) -> None:
    registry.us.atoll("wait")
    assert database(_LACKING) == [(0,)]
    for name, digest in pushed.items():
        for host in (clients.registry, *(machine.address for machine in registry.machines)):
            assert clients.skopeo_pull(host, name) == digest


def test_the_status_has_both_sites_without_a_finding(registry: Registry) -> None:
    outcome = registry.play("status")
    assert outcome.status == 0, outcome.output


def test_a_second_migration_changes_nothing(registry: Registry, database: Rows) -> None:
    before = database(_SCHEMA), database(_APPLIED)
    registry.eu.migrate()
    assert (database(_SCHEMA), database(_APPLIED)) == before


def test_a_changed_bundle_is_played_on_one_machine_after_the_other_without_a_failed_request(
    registry: Registry, clients: Clients, pushed: dict[str, str], tmp_path: Path
) -> None:
    before = common_bundle(registry)
    registry.convert({**registry.lab.bundle, "REGISTRY_TITLE": "Two clusters"}, ["us", "eu"])
    registry.render()
    with Load(clients, tmp_path, "admin/load") as load:
        for machine in registry.machines:
            machine.copy_manifests()
            restart(machine, load)
    assert load.failures == []
    pushed.update(load.pushed)
    assert common_bundle(registry) != before


def test_two_versions_serve_side_by_side_during_an_upgrade(
    registry: Registry,
    clients: Clients,
    pushed: dict[str, str],
    database: Rows,
    tmp_path: Path,
) -> None:
    (before,) = registry.us.versions()
    ((last,),) = database("SELECT max(number) FROM schema_migration")
    with next_version(tmp_path, last + 1) as archive:
        registry.load_image(archive)
    registry.convert({**registry.lab.bundle, "REGISTRY_TITLE": "Two versions"}, ["us", "eu"])
    registry.render()
    for machine in registry.machines:
        machine.copy_manifests()
    seen = []
    with Load(clients, tmp_path, "admin/upgrade") as load:
        registry.us.migrate()
        migrated = database(_SCHEMA), database(_APPLIED)
        registry.eu.migrate()
        assert (database(_SCHEMA), database(_APPLIED)) == migrated
        for machine in registry.machines:
            restart(machine, load)
            seen.append(registry.us.versions())
    assert database(f"SELECT to_regclass('{TABLE}') IS NOT NULL") == [(True,)]
    assert seen[:-1] == [{before, VERSION}] * 3
    # An instance that was killed counts for a while.
    wait_until("only the next version runs", lambda: registry.us.versions() == {VERSION})
    assert load.failures == []
    pushed.update(load.pushed)


def test_a_site_is_removed_with_the_commands_of_quay_and_without_loss(
    registry: Registry,
    clients: Clients,
    pushed: dict[str, str],
    database: Rows,
    tmp_path: Path,
) -> None:
    leaving = registry.eu.location
    # Its first copy is at the site that leaves.
    pushed["admin/app:eu"] = push(clients, tmp_path, registry.eu.address, "admin/app:eu")
    registry.us.execute("registry", "python", "-m", "util.backfillreplication")
    registry.us.atoll(f"drain {leaving} --wait")
    assert database(_LACKING) == [(0,)]

    bundle = {**registry.lab.bundle, "REGISTRY_TITLE": "One cluster"}
    for key in ("DISTRIBUTED_STORAGE_PREFERENCE", "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS"):
        bundle[key] = [one for one in bundle[key] if one != leaving]
    stores = bundle["DISTRIBUTED_STORAGE_CONFIG"]
    bundle["DISTRIBUTED_STORAGE_CONFIG"] = {
        name: store for name, store in stores.items() if name != leaving
    }
    registry.convert(bundle, ["us"])
    registry.render()
    for machine in registry.of("eu"):
        machine.stop()
    for machine in registry.of("us"):
        machine.copy_manifests()
        machine.restart()
    answer = registry.us.execute(
        "registry", "python", "-m", "util.removelocation", leaving, given="y\n"
    )

    assert "WARNING: This is a destructive operation." in answer
    assert "Deleted placement " in answer
    assert answer.rstrip().endswith(f"Deleted location {leaving}")
    for name, digest in pushed.items():
        assert clients.skopeo_pull(clients.registry, name) == digest
