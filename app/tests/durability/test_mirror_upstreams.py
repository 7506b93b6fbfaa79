"""Mirrors of real upstreams: the registry that Debian packages, another Atoll, a closed network.

Copies at several sites, and policies, apply to what a mirror copied.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from atoll.mirroring.mirrors import MirrorChange
from atoll.names import Digest, RepositoryName
from atoll.placement.policies import Policies, Policy, Subject
from atoll.registry.image_completeness import ImageCompleteness
from atoll.registry.referrers import Referrers
from atoll.upstream.client import fallback_tag
from atoll.upstream.credentials import Credentials
from atoll.web.app import create_app

from ..integration.site import _Server
from ..tls_front import tls_front
from ..upstream.certificates import PrivateCa, private_ca
from ..upstream.clients import upstreams
from ..upstream.content import OCI_IMAGE, OCI_INDEX, UpstreamRepository, layer
from ..upstream.docker_registry import (
    PASSWORD,
    USERNAME,
    filled_docker_registry,
    is_referrers_tag,
)
from ..upstream.fault_upstream import FaultUpstream
from ..upstream.forward_proxy import ForwardProxy
from ..upstream.skopeo import skopeo
from .mirror_worker import LOCATION, worker_site
from .mirrored import make_mirror, mirrors
from .sites import SUPERUSER, MemoryRegistry, MemorySite, bundle

NAME = RepositoryName(SUPERUSER, "copy")
USER = Credentials(USERNAME, PASSWORD)
# A name that only the proxy of a closed network resolves.
CLOSED = "registry.closed.example"
SPDX = "application/spdx+json"
# Longer than any wait that can succeed.
_PATIENCE = 120.0


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return private_ca(tmp_path_factory.mktemp("ca"), ["127.0.0.1", "localhost", CLOSED])


@pytest.fixture
def content() -> UpstreamRepository:
    """An index with a signature, an SBOM, and an image with a layer in parts."""
    there = UpstreamRepository()
    images = {name: there.add_image(architecture=name, seed=len(name)) for name in ("amd64", "arm")}
    index = there.add_index("multi", images)
    there.add_image("large", layers=[bytes(9_000_000), layer(3)])
    name = fallback_tag(Digest.parse(index))
    there.add_image(f"{name}.sig", layers=[b"signature"])
    there.tags["sbom"] = there.add_referrer(index, SPDX)
    return there


@contextmanager
def working(site: MemorySite, ca: PrivateCa) -> Iterator[None]:
    """Run the mirror worker of a site."""
    mirroring = site.graph.mirror_workers(copies=4, upstreams=upstreams(ca), watch_seconds=0.2)
    mirroring.start()
    try:
        yield
    finally:
        mirroring.stop()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def mirrored(site: MemorySite, ca: PrivateCa, change: MirrorChange) -> RepositoryName:
    """Make a mirror, let its first run succeed, and return its name."""
    repository = make_mirror(site, NAME, change)
    with working(site, ca):
        await_success(site)
    return repository


def await_success(site: MemorySite) -> None:
    until(lambda: mirrors(site).find(NAME).status not in {"NEVER_RUN", "SYNC_NOW", "SYNCING"})
    mirror = mirrors(site).find(NAME)
    assert mirror.status == "SUCCESS", mirror.row["status_message"]


def tags(site: MemorySite, repository: RepositoryName) -> dict[str, str]:
    rows = site.database.read(
        "SELECT t.name, m.digest FROM tag t JOIN manifest m ON m.id = t.manifest_id"
        " WHERE t.lifetime_end_ms IS NULL AND t.repository_id = %s",
        [repository.id],
    )
    return dict(rows)


def assert_same_content(
    site: MemorySite, repository: RepositoryName, there: UpstreamRepository
) -> None:
    for digest, (media_type, manifest) in there.manifests.items():
        if there.tags.get(fallback_tag(Digest.parse(there.tags["multi"]))) == digest:
            continue
        found = site.graph.manifests.get(repository, digest)
        assert (found.media_type, found.content) == (media_type, manifest)
    for digest in there.blobs:
        assert site.has_object("us", Digest.parse(digest))
    found, _ = Referrers(site.database).list(repository, Digest.parse(there.tags["multi"]), None, 0)
    assert [one.digest for one in found] == [there.tags["sbom"]]


def test_everything_of_debians_registry_is_mirrored(
    site: MemorySite, ca: PrivateCa, content: UpstreamRepository, tmp_path: Path
) -> None:
    index = Digest.parse(content.tags["multi"])
    referrers = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": content.referrers(str(index)),
    }
    content.add_manifest(referrers, OCI_INDEX, fallback_tag(index))
    with filled_docker_registry(ca, tmp_path, content) as address:
        repository = mirrored(
            site,
            ca,
            {
                "external_reference": f"{address}/team/app",
                "external_registry_username": USERNAME,
                "external_registry_password": PASSWORD,
            },
        )
        here = tags(site, repository)
        for tag, digest in here.items():
            raw = skopeo(ca, USER, "inspect", "--raw", f"docker://{address}/team/app:{tag}")
            assert digest == str(Digest.of(raw))
    wanted = {tag: one for tag, one in content.tags.items() if not is_referrers_tag(tag)}
    assert here == wanted
    assert_same_content(site, repository, content)


@contextmanager
def other_atoll(
    uri: str, directory: Path, ca: PrivateCa, content: UpstreamRepository
) -> Iterator[str]:
    """Serve another registry with content in its repository, and yield its address."""
    app: list[Callable[..., object]] = []

    def serve(*arguments: object) -> object:
        return app[0](*arguments)

    server = _Server.serving(serve)
    port = int(server.url.rpartition(":")[2])
    with tls_front(port, ca.issued, ca.key) as address:
        changes: dict[str, object] = {
            "SERVER_HOSTNAME": address,
            "PREFERRED_URL_SCHEME": "https",
            "EXTERNAL_TLS_TERMINATION": True,
        }
        other = worker_site(uri, directory, ca.certificate, changes=changes).site
        other.probe(LOCATION)
        other.locations.states.refresh(other.database)
        for blob in content.blobs.values():
            other.push(blob)
        for media_type in (OCI_IMAGE, OCI_INDEX):
            for digest, (found, manifest) in content.manifests.items():
                if found == media_type:
                    other.manifests().put(
                        other.repository, digest, manifest, found, tags=[], username=SUPERUSER
                    )
        for tag, digest in content.tags.items():
            found, manifest = content.manifests[digest]
            other.manifests().put(
                other.repository, tag, manifest, found, tags=[], username=SUPERUSER
            )
        app.append(create_app(other.graph.dependencies()))
        yield address
        server.release()


def test_everything_of_another_atoll_is_mirrored(
    site: MemorySite,
    ca: PrivateCa,
    content: UpstreamRepository,
    make_database: Callable[[], str],
    tmp_path: Path,
) -> None:
    with other_atoll(make_database(), tmp_path / "other", ca, content) as address:
        repository = mirrored(
            site,
            ca,
            {
                "external_reference": f"{address}/{SUPERUSER}/app",
                "external_registry_username": SUPERUSER,
                "external_registry_password": str(bundle("", [])["INITIAL_SUPERUSER_PASSWORD"]),
            },
        )
    assert tags(site, repository) == content.tags
    assert_same_content(site, repository, content)


# A closed network ---------------------------------------------------------------------------


@pytest.mark.parametrize("direct", [False, True], ids=["proxy", "no_proxy"])
def test_an_upstream_that_only_the_proxy_resolves_is_mirrored(
    site: MemorySite, ca: PrivateCa, direct: bool
) -> None:
    with (
        FaultUpstream(ca.server_context(), name=None if direct else CLOSED).running() as upstream,
        ForwardProxy({CLOSED: "127.0.0.1"}).running() as proxy,
    ):
        image = upstream.repository().add_image("latest", layers=[layer(1)])
        settings = {"https_proxy": f"http://127.0.0.1:{proxy.port}", "no_proxy": "127.0.0.1"}
        repository = mirrored(
            site,
            ca,
            {
                "external_reference": f"{upstream.host}/team/app",
                "external_registry_config": {"proxy": settings},
            },
        )
        assert tags(site, repository) == {"latest": image}
        assert set(proxy.targets) == (set() if direct else {upstream.host})


# Several sites ------------------------------------------------------------------------------


@pytest.fixture
def upstream(ca: PrivateCa) -> Iterator[FaultUpstream]:
    with FaultUpstream(ca.server_context()).running() as running:
        running.repository().add_image("latest", layers=[layer(1), layer(2)])
        yield running


def set_policy(site: MemorySite, repository: RepositoryName, policy: Policy) -> None:
    Policies(site.database, ["us", "eu", "ap"]).set(Subject.parse(str(repository)), policy)


def replicate(registry: MemoryRegistry, upstream: FaultUpstream, *locations: str) -> None:
    """Copy the blobs of the upstream to locations, as their workers do."""
    for location in locations:
        worker = registry[location].worker()
        worker.start()
        for digest in upstream.repository().blobs:
            placed = Digest.parse(digest)
            until(
                lambda placed=placed, location=location: (  # type: ignore[misc]
                    registry["us"].placements(placed).get(location) == "good"
                )
            )
        worker.stop()


def test_a_tag_appears_once_its_blobs_have_the_copies_of_the_policy(
    registry: MemoryRegistry, site: MemorySite, ca: PrivateCa, upstream: FaultUpstream
) -> None:
    repository = make_mirror(site, NAME, {"external_reference": f"{upstream.host}/team/app"})
    set_policy(site, repository, Policy(sync_copies=2, sync_seconds=1))
    with working(site, ca):
        until(
            lambda: site.database.read("SELECT 1 FROM mirrortask WHERE reason = 'copies_pending'")
        )
        assert tags(site, repository) == {}
        replicate(registry, upstream, "eu")
        site.database.run("UPDATE mirrortask SET available_at = now()")
        await_success(site)
    assert tags(site, repository) == upstream.repository().tags
    assert upstream.count("blob") == len(upstream.repository().blobs)


@pytest.mark.parametrize("excluded", [(), ("eu",)], ids=["all", "excluded"])
def test_mirrored_images_are_complete_where_the_policy_wants_them(
    registry: MemoryRegistry,
    site: MemorySite,
    ca: PrivateCa,
    upstream: FaultUpstream,
    excluded: tuple[str, ...],
) -> None:
    repository = make_mirror(site, NAME, {"external_reference": f"{upstream.host}/team/app"})
    set_policy(site, repository, Policy(excluded=excluded))
    with working(site, ca):
        await_success(site)
    wanted = [name for name in ("us", "eu", "ap") if name not in excluded]
    replicate(registry, upstream, *wanted[1:])
    expected = dict.fromkeys(wanted, "good")
    for digest in upstream.repository().blobs:
        assert site.placements(Digest.parse(digest)) == expected
    found = ImageCompleteness(site.database, ["us", "eu", "ap"]).of(repository, "latest")
    assert found.complete
