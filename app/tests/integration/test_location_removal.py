"""Removal of a drained location: it is refused while blobs need it, and can be interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

from atoll.names import Digest, RepositoryName
from atoll.placement.locations.remove import Removal
from atoll.placement.locations.states import LocationTable
from atoll.placement.tasks import Tasks
from atoll.storage.states import DRAINING

from .images import push_image_without_layers
from .placements import location_states, place_everything
from .services import Services, wait_until
from .site import Client, Site, running_site

REPOSITORY = "admin/app"


def placed_at(site: Site, location: str) -> set[str]:
    rows = site.services.database.read(
        "SELECT s.content_checksum FROM imagestorageplacement p"
        " JOIN imagestorage s ON s.id = p.storage_id"
        " JOIN imagestoragelocation l ON l.id = p.location_id WHERE l.name = %s",
        [location],
    )
    return {row[0] for row in rows}


def drained(site: Site, location: str) -> None:
    """Set a location to draining, as `atoll drain` does, without waiting for copies."""
    LocationTable(site.services.database).set_state(location, DRAINING)


def refresh_states(*sites: Site) -> None:
    for site in sites:
        site.locations.states.refresh(site.services.database)


def test_removal_is_refused_while_a_blob_has_its_sole_copy_there(us: Site) -> None:
    push_image_without_layers(us, REPOSITORY, b"{}")
    drained(us, "usstorage")
    result = us.command("remove-location", "usstorage", "--yes")
    assert result.returncode == 1
    assert "1 blobs (2 bytes) are only at 'usstorage'" in result.stderr
    assert "atoll drain usstorage --wait" in result.stderr
    assert "admin/app:latest" in result.stderr
    assert location_states(us) == {"usstorage": "draining", "eustorage": "active"}
    assert len(placed_at(us, "usstorage")) == 1


def test_after_a_drain_a_location_is_removed_and_everything_can_be_pulled(
    us: Site, eu: Site
) -> None:
    digest = Client(us).push_blob(REPOSITORY, b"at us only")
    eu.start_worker()
    drained = us.command("drain", "usstorage", "--wait", "--json")
    assert drained.returncode == 0, drained.stderr
    assert json.loads(drained.stdout)["drained"] is True
    assert location_states(us)["usstorage"] == "draining"
    refresh_states(us)
    during = Client(us).push_blob(REPOSITORY, b"pushed while it drains")
    assert during in placed_at(us, "eustorage") - placed_at(us, "usstorage")
    removed = us.command("remove-location", "usstorage", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert location_states(us) == {"eustorage": "active"}
    refresh_states(us, eu)
    for site in (us, eu):
        assert Client(site).pull_blob(REPOSITORY, digest).content == b"at us only"
        assert Client(site).pull_blob(REPOSITORY, during).content == b"pushed while it drains"
    after = Client(us).push_blob(REPOSITORY, b"pushed afterwards")
    assert after in placed_at(us, "eustorage")


def test_a_drain_is_listed_and_can_be_cancelled(us: Site) -> None:
    Client(us).push_blob(REPOSITORY, b"at us only")
    drained = us.command("drain", "usstorage")
    assert "1 sole copies (10 bytes)" in drained.stdout
    shown = {row["location"]: row for row in json.loads(us.command("locations", "--json").stdout)}
    assert shown["usstorage"]["state"] == "draining"
    assert shown["usstorage"]["only_there"] == 1
    assert us.command("activate", "usstorage").returncode == 0
    assert location_states(us)["usstorage"] == "active"


def test_a_read_only_location_accepts_neither_pushes_nor_copies(us: Site) -> None:
    Client(us).push_blob(REPOSITORY, b"for eu")
    assert us.command("activate", "eustorage", "--read-only").returncode == 0
    assert Tasks(us.services.database, "eustorage").claim() == []
    assert us.command("activate", "usstorage", "--read-only").returncode == 0
    refresh_states(us)
    answer = Client(us).request(
        "POST", f"/v2/{REPOSITORY}/blobs/uploads/", f"repository:{REPOSITORY}:pull,push"
    )
    refused = Client(us).request(
        "PATCH", answer.headers["Location"], f"repository:{REPOSITORY}:pull,push", data=b"x"
    )
    assert refused.status_code == 503
    assert us.command("activate", "usstorage").returncode == 0
    refresh_states(us)
    Client(us).push_blob(REPOSITORY, b"now it goes")


def test_locations_that_the_registry_needs_cannot_be_removed(us: Site) -> None:
    for command in ("drain", "remove-location", "activate"):
        unknown = us.command(command, "mars", *(["--yes"] if command == "remove-location" else []))
        assert unknown.returncode == 1
        assert "mars" in unknown.stderr
        assert all(name in unknown.stderr for name in ("usstorage", "eustorage"))
    assert us.command("drain", "usstorage").returncode == 0
    last = us.command("drain", "eustorage")
    assert last.returncode == 1
    assert "'eustorage' is the only location where blobs must be" in last.stderr
    last = us.command("remove-location", "eustorage", "--yes")
    assert last.returncode == 1
    assert "'eustorage' is the last location" in last.stderr
    assert location_states(us) == {"usstorage": "draining", "eustorage": "active"}


def test_removal_without_a_terminal_requires_the_confirming_option(us: Site) -> None:
    drained(us, "eustorage")
    result = us.command("remove-location", "eustorage", input="y\n")
    assert result.returncode == 1
    assert "--yes" in result.stderr
    assert us.command("remove-location", "eustorage", "--dry-run").returncode == 0
    assert set(location_states(us)) == {"usstorage", "eustorage"}


def test_removal_is_refused_while_uploads_have_bytes_there(us: Site) -> None:
    client, scope = Client(us), f"repository:{REPOSITORY}:pull,push"
    answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", scope)
    client.request("PATCH", answer.headers["Location"], scope, data=b"under way")
    drained(us, "usstorage")
    result = us.command("remove-location", "usstorage", "--yes")
    assert result.returncode == 1
    assert "1 uploads have bytes at 'usstorage'" in result.stderr


def test_an_interrupted_removal_can_be_undone_or_finished(us: Site) -> None:
    digests = {Client(us).push_blob(REPOSITORY, bytes([number])) for number in range(3)}
    place_everything(us, "eustorage")
    drained(us, "usstorage")
    database = us.services.database
    for _ in range(2):
        steps = Removal(LocationTable(database), batch=1).steps("usstorage")
        assert next(steps).placements == ()
        assert len(next(steps).placements) == 1
        steps.close()
        assert len(placed_at(us, "usstorage")) == 2
        assert us.command("remove-location", "usstorage", "--undo").returncode == 0
        assert placed_at(us, "usstorage") == digests
        assert location_states(us)["usstorage"] == "draining"
    steps = Removal(LocationTable(database), batch=1).steps("usstorage")
    next(steps)
    next(steps)
    steps.close()
    assert us.command("remove-location", "usstorage", "--yes").returncode == 0
    assert location_states(us) == {"eustorage": "active"}
    assert placed_at(us, "eustorage") == digests
    assert us.command("remove-location", "usstorage", "--undo").returncode == 1


def test_an_object_written_just_before_a_removal_is_written_again_elsewhere(us: Site) -> None:
    """The process has not read the removal from the database yet."""
    scope = f"repository:{REPOSITORY}:pull,push"
    answer = Client(us).request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", scope)
    upload = UUID(answer.headers["Location"].rpartition("/")[2].partition("?")[0])
    drained(us, "usstorage")
    for _ in Removal(LocationTable(us.services.database)).steps("usstorage"):
        continue
    digest = Digest.parse("sha256:" + "ab" * 32)
    repository = RepositoryName.parse(REPOSITORY)
    placed = us.services.blobs.place(digest, 1, "usstorage", repository, upload)
    assert placed is None
    assert placed_at(us, "usstorage") == set()


def test_a_copy_that_ends_after_the_removal_is_not_placed(us: Site) -> None:
    Client(us).push_blob(REPOSITORY, b"being copied to eu")
    at_eu = Tasks(us.services.database, "eustorage")
    claimed = at_eu.claim()
    assert len(claimed) == 1
    drained(us, "eustorage")
    assert us.command("remove-location", "eustorage", "--yes").returncode == 0
    assert at_eu.extend(claimed) == set()
    assert at_eu.finish(claimed) == set()
    assert location_states(us) == {"usstorage": "active"}


def test_quays_command_asks_for_confirmation_and_prints_quays_texts(us: Site) -> None:
    for number in range(2):
        Client(us).push_blob(REPOSITORY, bytes([number]))
    place_everything(us, "eustorage")
    ids = [
        row[0]
        for row in us.services.database.read(
            "SELECT p.id FROM imagestorageplacement p JOIN imagestoragelocation l"
            " ON l.id = p.location_id WHERE l.name = 'eustorage' ORDER BY p.id"
        )
    ]
    question = (
        "WARNING: This is a destructive operation. Are you sure you want to remove eustorage"
        " from your storage locations? [y/n] "
    )
    words = {"module": "util.removelocation"}
    cancelled = us.command("eustorage", **words, input="maybe\nn\n")
    again = "Please respond with 'yes' or 'no' (or 'y' or 'n').\n"
    assert cancelled.stdout == question + again + question + "Canceling operation...\n"
    assert cancelled.returncode == 0
    assert set(location_states(us)) == {"usstorage", "eustorage"}
    refused = us.command("eustorage", **words, input="y\n")
    assert refused.returncode == 1
    assert "Error removing storage location: 'eustorage' is active" in refused.stderr
    assert us.command("drain", "eustorage", "--wait").returncode == 0
    removed = us.command("eustorage", **words, input="y\n")
    assert removed.returncode == 0, removed.stderr
    assert (
        removed.stdout
        == question
        + "Removed 0 temporary blobs from blobupload table.\n"
        + "".join(f"Deleted placement {number}\n" for number in ids)
        + "Deleted location eustorage\n"
    )
    assert location_states(us) == {"usstorage": "active"}
    refused = us.command("usstorage", **words, input="y\n")
    assert refused.returncode == 1
    assert "Error removing storage location: 'usstorage' is the last location" in refused.stderr


def test_a_process_applies_a_drain_without_a_restart(us: Site) -> None:
    us.command("drain", "usstorage")
    wait_until(
        "this process has read the state", lambda: not us.locations.states.writable("usstorage")
    )
    digest = Client(us).push_blob(REPOSITORY, b"elsewhere")
    assert placed_at(us, "eustorage") == {digest}


def test_drain_is_refused_without_replication(
    services: Services, database: str, tmp_path: Path
) -> None:
    changes: dict[str, object] = {"FEATURE_STORAGE_REPLICATION": False}
    with running_site(services, database, tmp_path / "us", "usstorage", changes) as site:
        refused = site.command("drain", "usstorage")
        assert refused.returncode == 1
        assert "FEATURE_STORAGE_REPLICATION is not true" in refused.stderr
        assert location_states(site)["usstorage"] == "active"
