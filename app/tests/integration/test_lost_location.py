"""Removal of a location whose store is lost, after the number of lost blobs was confirmed."""

from __future__ import annotations

import json
import os
import pty
import socket
from pathlib import Path

import pytest
from atoll.cluster.instances import Heartbeat, Instances, Reachability
from atoll.placement.locations.remove import Removal
from atoll.placement.locations.states import LocationTable
from atoll.placement.upkeep.backfill import Reconciler
from atoll.server.heartbeat import HeartbeatThread

from .images import head_blob, push_image_without_layers, put_manifest_without_layers
from .placements import REQUIRED, location_states, place_everything, quarantine
from .services import Services, wait_until
from .site import INDEX_TYPE, MANIFEST_TYPE, Client, Site, make_site_services

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:pull,push"
LOST = b"at us only"


@pytest.fixture
def lost(us: Site) -> str:
    """Two images, one of which is only at us; an index references it too, and it is cached."""
    push_image_without_layers(us, REPOSITORY, b"at both")
    place_everything(us, "eustorage")
    client = Client(us)
    digest = client.push_blob(REPOSITORY, LOST)
    assert put_manifest_without_layers(client, digest, len(LOST)).status_code == 201
    answer = client.request("GET", f"/v2/{REPOSITORY}/manifests/latest", SCOPE)
    manifest = {"digest": answer.headers["Docker-Content-Digest"], "size": len(answer.content)}
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}
    index["manifests"] = [{"mediaType": MANIFEST_TYPE, **manifest}]
    answer = client.request(
        "PUT",
        f"/v2/{REPOSITORY}/manifests/all",
        SCOPE,
        headers={"Content-Type": INDEX_TYPE},
        data=json.dumps(index),
    )
    assert answer.status_code == 201, answer.text
    assert client.pull_blob(REPOSITORY, digest).content == LOST
    return digest


def reachability(site: Site) -> Reachability:
    return Instances(site.services.database).reachability("usstorage")


def count_tasks(site: Site) -> int:
    return int(site.services.database.read("SELECT count(*) FROM replicationtask")[0][0])


def test_lost_blobs_are_listed_exactly_and_removal_requires_their_number(
    us: Site, lost: str
) -> None:
    status, out, err = us.command_here("remove-location", "usstorage", "--lost", "--json")
    assert (status, "--accept-loss 1" in err) == (1, True)
    found = json.loads(out)
    assert (found["removed"], found["blobs"], found["bytes"]) == (False, 1, len(LOST))
    assert found["repositories"] == [REPOSITORY]
    (blob,) = found["lost_blobs"]
    assert blob == {"digest": lost, "bytes": len(LOST), "repositories": [REPOSITORY]}
    assert sorted(image["tags"] for image in found["lost_images"]) == [["all"], ["latest"]]
    for wrong in ("0", "2"):
        words = ("remove-location", "usstorage", "--lost", "--accept-loss", wrong)
        status, out, err = us.command_here(*words)
        assert (status, f"1 blobs would be lost with 'usstorage', not {wrong}" in err) == (1, True)
        assert f"{lost}  10 bytes  {REPOSITORY}" in out
        assert f"{REPOSITORY}@" in out
        assert us.command_here(*words, "--dry-run")[0] == 1
    assert "--accept-loss" in us.command_here("remove-location", "usstorage", "--lost", "--yes")[2]
    trial = ("remove-location", "usstorage", "--lost", "--dry-run")
    assert us.command_here(*trial)[0] == us.command_here(*trial, "--accept-loss", "1")[0] == 0
    assert location_states(us) == {"usstorage": "active", "eustorage": "active"}


def test_a_lost_blob_is_answered_with_404_and_restored_by_a_push(us: Site, lost: str) -> None:
    assert count_tasks(us) == 1
    words = ("remove-location", "usstorage", "--lost", "--accept-loss", "1")
    assert us.command_here(*words)[0] == 0
    assert location_states(us) == {"eustorage": "active"}
    # The first round is before this process has read the removal.
    for _ in range(2):
        answer = Client(us).pull_blob(REPOSITORY, lost)
        assert answer.status_code == 404
        (error,) = answer.json()["errors"]
        assert (error["code"], "push it again" in error["message"]) == ("BLOB_UNKNOWN", True)
        assert head_blob(Client(us), lost).status_code == 404
        us.locations.states.refresh(us.services.database)
    refused = put_manifest_without_layers(Client(us), lost, len(LOST))
    assert refused.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"
    # No task is left that could never finish.
    assert count_tasks(us) == 0
    shown = json.loads(us.command_here("lost", "--json")[1])
    assert (shown["blobs"], shown["lost_blobs"][0]["digest"]) == (1, lost)
    assert "admin/app@" in us.command_here("lost")[1]
    assert Client(us).push_blob(REPOSITORY, LOST) == lost
    assert Client(us).pull_blob(REPOSITORY, lost).content == LOST
    assert json.loads(us.command_here("lost", "--json")[1])["blobs"] == 0


def test_removal_sends_no_request_to_the_lost_store(
    services: Services, us: Site, database: str, tmp_path: Path, lost: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        driver, arguments = services.us.settings
        config = {store.location: store.settings for store in services.stores()}
        config["usstorage"] = [driver, {**arguments, "port": dead.getsockname()[1]}]
        changes: dict[str, object] = {"DISTRIBUTED_STORAGE_CONFIG": config}
        directory = tmp_path / "elsewhere"
        site_services = make_site_services(services, database, directory, "eustorage", changes)
        elsewhere = Site("", "", site_services, directory, "eustorage")
        words = ("remove-location", "usstorage", "--lost", "--accept-loss", "1")
        result = elsewhere.command(*words)
        assert result.returncode == 0, result.stderr
        dead.setblocking(False)
        with pytest.raises(BlockingIOError):
            dead.accept()
    assert head_blob(Client(us), lost).status_code == 404


def test_an_answering_store_is_not_removed_as_lost_while_it_has_sole_copies(
    us: Site, lost: str
) -> None:
    heartbeat = HeartbeatThread(us.services, "registry")
    heartbeat.start()
    wait_until(
        "the instance's report is stored",
        lambda: reachability(us).reachable_from != [],
    )
    words = ("remove-location", "usstorage", "--lost", "--accept-loss", "1")
    status, _, err = us.command_here(*words)
    assert (status, "atoll drain usstorage --wait" in err) == (1, True)
    assert us.command_here(*words, "--dry-run")[0] == 1
    # As if a check had found the bucket empty.
    quarantine(us, lost, "usstorage")
    assert us.command_here(*words)[0] == 0
    heartbeat.stop()
    assert location_states(us) == {"eustorage": "active"}


def test_instances_of_a_lost_site_are_not_reported_as_missing(us: Site, lost: str) -> None:
    quarantine(us, lost, "usstorage")
    database = us.services.database
    Heartbeat(database, us.services.bundle, "registry", us.locations.health).record()
    database.run("UPDATE instance SET seen_at = now() - interval '1 hour'")
    assert "registry of usstorage" in us.command_here("status")[1]
    words = ("remove-location", "usstorage", "--lost", "--accept-loss", "1")
    assert us.command_here(*words)[0] == 0
    assert us.command_here("status")[0] == 0


def test_an_interactive_removal_asks_for_the_number(us: Site, lost: str) -> None:
    del lost
    for answer, status in (("2", 1), ("y", 1), ("1", 0)):
        assert set(location_states(us)) == {"usstorage", "eustorage"}
        master, slave = pty.openpty()
        os.write(master, f"{answer}\n".encode())
        result = us.command("remove-location", "usstorage", "--lost", stdin=slave)
        os.close(slave)
        os.close(master)
        assert (result.returncode, "the number of blobs that are lost, 1," in result.stderr) == (
            status,
            True,
        )
    assert location_states(us) == {"eustorage": "active"}


def test_a_copy_at_a_draining_location_is_not_lost(us: Site) -> None:
    Client(us).push_blob(REPOSITORY, b"at us and eu")
    place_everything(us, "eustorage")
    us.services.database.run("INSERT INTO imagestoragelocation (name) VALUES ('asiastorage')")
    assert us.command_here("drain", "eustorage")[0] == 0
    found = json.loads(
        us.command_here("remove-location", "usstorage", "--lost", "--dry-run", "--json")[1]
    )
    assert found["blobs"] == 0
    kept = us.command_here("remove-location", "eustorage", "--dry-run")
    assert kept[0] == 0, kept


def test_an_interrupted_removal_is_undone(us: Site, lost: str) -> None:
    steps = Removal(LocationTable(us.services.database), batch=1).steps(
        "usstorage", accepted_loss=1
    )
    next(steps)
    next(steps)
    steps.close()
    us.locations.states.refresh(us.services.database)
    assert head_blob(Client(us), lost).status_code == 404
    assert us.command_here("remove-location", "usstorage", "--undo")[0] == 0
    us.locations.states.refresh(us.services.database)
    assert Client(us).pull_blob(REPOSITORY, lost).content == LOST
    assert json.loads(us.command_here("lost", "--json")[1])["blobs"] == 0
    assert Reconciler(us.services.database, REQUIRED).everything() == 1


def test_draining_a_dead_location_is_refused_with_the_remedy(
    us: Site, services: Services, lost: str
) -> None:
    del lost
    heartbeat = HeartbeatThread(us.services, "registry")
    services.us.container.pause()
    try:
        heartbeat.start()
        wait_until("the instance's report is stored", lambda: reachability(us).unreachable)
        status, _, err = us.command_here("drain", "usstorage", "--wait")
        assert status == 1
        assert "1 blobs (10 bytes) are only at 'usstorage', and no site reaches its store" in err
        assert "atoll remove-location usstorage --lost" in err
        assert location_states(us)["usstorage"] == "active"
        # Blobs with copies elsewhere do not need its store.
        place_everything(us, "eustorage")
        assert us.command_here("drain", "usstorage", "--wait")[0] == 0
    finally:
        services.us.container.unpause()
        heartbeat.stop()
