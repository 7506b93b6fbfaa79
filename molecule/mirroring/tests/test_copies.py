"""Mirrors copy images byte by byte, and an unchanged run transfers none.

The tests depend on their order: each begins with the mirror of the previous one.
"""

from http import HTTPStatus
from pathlib import Path

import pytest
from clients import Clients
from commands import run
from conftest import Apply
from definition import Lab
from docker_upstream import DockerUpstream
from errors import LabError
from image_index import write_index
from load import copy, write_image
from mirror_runs import run_mirror
from site_machine import SiteMachine

MIRROR, SOURCE = "mirrored/app", "team/app"
TAGS = ("1", "2", "list")


@pytest.fixture(scope="module")
def pushed(
    docker: DockerUpstream, apply: Apply, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Push two images and an index to the upstream, create the mirror, and return the digests."""
    layout = tmp_path_factory.mktemp("pushed") / "layout"
    digests = {}
    for tag in TAGS:
        digests[tag] = write_index(layout) if tag == "list" else write_image(layout)
        target = f"docker://{docker.address}/{SOURCE}:{tag}"
        command = [*docker.clients.skopeo_copy, "--preserve-digests", "--all"]
        run([*command, f"oci:{layout}:1", target])
    apply(docker.mirror(MIRROR, SOURCE))
    return digests


def test_the_first_run_copies_all_tags_to_both_sites(
    docker: DockerUpstream,
    clients: Clients,
    us: SiteMachine,
    eu: SiteMachine,
    pushed: dict[str, str],
) -> None:
    done = run_mirror(us, MIRROR)

    assert (done["outcome"], done["tags_total"], done["tags_copied"]) == ("SUCCESS", 3, 3)
    us.atoll("wait --timeout 300")
    for site in (us, eu):
        for tag in TAGS:
            original = docker.clients.skopeo_manifest(docker.address, f"{SOURCE}:{tag}")
            assert clients.skopeo_manifest(site.address, f"{MIRROR}:{tag}") == original
        for tag in ("1", "2"):
            assert clients.skopeo_pull(site.address, f"{MIRROR}:{tag}") == pushed[tag]


@pytest.mark.usefixtures("pushed")
def test_the_mirror_has_the_tags_and_digests_that_skopeo_sync_copies(
    lab: Lab, docker: DockerUpstream, clients: Clients, us: SiteMachine, tmp_path: Path
) -> None:
    third = DockerUpstream(lab, tmp_path)
    trust = (*docker.clients.skopeo_trust("src"), *third.clients.skopeo_trust("dest"))
    words = ("--all", "--preserve-digests", "--src=docker", "--dest=docker", *trust)
    with third.running():
        run(["skopeo", "sync", *words, f"{docker.address}/{SOURCE}", f"{third.address}/synced"])

        name = f"synced/{SOURCE.rpartition('/')[2]}"
        tags = third.clients.skopeo_tags(third.address, name)
        assert clients.skopeo_tags(us.address, MIRROR) == tags
        for tag in tags:
            synced = third.clients.skopeo_manifest(third.address, f"{name}:{tag}")
            assert clients.skopeo_manifest(us.address, f"{MIRROR}:{tag}") == synced


def test_podman_pulls_a_mirrored_image(clients: Clients, pushed: dict[str, str]) -> None:
    reference = f"{MIRROR}@{pushed['1']}"

    assert clients.podman_pull(reference) == pushed["1"]


def test_skopeo_copies_a_mirrored_index_with_all_its_images(
    clients: Clients, us: SiteMachine, pushed: dict[str, str], tmp_path: Path
) -> None:
    words = [*clients.skopeo_copy, "--preserve-digests", "--all"]
    run([*words, f"docker://{us.address}/{MIRROR}@{pushed['list']}", f"dir:{tmp_path}/list"])

    assert len(list((tmp_path / "list").glob("*.manifest.json"))) == 2


def test_an_unchanged_run_reads_no_image(
    docker: DockerUpstream, eu: SiteMachine, pushed: dict[str, str]
) -> None:
    before = len(docker.requests())

    done = run_mirror(eu, MIRROR)

    assert (done["tags_unchanged"], done["tags_copied"]) == (len(pushed), 0)
    assert done["bytes_copied"] == 0
    sent = [one for one in docker.requests()[before:] if one[2] != HTTPStatus.UNAUTHORIZED]
    content = [(method, path) for method, path, _ in sent if "/tags/list" not in path]
    manifests = {f"/v2/{SOURCE}/manifests/{tag}" for tag in TAGS}
    assert sorted(one for one in content if one[1] != "/v2/") == sorted(
        ("HEAD", path) for path in manifests
    )


def test_a_changed_tag_is_copied_alone(
    docker: DockerUpstream, clients: Clients, us: SiteMachine, layout: Path
) -> None:
    digest = write_image(layout)
    target = f"docker://{docker.address}/{SOURCE}:2"
    assert not copy(docker.clients, f"oci:{layout}:1", target)

    done = run_mirror(us, MIRROR)

    assert (done["tags_unchanged"], done["tags_copied"]) == (2, 1)
    assert clients.skopeo_pull(us.address, f"{MIRROR}:2") == digest


@pytest.mark.usefixtures("pushed")
def test_nobody_pushes_to_a_mirror(clients: Clients, layout: Path) -> None:
    write_image(layout)

    with pytest.raises(LabError, match=r"(?i)denied|unauthorized|mirror"):
        clients.skopeo_push(f"oci:{layout}:1", f"{MIRROR}:pushed")
