"""The store of a removed location is emptied, and no other objects are deleted."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from atoll.cluster.instances import Instances
from atoll.placement.locations.remove import Removal
from atoll.placement.locations.states import LocationTable
from atoll.server.heartbeat import HeartbeatThread
from atoll.storage.base import ObjectStore
from atoll.storage.errors import ObjectMissing
from atoll.storage.states import DRAINING

from .services import Services, wait_until
from .site import Client, Site, bundle, make_site_services

REPOSITORY = "admin/app"
# The objects that probes of a store write.
PROBED = {"_verify", "_location"}


@dataclass
class Remaining:
    """A site whose bundle lacks the removed usstorage, and a bundle that still has it."""

    site: Site
    old_bundle: Path

    def purge(self, *words: str) -> tuple[int, dict[str, object], str]:
        status, out, err = self.site.command_here(
            "purge-store", "usstorage", "--config", str(self.old_bundle), "--json", *words
        )
        return status, json.loads(out) if out else {}, err


@pytest.fixture
def remaining(services: Services, database: str, tmp_path: Path) -> Remaining:
    old = bundle(services, database)
    changes = {
        "DISTRIBUTED_STORAGE_CONFIG": {"eustorage": services.eu.settings},
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["eustorage"],
        "DISTRIBUTED_STORAGE_PREFERENCE": ["eustorage"],
        "FEATURE_STORAGE_REPLICATION": False,
    }
    directory = tmp_path / "elsewhere"
    site_services = make_site_services(services, database, directory, "eustorage", changes)
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(old))
    return Remaining(Site("", "", site_services, directory, "eustorage"), tmp_path / "old.yaml")


def keys(store: ObjectStore) -> list[str]:
    return [stored.key for stored in store.list_objects("")]


def remove(site: Site, location: str) -> None:
    LocationTable(site.services.database).set_state(location, DRAINING)
    for _ in Removal(LocationTable(site.services.database)).steps(location):
        continue


def test_all_objects_below_the_path_and_unfinished_parts_are_deleted(
    us: Site, remaining: Remaining
) -> None:
    store, other = us.locations.stores["usstorage"], us.locations.stores["eustorage"]
    other.put("sha256/ab/abcd", b"kept", 4)
    remove(us, "usstorage")
    for number in range(5):
        store.put(f"sha256/ab/ab{number}", b"old", 3)
    upload = store.begin_parts("uploads/one/1")
    store.put_part("uploads/one/1", upload, 1, b"part", 4)
    status, found, _ = remaining.purge("--dry-run")
    sizes = [stored.size for stored in store.list_objects("")]
    counted = (status, found["objects"], found["bytes"], found["deleted"])
    assert counted == (0, len(sizes), sum(sizes), False)
    status, done, _ = remaining.purge("--yes", "--limit", "3")
    assert (status, done["objects"], done["complete"], done["uploads"]) == (0, 3, False, 0)
    status, done, _ = remaining.purge("--yes")
    assert (status, done["complete"], done["uploads"]) == (0, True, 1)
    # Unlike at a removed site, the probes of this one still run and may write their objects again.
    assert set(keys(store)) <= PROBED
    with pytest.raises(ObjectMissing):
        store.stored_parts("uploads/one/1", upload)
    assert "sha256/ab/abcd" in keys(other)
    status, done, _ = remaining.purge("--yes")
    assert (status, done["complete"], done["uploads"]) == (0, True, 0)
    assert done["objects"] <= len(PROBED)


def test_the_store_of_an_existing_location_is_not_purged(us: Site, remaining: Remaining) -> None:
    Client(us).push_blob(REPOSITORY, b"needed")
    before = keys(us.locations.stores["usstorage"])
    status, _, err = remaining.purge("--yes")
    assert (status, "first: atoll remove-location usstorage" in err) == (1, True)
    # A dry run is always permitted.
    assert remaining.purge("--dry-run")[1]["objects"] == len(before)
    us.services.database.run("DELETE FROM imagestorageplacement")
    remove(us, "usstorage")
    heartbeat = HeartbeatThread(us.services, "registry")
    heartbeat.start()
    instances = Instances(us.services.database)
    wait_until(
        "the instance's report is stored",
        lambda: instances.reachability("usstorage").reachable_from != [],
    )
    status, _, err = remaining.purge("--yes")
    assert (status, "still in the bundle of registry on" in err) == (1, True)
    heartbeat.stop()
    words = ("purge-store", "usstorage", "--config", str(remaining.old_bundle), "--yes")
    status, _, err = us.command_here(*words)
    assert (status, "still in the bundle of this site" in err) == (1, True)
    status, _, err = remaining.site.command_here(*words[:-1])
    assert (status, "confirm with --yes" in err) == (1, True)
    assert set(before) <= set(keys(us.locations.stores["usstorage"]))


def test_a_bucket_and_path_that_another_location_uses_are_not_purged(
    services: Services, us: Site, remaining: Remaining
) -> None:
    remove(us, "usstorage")
    old = yaml.safe_load(remaining.old_bundle.read_text())
    driver, arguments = services.us.settings
    old["DISTRIBUTED_STORAGE_CONFIG"]["usagain"] = [
        driver,
        # Another name of the same server, which the check of the configuration does not recognize.
        {
            **arguments,
            "hostname": "localhost",
            "storage_path": f"{arguments['storage_path']}/below",
        },
    ]
    remaining.old_bundle.write_text(yaml.safe_dump(old))
    for words in (("--yes",), ("--dry-run",)):
        status, _, err = remaining.purge(*words)
        assert (status, "also those of usagain" in err) == (1, True)


def test_an_invalid_bundle_is_reported(remaining: Remaining) -> None:
    old = yaml.safe_load(remaining.old_bundle.read_text())
    del old["DISTRIBUTED_STORAGE_CONFIG"]["usstorage"]
    for key in ("DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS", "DISTRIBUTED_STORAGE_PREFERENCE"):
        old[key] = ["eustorage"]
    remaining.old_bundle.write_text(yaml.safe_dump(old))
    assert "use a config.yaml that contains it" in remaining.purge("--yes")[2]
    remaining.old_bundle.write_text("a: [")
    assert "is not YAML" in remaining.purge("--yes")[2]
    remaining.old_bundle.unlink()
    assert "cannot be read" in remaining.purge("--yes")[2]


def test_an_unreachable_store_is_reported(us: Site, remaining: Remaining) -> None:
    remove(us, "usstorage")
    old = yaml.safe_load(remaining.old_bundle.read_text())
    old["DISTRIBUTED_STORAGE_CONFIG"]["usstorage"][1]["port"] = 1
    remaining.old_bundle.write_text(yaml.safe_dump(old))
    status, _, err = remaining.purge("--yes")
    assert status == os.EX_UNAVAILABLE
    assert "the same command resumes" in err
