"""The load balancers of a region and its floating address."""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from commands import podman, succeeds, wait_until
from definition import Lab, LoadBalancer

_PAUSE = 0.02
_TIMEOUT = 0.5


def floating_address(lab: Lab, site: str) -> str:
    """Return the floating address of a site."""
    return next(
        balancer.floating_address
        for balancer in lab.load_balancers
        if balancer.site == site and balancer.floating_address
    )


def holders(lab: Lab, site: str) -> list[LoadBalancer]:
    """Return the load balancers that have the floating address of a site."""
    address = floating_address(lab, site)
    return [
        balancer
        for balancer in lab.load_balancers
        if balancer.site == site and address in _addresses(balancer)
    ]


def holder(lab: Lab, site: str) -> LoadBalancer:
    """Wait until exactly one load balancer has the floating address, and return it."""
    wait_until(f"one load balancer of {site} is active", lambda: len(holders(lab, site)) == 1)
    return holders(lab, site)[0]


def _addresses(balancer: LoadBalancer) -> list[str]:
    if not is_running(balancer):
        return []
    rows = json.loads(podman("exec", balancer.container, "ip", "-json", "address", "show"))
    return [entry["local"] for row in rows for entry in row["addr_info"]]


def is_running(balancer: LoadBalancer) -> bool:
    """Return whether the machine of a load balancer is running."""
    state = podman("container", "inspect", "--format", "{{.State.Status}}", balancer.container)
    return state.strip() == "running"


def restart(lab: Lab, balancer: LoadBalancer) -> None:
    """Start the machine of a load balancer, and wait until it serves clients again."""
    podman("start", balancer.container)
    ssh = lab.ssh(balancer)
    healthy = [*ssh, "sudo podman healthcheck run atoll-load-balancer"]
    wait_until(f"{balancer.name} is healthy", lambda: succeeds(healthy))


class Probe:
    """A thread that sends requests to a floating address and measures the longest outage."""

    def __init__(self, lab: Lab, site: str) -> None:
        self._address = floating_address(lab, site)
        self._trust = ssl.create_default_context(cafile=str(lab.certificate_authority))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        # The longest time between two successful responses in seconds.
        self.longest_outage = 0.0
        self.responses = 0

    @contextmanager
    def running(self) -> Iterator["Probe"]:
        self._thread.start()
        try:
            wait_until("the floating address responds", lambda: self.responses > 0)
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            if self._responds():
                now = time.monotonic()
                if self.responses:
                    self.longest_outage = max(self.longest_outage, now - last)
                last = now
                self.responses += 1
            time.sleep(_PAUSE)
        if self.responses:
            self.longest_outage = max(self.longest_outage, time.monotonic() - last)

    def _responds(self) -> bool:
        connection = http.client.HTTPSConnection(
            self._address, timeout=_TIMEOUT, context=self._trust
        )
        try:
            connection.request("GET", "/health/instance")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()
