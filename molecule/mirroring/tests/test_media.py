"""Media carry the images of one registry to another that has no connection to it."""

from pathlib import Path

import pytest
from api import Api
from clients import Clients
from commands import podman
from definition import Lab
from load import copy, write_image
from site_machine import SiteMachine

NAMESPACE = "carried"
# What the documentation tells operators to type on a host.
_CONTAINER = """
    podman run --rm --network host --user "$(stat -c %u:%g /etc/atoll/stack)" \
        -v /etc/atoll/stack:/conf/stack:ro -v {directory}:/medium \
        "$(cat /etc/atoll/registry-image)" atoll {command}
"""
_DIRECTORY = "/var/tmp/medium"


@pytest.fixture(autouse=True)
def organizations(lab: Lab, upstream_lab: Lab) -> None:
    for one in (lab, upstream_lab):
        Api(one).ensure_organization(NAMESPACE, "importer")


@pytest.fixture
def carried(
    upstream: Clients, upstream_host: SiteMachine, us: SiteMachine, tmp_path: Path
) -> dict[str, str]:
    """Export an image, and then another one as a delta, carry both, and return the digests."""
    for host in (upstream_host, us):
        host.run(f"rm -rf {_DIRECTORY}")
    digests = {}
    for tag, more in (("1", ""), ("2", "--since /medium/1.tar ")):
        digests[tag] = _push(upstream, tmp_path / tag, tag)
        _atoll(upstream_host, f"export --all-of {NAMESPACE} {more}--to /medium/{tag}.tar")
    _carry(upstream_host, us, tmp_path)
    return digests


def test_media_in_reverse_order_yield_equal_digests(
    carried: dict[str, str], clients: Clients, us: SiteMachine, eu: SiteMachine
) -> None:
    waiting = _atoll(us, "import /medium/2.tar --as admin", expected=75)
    complete = _atoll(us, "import /medium/1.tar --as admin")

    assert f"waiting: {NAMESPACE}/app:1" in waiting, waiting
    assert f"{NAMESPACE}/app:2" not in waiting
    assert "waiting" not in complete
    us.atoll("wait --timeout 300")
    for site in (us, eu):
        for tag, digest in carried.items():
            assert clients.skopeo_pull(site.address, f"{NAMESPACE}/app:{tag}") == digest


def _push(upstream: Clients, layout: Path, tag: str) -> str:
    digest = write_image(layout)
    target = f"docker://{upstream.registry}/{NAMESPACE}/app:{tag}"
    assert not copy(upstream, f"oci:{layout}:1", target)
    return digest


def _atoll(site: SiteMachine, command: str, *, expected: int = 0) -> str:
    """Run a command on a host as operators do, and return its output."""
    script = _CONTAINER.format(directory=_DIRECTORY, command=command)
    prepare = f"mkdir -p {_DIRECTORY} && chown --reference=/etc/atoll/stack {_DIRECTORY}"
    status = "echo status=$?"
    output = site.run("bash", given=f"{prepare}\n{{ {script.strip()}; }} 2>&1\n{status}\n")
    assert f"status={expected}" in output, output
    return output


def _carry(source: SiteMachine, target: SiteMachine, folder: Path) -> None:
    """Copy the medium from a machine to another."""
    local = folder / "carried"
    podman("cp", f"{source.site.machine.container}:{_DIRECTORY}", str(local))
    podman("cp", str(local), f"{target.site.machine.container}:{_DIRECTORY}")
