"""A registry with two sites, each of which has a Clair: replays of a real one, with one state."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from atoll.names import Digest
from atoll.periodic import ThreadRegistry
from atoll.scanning.scan import Reported
from atoll.scanning.scan_worker import ScanWorker
from atoll.scanning.scanning import Scanning
from atoll.scanning.scans import ScanClaim

from tests.clair.replay import Options, ReplayServer
from tests.clair.state import State

from ..integration.services import wait_until
from .api_client import ApiClient
from .sites import MemoryRegistry, MemorySite, make_registry

KEY = b"a key of 32 bytes for the tests!"
LOCATIONS = ["us", "eu"]


@dataclass
class Stack:
    """A registry with two sites, each of which has a Clair; the Clairs share one state."""

    registry: MemoryRegistry
    clairs: dict[str, ReplayServer]
    state: State
    stopped: dict[str, Callable[[], object]]
    reported: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def us(self) -> MemorySite:
        return self.registry["us"]

    @property
    def scanning(self) -> Scanning:
        found = self.us.graph.scanning
        assert found is not None
        return found

    def worker(self, *, reported: Reported | None = None) -> ScanWorker:
        """Return a worker of the site us, not started."""
        return self.scanning.worker(at_once=4, reported=reported or self._reported)

    def _reported(self, claim: ScanClaim, content: bytes) -> None:
        self.reported.append((str(claim.digest), content))

    def scan_all(self, *, reported: Reported | None = None) -> None:
        """Scan all images, and stop."""
        worker = self.worker(reported=reported)
        worker.start(ThreadRegistry())
        try:
            wait_until("all images are scanned", lambda: not self.due())
        finally:
            worker.stop(wait=True)

    def restart(self, name: str) -> None:
        """Start the Clair of a site again, at the same address."""
        stopped = self.clairs[name]
        running = ExitStack()
        server = ReplayServer(self.state, stopped.options, port=stopped.server_address[1])
        self.clairs[name] = running.enter_context(server.running())
        self.stopped[name] = running.close

    def due(self) -> int:
        statement = "SELECT count(*) FROM securityscan WHERE index_status IN (-1, 0)"
        return int(self.us.database.read(statement)[0][0])

    def security(self, digest: Digest, *, status: int = 200, query: str = "") -> Any:
        path = f"repository/{self.us.repository}/manifest/{digest}/security{query}"
        return ApiClient(self.us).call("GET", path, status=status)


@pytest.fixture
def scanning_stack(make_database: Callable[[], str], tmp_path: Path) -> Iterator[Stack]:
    state = State(tmp_path / "clair")
    clairs, stopped = {}, {}
    for name in LOCATIONS:
        one = ExitStack()
        server = ReplayServer(state, Options(key=KEY))
        clairs[name] = one.enter_context(server.running())
        stopped[name] = one.close
    changes: dict[str, object] = {
        "FEATURE_SECURITY_SCANNER": True,
        "SCANNER_ENDPOINTS": {name: server.url for name, server in clairs.items()},
        "SECURITY_SCANNER_V4_PSK": base64.b64encode(KEY).decode(),
        "SECURITY_SCANNER_INDEXING_INTERVAL": 1,
        "SECURITY_SCANNER_V4_INDEX_MAX_LAYER_SIZE": "2G",
        "FEATURE_SECURITY_NOTIFICATIONS": True,
        "FEATURE_SERVER_TIMING": True,
    }
    registry = make_registry(make_database(), tmp_path / "site", LOCATIONS, changes)
    stack = Stack(registry, clairs, state, stopped)
    yield stack
    for stop in stack.stopped.values():
        stop()
