"""Manifests of a run whose tags change at its end are not collected before."""

from __future__ import annotations

import pytest
from atoll.mirroring.copying.tag_switch import TagSwitch
from atoll.mirroring.runs.plans import Plan
from atoll.mirroring.runs.runs import Runs
from atoll.mirroring.runs.tasks import Task, Tasks
from atoll.names import Digest
from atoll.registry.manifest_cache import ManifestCache
from atoll.registry.untagged_manifests import UntaggedManifests

from .mirror_images import bound, push_image, set_state
from .mirrored import last_run, make_mirror, mirrors
from .sites import MemoryRegistry, MemorySite


@pytest.fixture
def site(registry: MemoryRegistry) -> MemorySite:
    """A site whose repository is a mirror with a run that changes all tags together."""
    site = registry["us"]
    make_mirror(site, site.repository, {"options": {"rollback": True}})
    return site


def push(site: MemorySite, seed: str) -> Digest:
    """Push an image without a tag, longer ago than untagged manifests are kept."""
    set_state(site, "NORMAL")
    digest = push_image(site, seed)
    set_state(site, "MIRROR")
    site.database.run("UPDATE manifest SET pushed_at = now() - interval '1 day'")
    return digest


def collect(site: MemorySite) -> None:
    cache = ManifestCache(site.graph.redis)
    UntaggedManifests(site.database, site.graph.bundle, cache).step()


def manifests(site: MemorySite) -> set[str]:
    return {row[0] for row in site.database.read("SELECT digest FROM manifest")}


def engine(site: MemorySite) -> tuple[Runs, Tasks]:
    switch = TagSwitch(site.database)
    runs = Runs(site.database, site.graph.cipher, switch, site="us", instance="worker")
    return runs, Tasks(site.database, switch)


def planned(runs: Runs, digests: dict[str, Digest]) -> int:
    claimed = runs.claims.claim(None, [])
    assert claimed is not None
    selected = {tag: str(digest) for tag, digest in digests.items()}
    runs.plans.record(claimed[1], Plan(selected))
    return claimed[1].run_id


def claimed_task(tasks: Tasks) -> Task:
    claimed = tasks.claim(None, [])
    assert claimed is not None
    return claimed[1]


def test_untagged_manifests_are_kept_until_the_run_of_their_mirror_ended(site: MemorySite) -> None:
    runs, tasks = engine(site)
    one, two = push(site, "one"), push(site, "two")
    run = planned(runs, {"one": one, "two": two})
    for _ in range(2):
        tasks.complete(claimed_task(tasks), {}, together=True)
        collect(site)
    assert manifests(site) == {str(one), str(two)}
    assert runs.endings.finish(run) is not None
    assert last_run(site, bound(site)).outcome == "SUCCESS"
    forgotten = push(site, "forgotten")
    assert str(forgotten) in manifests(site)
    collect(site)
    assert manifests(site) == {str(one), str(two)}


def test_untagged_manifests_of_a_cancelled_run_are_collected(site: MemorySite) -> None:
    runs, _tasks = engine(site)
    run = planned(runs, {"one": push(site, "one")})
    mirrors(site).request_cancel(site.repository)
    collect(site)
    assert len(manifests(site)) == 1
    assert runs.endings.finish(run) is not None
    collect(site)
    assert manifests(site) == set()


@pytest.mark.parametrize("missing", ["image", "signature"])
def test_an_image_without_its_signature_is_copied_again(site: MemorySite, missing: str) -> None:
    runs, tasks = engine(site)
    found = {kind: push(site, kind) for kind in ("image", "signature", "other")}
    run = planned(runs, {"one": found["image"], "two": found["other"]})
    signature = {f"sha256-{found['image'].hex}.sig": str(found["signature"])}
    for _ in range(2):
        task = claimed_task(tasks)
        tasks.complete(task, signature if task.tag == "one" else {}, together=True)
    delete(site, found[missing])
    assert runs.endings.finish(run) is None
    again = claimed_task(tasks)
    assert again.tag == "one"
    assert tasks.claim(None, []) is None
    push(site, missing)
    tasks.complete(again, signature, together=True)
    assert runs.endings.finish(run) is not None
    assert last_run(site, bound(site)).outcome == "SUCCESS"


def delete(site: MemorySite, digest: Digest) -> None:
    """Delete a manifest, as a user does."""
    set_state(site, "NORMAL")
    site.manifests().delete(site.repository, digest)
    set_state(site, "MIRROR")
