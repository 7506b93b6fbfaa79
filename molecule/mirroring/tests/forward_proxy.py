"""squid, as the only way from the machines to an upstream."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

import images
from commands import PODMAN, podman, succeeds, wait_until
from definition import Lab

_PORT = 3128
_CONFIGURATION = f"""
http_port {_PORT}
http_access allow all
cache deny all
"""


class ForwardProxy:
    """A proxy in the network of the machines that resolves one more name."""

    def __init__(self, lab: Lab, name: str, address: str) -> None:
        self._lab = lab
        self._container = f"{lab.name}-proxy"
        self._name = f"{name}:{address}"
        # The address that the registry may connect to; see inventory/hosts.yml.
        self.address = str(ipaddress.ip_network(lab.subnet)[30])
        self.url = f"http://{self.address}:{_PORT}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the proxy until the block ends."""
        self._remove()
        file = "/tmp/squid.conf"  # in the container
        script = f"printf '%s' '{_CONFIGURATION}' > {file}; exec squid -N -f {file}"
        network = (f"--network={self._lab.name}", f"--ip={self.address}")
        options = (f"--name={self._container}", f"--add-host={self._name}", "--pull=never")
        podman("run", "--detach", *network, *options, images.ENGINES.tag, "bash", "-c", script)
        try:
            probe = f"exec 3<>/dev/tcp/{self.address}/{_PORT}"
            wait_until(
                "the proxy accepts connections",
                lambda: succeeds([*PODMAN, "exec", self._container, "bash", "-c", probe]),
            )
            yield
        finally:
            self._remove()

    def targets(self) -> set[str]:
        """Return the hosts and ports that clients connected to."""
        log = podman("exec", self._container, "cat", "/var/log/squid/access.log")
        return {words[6] for words in map(str.split, log.splitlines()) if words[5] == "CONNECT"}

    def _remove(self) -> None:
        podman("rm", "--force", "--time", "0", "--ignore", self._container)
