"""Mirrors work in a network that drops all connections except those to a proxy."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from clients import Clients
from conftest import Apply
from definition import Lab
from docker_upstream import NAME, DockerUpstream
from forward_proxy import ForwardProxy
from load import copy, write_image
from mirror_runs import run_mirror
from site_machine import SiteMachine

MIRROR, SOURCE = "mirrored/proxied", "team/proxied"


@pytest.fixture(scope="module")
def proxy(lab: Lab, docker: DockerUpstream) -> Iterator[ForwardProxy]:
    """A proxy that resolves the name of the upstream, which no machine does."""
    proxy = ForwardProxy(lab, NAME, docker.host)
    with proxy.running():
        yield proxy


@contextmanager
def closed(site: SiteMachine, docker: DockerUpstream) -> Iterator[None]:
    """Drop all packets from a site to the upstream until the block ends."""
    drop = f"ip daddr {docker.host} tcp dport {docker.port} counter drop"
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; {drop}; }}\n"
        for hook in ("forward", "output")
    )
    site.run("nft --file -", given=f"table inet firewall {{\n{chains}}}\n")
    try:
        yield
    finally:
        site.attempt("nft delete table inet firewall")


@pytest.fixture
def firewall(us: SiteMachine, eu: SiteMachine, docker: DockerUpstream) -> Iterator[None]:
    with ExitStack() as stack:
        for site in (us, eu):
            stack.enter_context(closed(site, docker))
        yield


@pytest.fixture
def pushed(docker: DockerUpstream, layout: Path) -> str:
    """Push an image to the upstream, and return its digest."""
    digest = write_image(layout)
    assert not copy(docker.clients, f"oci:{layout}:1", f"docker://{docker.address}/{SOURCE}:1")
    return digest


@pytest.fixture
def proxied(
    firewall: None, apply: Apply, docker: DockerUpstream, proxy: ForwardProxy, pushed: str
) -> None:
    """Create a mirror that uses the proxy, in a network that permits nothing else."""
    del firewall, pushed
    apply(docker.mirror(MIRROR, SOURCE, host=NAME) | {"https_proxy": proxy.url})


@pytest.mark.usefixtures("proxied")
def test_an_upstream_that_only_the_proxy_reaches_is_mirrored(
    docker: DockerUpstream, proxy: ForwardProxy, clients: Clients, us: SiteMachine, pushed: str
) -> None:
    done = run_mirror(us, MIRROR)

    assert (done["outcome"], done["tags_copied"]) == ("SUCCESS", 1)
    assert clients.skopeo_pull(us.address, f"{MIRROR}:1") == pushed
    assert f"{NAME}:{docker.port}" in proxy.targets()


def test_an_upstream_in_no_proxy_is_reached_directly(
    apply: Apply, docker: DockerUpstream, proxy: ForwardProxy, us: SiteMachine
) -> None:
    direct = docker.mirror(MIRROR, SOURCE) | {"https_proxy": proxy.url, "no_proxy": docker.host}

    apply(direct)

    assert run_mirror(us, MIRROR)["outcome"] == "SUCCESS"
    assert f"{docker.host}:{docker.port}" not in proxy.targets()
