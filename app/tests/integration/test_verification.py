"""Corrupt, truncated and missing copies are found, reported, quarantined and replaced."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from atoll.placement.checks import repair as healing
from atoll.placement.checks.plausibility import RecentReads
from atoll.placement.checks.scrub import Scrubber
from atoll.placement.checks.verify import Run, Scope, Verifier, begin, latest_run
from atoll.rate_limit import RateLimiter

from ..caches import RecordingCache
from .images import push_image_without_layers
from .placements import both_locations, object_key, placements
from .services import Services, wait_until
from .site import Client, Site

REPOSITORY = "admin/app"


def run_verify(site: Site, *words: str) -> tuple[int, dict[str, Any]]:
    status, out, err = site.command_here("verify", "--json", *words)
    assert out, err
    return status, json.loads(out)


def defects(document: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {
        (finding["location"], finding["digest"]): finding["defect"]
        for finding in document["findings"]
    }


def damage(services: Services, digests: dict[str, str]) -> None:
    """At us, corrupt one object, truncate one and delete one."""
    store = services.us
    put = store.client.put_object
    put(Bucket=store.bucket, Key=object_key(digests["corrupt"]), Body=b"x" * 1000)
    put(Bucket=store.bucket, Key=object_key(digests["truncated"]), Body=b"")
    store.client.delete_object(Bucket=store.bucket, Key=object_key(digests["gone"]))


@pytest.fixture
def blobs(us: Site, eu: Site) -> dict[str, str]:
    """Blobs at both sites, by the damage that each will have, and one without damage."""
    names = ["corrupt", "truncated", "gone", "right"]
    digests = {name: Client(us).push_blob(REPOSITORY, os.urandom(1000)) for name in names}
    eu.copy_all()
    assert all(placements(us, digest) == both_locations() for digest in digests.values())
    return digests


def test_damaged_copies_are_reported_replaced_and_never_served(
    us: Site, eu: Site, blobs: dict[str, str], services: Services
) -> None:
    originals = {name: Client(us).pull_blob(REPOSITORY, d).content for name, d in blobs.items()}
    assert run_verify(us, "--full")[0] == 0
    damage(services, blobs)
    shallow = {
        ("usstorage", blobs["truncated"]): "wrong size",
        ("usstorage", blobs["gone"]): "missing",
    }
    deep = {**shallow, ("usstorage", blobs["corrupt"]): "wrong digest"}
    status, found = run_verify(us)
    assert (status, defects(found), found["quarantined"]) == (1, shallow, None)
    status, found = run_verify(us, "--full")
    assert (status, defects(found), found["lost"]) == (1, deep, 0)
    counted = found["locations"]["usstorage"]
    assert (counted["verified"], counted["wrong_digest"]) == (1, 1)
    assert found["locations"]["eustorage"]["bytes"] == 4000
    # Without --heal nothing changes.
    assert all(placements(us, digest) == both_locations() for digest in blobs.values())
    status, found = run_verify(us, "--full", "--resume", "--heal")
    assert (status, defects(found), found["quarantined"]) == (1, deep, 3)
    for name in ("corrupt", "truncated", "gone"):
        assert placements(us, blobs[name], "suspect") == {"usstorage"}
    for site in (us, eu):
        for name, digest in blobs.items():
            assert Client(site).pull_blob(REPOSITORY, digest).content == originals[name]
    us.copy_all()
    assert all(placements(us, digest) == both_locations() for digest in blobs.values())
    assert run_verify(us, "--full")[0] == 0
    for name, digest in blobs.items():
        answer = services.us.client.get_object(Bucket=services.us.bucket, Key=object_key(digest))
        assert answer["Body"].read() == originals[name]


def test_a_blob_without_a_good_copy_is_listed_with_its_images_and_restored_by_a_push(
    us: Site, services: Services
) -> None:
    push_image_without_layers(us, REPOSITORY, b"{}")
    (digest,) = us.services.database.read("SELECT content_checksum FROM imagestorage")[0]
    services.us.client.put_object(Bucket=services.us.bucket, Key=object_key(digest), Body=b"[]")
    status, found = run_verify(us, "--full", "--heal")
    assert status == 65
    assert found["lost_blobs"] == [
        {"digest": digest, "size": 2, "images": [f"{REPOSITORY}:latest"]}
    ]
    assert Client(us).pull_blob(REPOSITORY, digest).status_code == 503
    assert run_verify(us)[0] == 65
    Client(us).push_blob(REPOSITORY, b"{}")
    assert Client(us).pull_blob(REPOSITORY, digest).content == b"{}"
    assert run_verify(us, "--full")[0] == 0


def test_an_unreachable_store_is_not_a_defect(
    us: Site, blobs: dict[str, str], services: Services
) -> None:
    services.us.container.pause()
    try:
        status, found = run_verify(us, "--heal")
    finally:
        services.us.container.unpause()
    assert (status, found["wrong"], found["not_verified"], found["quarantined"]) == (69, 0, 4, 0)
    assert found["locations"]["eustorage"]["verified"] == 4
    assert all(placements(us, digest) == both_locations() for digest in blobs.values())


def test_a_missing_bucket_is_not_a_defect(us: Site, blobs: dict[str, str]) -> None:
    path = us.directory / "stack" / "config.yaml"
    text = path.read_text()
    path.write_text(text.replace("bucket_name: blobs", "bucket_name: mistyped", 1))
    status, found = run_verify(us)
    assert (status, found["wrong"], found["not_verified"]) == (69, 0, len(blobs))


def test_a_quarantined_copy_that_proves_right_is_served_again(
    us: Site, blobs: dict[str, str]
) -> None:
    us.services.database.run("UPDATE imagestorageplacement SET state = 'suspect'")
    status, found = run_verify(us)
    assert (status, found["locations"]["usstorage"]["sound"]) == (0, 4)
    assert placements(us, blobs["right"]) == set()
    assert run_verify(us, "--resume", "--heal")[0] == 0
    assert placements(us, blobs["right"]) == both_locations()


def test_a_blob_that_is_pushed_again_after_the_check_is_not_quarantined(
    us: Site, services: Services
) -> None:
    digest = Client(us).push_blob(REPOSITORY, b"wrong for a while")
    services.us.client.delete_object(Bucket=services.us.bucket, Key=object_key(digest))
    assert run_verify(us)[0] == 65
    Client(us).push_blob(REPOSITORY, b"wrong for a while")
    status, found = run_verify(us, "--resume", "--heal")
    assert (found["quarantined"], found["lost"], status) == (0, 0, 1)
    assert placements(us, digest) == {"usstorage"}


def verifier(site: Site, batch: int) -> Verifier:
    locations = site.locations
    return Verifier(
        site.services.database, locations.stores, locations.health, RateLimiter(None), batch=batch
    )


def test_an_interrupted_run_resumes_and_keeps_its_findings(
    us: Site, blobs: dict[str, str], services: Services
) -> None:
    damage(services, blobs)
    scope = Scope(full=True)
    first = begin(us.services.database, scope)
    steps = verifier(us, 3).verify(first)
    for _ in range(2):
        done = next(steps).done
    del steps
    run = latest_run(us.services.database, scope)
    assert run is not None
    assert (run.id, run.done) == (first.id, done)
    for _ in verifier(us, 3).verify(run):
        continue
    checked = sum(count.verified + count.wrong for count in run.counts.values())
    assert (checked, run.counts["usstorage"].wrong) == (8, 3)
    assert len(healing.findings(us.services.database, run, 10)) == 3
    assert latest_run(us.services.database, Scope(location="eustorage", full=True)) is None


@pytest.mark.long
def test_a_run_of_a_killed_process_can_be_resumed(us: Site, blobs: dict[str, str]) -> None:
    words = ["verify", "--full", "--rate", "100"]
    process = subprocess.Popen(
        [sys.executable, "-m", "atoll.cli.main", *words],
        env=us.environment(),
        stderr=subprocess.DEVNULL,
    )
    begun = "SELECT id FROM verification"
    wait_until("the copy has begun", lambda: bool(us.services.database.read(begun)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    status, found = run_verify(us, "--full", "--resume")
    assert (status, [found["verification"]]) == (0, us.services.database.read(begun)[0])
    assert sum(count["verified"] for count in found["locations"].values()) == 2 * len(blobs)


def insert_placements(site: Site, count: int) -> None:
    """Insert placements at us without objects in the store."""
    digests = [f"sha256:{hashlib.sha256(str(n).encode()).hexdigest()}" for n in range(count)]
    site.services.database.run(
        """
        WITH blob AS (
            INSERT INTO imagestorage (content_checksum, image_size)
            SELECT unnest(%s::text[]), 1 RETURNING id)
        INSERT INTO imagestorageplacement (storage_id, location_id)
        SELECT blob.id, l.id FROM blob, imagestoragelocation l WHERE l.name = 'usstorage'
        """,
        [digests],
    )


def run_verifier(site: Site, scope: Scope) -> Run:
    run = begin(site.services.database, scope)
    for _ in verifier(site, 1000).verify(run):
        continue
    return run


def test_a_sample_has_about_the_requested_size(us: Site) -> None:
    insert_placements(us, 300)
    sampled = run_verifier(us, Scope(sample=20)).counts["usstorage"].missing
    assert 20 < sampled < 120


@pytest.mark.usefixtures("blobs")
def test_verification_can_be_limited_to_a_location_or_a_namespace(us: Site) -> None:
    push_image_without_layers(us, "other/app", b"{}")
    assert set(run_verifier(us, Scope(location="eustorage")).counts) == {"eustorage"}
    run = run_verifier(us, Scope(namespace="other"))
    assert {name: count.verified for name, count in run.counts.items()} == {"usstorage": 1}
    status, _, err = us.command_here("verify", "--location", "mars")
    assert (status, "no location 'mars'" in err) == (1, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sample", "0"], "--sample must be a number of per cent"),
        (["--rate", "fast"], "--rate must be a number of bytes"),
        (["--rate", "0"], "--rate must be more than 0"),
    ],
)
def test_an_invalid_option_is_refused_with_the_valid_values(
    us: Site, words: list[str], message: str
) -> None:
    status, _, err = us.command_here("verify", *words)
    assert (status, message in err) == (1, True)


def test_a_store_without_most_objects_is_quarantined_only_if_it_is_named(
    us: Site,
) -> None:
    insert_placements(us, 25)
    status, found = run_verify(us, "--heal")
    assert (status, found["quarantined"]) == (65, 0)
    status, found = run_verify(us, "--heal", "--location", "usstorage")
    assert (status, found["quarantined"]) == (65, 25)


def test_the_scrub_verifies_old_copies_and_replaces_those_found_wrong_twice(
    us: Site, eu: Site, blobs: dict[str, str], services: Services
) -> None:
    cache = RecordingCache()
    now = [0.0]
    scrubber = Scrubber(
        us.services.database,
        verifier(us, 1),
        "usstorage",
        age=us.services.bundle.background_verification_interval,
        recent=RecentReads(monotonic=lambda: now[0]),
        cache=cache,
        monotonic=lambda: now[0],
    )
    damage(services, blobs)
    assert not scrubber.step()
    us.services.database.run(
        "UPDATE imagestorageplacement SET verified_at = now() - interval '29 days'"
    )
    assert scrubber.step()
    assert not scrubber.step()
    assert cache.forgotten == []
    now[0] += 60
    while scrubber.step():
        assert len(cache.forgotten) <= 3
    assert set(cache.forgotten) == set(blobs.values()) - {blobs["right"]}
    assert placements(us, blobs["right"]) == both_locations()
    assert placements(us, blobs["corrupt"]) == {"eustorage"}
    us.copy_all()
    assert all(placements(us, digest) == both_locations() for digest in blobs.values())
    assert run_verify(eu, "--full")[0] == 0


def test_quays_command_deletes_no_row(us: Site, blobs: dict[str, str], services: Services) -> None:
    damage(services, blobs)
    result = us.command(module="util.verifyplacements")
    assert result.returncode == 1
    assert "wrong size" in result.stdout
    assert all(placements(us, digest) == both_locations() for digest in blobs.values())
