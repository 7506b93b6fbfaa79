"""A real store that is paused under load, and one that is busy up to its limit.

The bounds are those promised to clients, plus the slowest request of the same run before the pause,
because the load of the machine is not what is tested.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from atoll.names import Digest, RepositoryName
from atoll.registry.upload_session import Body
from atoll.storage.doubt_sharing import HINT
from atoll.storage.errors import StoreUnreachable

from .services import Services, wait_until
from .site import SUPERUSER, Client, Site, running_site
from .slow_proxy import slow_proxy

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:pull,push"
UNAVAILABLE = ("store marked unavailable", "store marked read-only")
# In seconds: the longest request, and when at the latest clients are no longer redirected to a
# paused store, except for a limited number of them.
SLOWEST, WINDOW, EXCEPTIONS = 4.0, 1.0, 2
SIZE = 1_000_000
CLIENTS = 3


@dataclass
class Request:
    """One request to the registry, and the port that it was redirected to."""

    what: str
    began: float
    ended: float
    status: int
    port: int | None = None

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass
class Load:
    """Clients that push and pull inside of the `with` block."""

    site: Site
    seeds: list[str]
    requests: list[Request] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [
            threading.Thread(target=self._repeat, args=(work, Client(self.site)))
            for work in (self._push, self._pull)
            for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()

    def count(self, what: str, since: float = 0.0) -> int:
        return sum(one.what == what and one.began > since for one in list(self.requests))

    def _repeat(self, work: Callable[[Client], None], client: Client) -> None:
        while not self.stop.is_set():
            try:
                work(client)
            except BaseException as error:
                self.errors.append(error)
                return

    def _push(self, client: Client) -> None:
        data = os.urandom(SIZE)
        answer = self._request(client, "POST", f"/v2/{REPOSITORY}/blobs/uploads/")
        answer = self._request(client, "PATCH", answer.headers["Location"], data=data)
        digest = str(Digest.of(data))
        self._request(client, "PUT", answer.headers["Location"], params={"digest": digest})

    def _pull(self, client: Client) -> None:
        for digest in self.seeds:
            answer = self._request(client, "GET", f"/v2/{REPOSITORY}/blobs/{digest}")
            try:
                client.session.get(answer.headers["Location"], timeout=1)
            except requests.RequestException:
                # A client that was redirected there before the pause was detected.
                continue

    def _request(
        self, client: Client, method: str, path: str, **arguments: object
    ) -> requests.Response:
        began = time.monotonic()
        answer = client.request(method, path, SCOPE, **arguments)
        sent_to = answer.headers["Location"] if answer.status_code == 307 else ""
        port = urlsplit(sent_to).port
        self.requests.append(Request(method, began, time.monotonic(), answer.status_code, port))
        return answer


@dataclass(frozen=True)
class Outcome:
    """Requests during the pause, in seconds, and the slowest one before it."""

    usual: float
    slowest: float
    redirects_after: list[float]
    failed: list[int]

    def __str__(self) -> str:
        last = max(self.redirects_after, default=0.0)
        return (
            f"slowest request {self.slowest:.2f} s (before the pause {self.usual:.2f} s), last"
            f" redirect {last:.2f} s after the pause, {len(self.redirects_after)} after it in all"
        )

    def assert_promises_kept(self) -> None:
        late = [one for one in self.redirects_after if one > WINDOW + self.usual]
        assert self.failed == []
        assert self.slowest < SLOWEST + self.usual, str(self)
        assert len(late) <= EXCEPTIONS, str(self)


def pause_under_load(site: Site, services: Services, seeds: list[str]) -> Outcome:
    health, load = site.locations.health, Load(site, seeds)
    with load.running():
        wait_until(
            "clients send requests", lambda: load.count("PUT") > 20 and load.count("GET") > 20
        )
        services.us.container.pause()
        paused = time.monotonic()
        try:
            # Requests that were sent to the store have ended, and later ones have begun.
            wait_until("the store is unavailable", lambda: not health.is_up("usstorage"))
            known = time.monotonic()
            wait_until("clients are served again", lambda: load.count("PUT", known) > 10)
        finally:
            services.us.container.unpause()
        wait_until("the store is used again", lambda: health.state("usstorage").healthy)
    assert load.errors == []
    before = [one.seconds for one in load.requests if one.ended < paused]
    met = [one for one in load.requests if one.ended >= paused]
    return Outcome(
        max(before),
        max(one.seconds for one in met),
        [one.ended - paused for one in met if one.port == services.us.port and one.ended < known],
        [one.status for one in load.requests if one.status >= 400],
    )


def run_repeatedly(us: Site, eu: Site, services: Services, runs: int) -> None:
    client = Client(us)
    seeds = [client.push_blob(REPOSITORY, os.urandom(1000)) for _ in range(5)]
    eu.copy_all()
    health = us.locations.health
    for number in range(runs):
        outcome = pause_under_load(us, services, seeds)
        print(f"run {number + 1}: {outcome}, load {os.getloadavg()[0]:.1f}")  # noqa: T201
        outcome.assert_promises_kept()
        wait_until("no store is in doubt", lambda: not health.in_doubt("usstorage"))


def test_clients_are_served_from_the_next_location_when_a_store_hangs(
    us: Site, eu: Site, services: Services
) -> None:
    run_repeatedly(us, eu, services, 2)


@pytest.mark.long
def test_clients_are_served_from_the_next_location_however_often_a_store_hangs(
    us: Site, eu: Site, services: Services
) -> None:
    run_repeatedly(us, eu, services, 10)


def assert_doubts_are_shared(us: Site, eu: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Observe failures of a store at us until eu learns of them; wait until eu clears its doubt."""

    def is_learnt() -> bool:
        us.locations.health.observe(
            "eustorage", StoreUnreachable("eustorage", "simulated by the test")
        )
        return any(getattr(one, "cause", "") == HINT for one in caplog.records)

    wait_until("the doubt is known", is_learnt)
    assert eu.locations.health.is_up("eustorage")
    wait_until("the doubt is cleared", lambda: not eu.locations.health.in_doubt("eustorage"))


def test_a_site_learns_of_doubts_about_a_store_through_redis(
    us: Site, eu: Site, caplog: pytest.LogCaptureFixture
) -> None:
    assert_doubts_are_shared(us, eu, caplog)


def test_sharing_doubts_resumes_after_an_outage_of_redis(
    us: Site, eu: Site, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    services.redis.pause()
    try:
        us.locations.health.observe(
            "eustorage", StoreUnreachable("eustorage", "simulated by the test")
        )
        wait_until("the doubt is cleared", lambda: us.locations.health.state("eustorage").healthy)
    finally:
        services.redis.unpause()
    assert_doubts_are_shared(us, eu, caplog)


def push_in_parallel(
    site: Site, uploads: int, size: int, caplog: pytest.LogCaptureFixture
) -> list[str]:
    """Push blobs of a size in parallel, without HTTP, and return the location of each."""
    name = RepositoryName(*REPOSITORY.split("/"))
    numbers = itertools.count()

    def push() -> str:
        content = next(numbers).to_bytes(8, "big") + os.urandom(1024) * (size // 1024)
        upload = site.services.uploads.start(name, SUPERUSER)
        digest = Digest.of(content)
        with tempfile.TemporaryFile() as spooled:
            spooled.write(content)
            site.services.uploads.finish(upload, digest, Body(spooled, len(content)))
        return site.services.blobs.find(name, digest).placements[0]

    Client(site).push_blob(REPOSITORY, b"so that the repository is there")
    with ThreadPoolExecutor(uploads) as pool:
        placements = list(pool.map(lambda _: push(), range(uploads)))
    found = [one for one in caplog.messages if one in UNAVAILABLE]
    print(  # noqa: T201
        f"{uploads} uploads of {size} bytes: {placements.count('usstorage')} at the busy store,"
        f" {caplog.messages.count('store in doubt')} doubts, unavailable: {found}"
    )
    assert found == []
    return placements


def test_a_slow_store_that_makes_progress_is_never_marked_as_unavailable(
    services: Services, database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with slow_proxy(services.us.port, rate=1_500_000) as proxy:
        kind, settings = services.us.settings
        stores = {
            "usstorage": [kind, {**settings, "port": proxy.port}],  # type: ignore[dict-item]
            "eustorage": services.eu.settings,
        }
        changes: dict[str, object] = {"DISTRIBUTED_STORAGE_CONFIG": stores}
        with running_site(services, database, tmp_path, "usstorage eustorage", changes) as site:
            push_in_parallel(site, 60, 250_000, caplog)


@pytest.mark.long
def test_a_store_with_two_hundred_parallel_uploads_is_never_marked_as_unavailable(
    us: Site, caplog: pytest.LogCaptureFixture
) -> None:
    push_in_parallel(us, 200, 8_000_000, caplog)
