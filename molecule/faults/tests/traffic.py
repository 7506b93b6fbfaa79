"""Concurrent pushes and pulls by several clients, with the result of each attempt."""

import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clients import Clients
from commands import wait_until
from errors import LabError
from load import copy, write_image
from site_machine import SiteMachine

# Seconds between two attempts of a client, so that the machines are not overloaded.
_PAUSE = 0.5
# Sizes of layers in bytes: most are copied in one part, and every twelfth in several parts.
_SMALL, _LARGE, _LARGE_EVERY = 200_000, 9_000_000, 12
_AT_ONCE = 4


@dataclass(frozen=True)
class Attempt:
    """A push or a pull.

    Attributes:
        what: A description.
        began: The start (Unix time).
        ended: The end (Unix time).
        reason: The error; "" on success.
        push_began: The start of the push of the pulled image; 0 if the image is replicated.
    """

    what: str
    began: float
    ended: float
    reason: str
    push_began: float = 0.0

    def __str__(self) -> str:
        clock = time.strftime("%H:%M:%S", time.gmtime(self.began))
        return f"{clock} +{self.ended - self.began:.1f} s {self.what}: {self.reason}"


class Traffic:
    """Clients that push new images and pull replicated images until the context ends.

    Failed attempts are not retried, except by podman, which retries three times.

    Args:
        clients: The client programs.
        folder: A temporary directory.
        hosts: The addresses to push to and pull from.
        seeds: The digests of replicated images, by name.
    """

    def __init__(
        self,
        clients: Clients,
        folder: Path,
        hosts: list[str],
        seeds: dict[str, str],
    ) -> None:
        self._clients = clients
        self._folder = folder
        self._seeds = seeds
        self._repository = f"admin/{folder.name}"
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        work: list[Callable[[], None]] = [self._pull_with_podman]
        for host in hosts:
            work += [self._client(self._push, host), self._client(self._pull, host)]
        self._threads = [threading.Thread(target=one) for one in work]
        # The digests of the pushed images, by name.
        self.pushed: dict[str, str] = {}
        self.attempts: list[Attempt] = []
        # The running attempt of each thread, with its start.
        self._under_way: dict[int, tuple[str, float]] = {}

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def works(self, since: float = 0.0) -> bool:
        """Return whether a push, a pull and a pull with podman have succeeded since a time."""
        done = [one for one in list(self.attempts) if one.began > since and not one.reason]
        kinds = {one.what.split()[0] for one in done}
        return kinds == {"push", "pull", "podman"}

    def wait_until_it_works(self, since: float) -> None:
        """Wait until all kinds of attempts succeed. Raises LabError with the failed attempts."""
        try:
            wait_until("pushes and pulls succeed", lambda: self.works(since))
        except LabError as error:
            now = time.time()
            busy = [f"{now - began:.0f} s {what}" for what, began in list(self._under_way.values())]
            failed = [str(one) for one in self.failures() if one.ended > since]
            raise LabError(
                "\n".join([str(error), "running:", *busy, "failed:", *failed])
            ) from error

    def failures(self, before: float = 0.0, after: float = 0.0) -> list[Attempt]:
        """Return the failed attempts, except those that a failure of a store excuses.

        If a store fails between `before` and `after`, images whose push began earlier may have
        their sole copy there.
        """
        return [
            one
            for one in list(self.attempts)
            if one.reason and not (one.push_began and one.push_began < after and one.ended > before)
        ]

    def pulled(self, since: float) -> int:
        """Return the number of successful pulls that began after a time."""
        attempts = list(self.attempts)
        return sum("pull" in one.what and not one.reason and one.began > since for one in attempts)

    def _client(self, act: Callable[[str, Path], None], host: str) -> Callable[[], None]:
        folder = self._folder / f"{act.__name__}-{host}"

        def run() -> None:
            while not self._stop.is_set():
                folder.mkdir(parents=True)
                act(host, folder)
                shutil.rmtree(folder)
                self._stop.wait(_PAUSE)

        return run

    def _push(self, host: str, folder: Path) -> None:
        number = next(self._numbers)
        size = _SMALL if number % _LARGE_EVERY else _LARGE
        digest = write_image(folder / "layout", size)
        name = f"{self._repository}:{number}"
        began = time.time()
        layout = f"oci:{folder}/layout:1"
        if self._attempt("push", layout, f"docker://{host}/{name}"):
            self.pushed[name] = digest
            back = f"dir:{folder}/back"
            self._attempt("pull", f"docker://{host}/{name}", back, push_began=began)

    def _pull(self, host: str, folder: Path) -> None:
        for name, digest in self._seeds.items():
            reference = f"{_repository(name)}@{digest}"
            self._attempt("pull", f"docker://{host}/{reference}", f"dir:{folder}/back")

    def _attempt(self, verb: str, source: str, target: str, push_began: float = 0.0) -> bool:
        what = f"{verb} {source if verb == 'pull' else target}"
        with self._record(what) as began:
            reason = copy(self._clients, source, target)
        self.attempts.append(Attempt(what, began, time.time(), reason, push_began))
        return not reason

    @contextmanager
    def _record(self, what: str) -> Iterator[float]:
        """Record an attempt as running, and yield its start."""
        began = time.time()
        self._under_way[threading.get_ident()] = what, began
        yield began
        del self._under_way[threading.get_ident()]

    def _pull_with_podman(self) -> None:
        while not self._stop.is_set():
            name, digest = next(iter(self._seeds.items()))
            reason = ""
            with self._record(f"podman pull {name}") as began:
                try:
                    self._clients.podman_pull(f"{_repository(name)}@{digest}")
                except LabError as error:
                    reason = str(error)
            self.attempts.append(Attempt(f"podman pull {name}", began, time.time(), reason))
            self._stop.wait(_PAUSE)


def push_images(clients: Clients, folder: Path, repository: str, count: int) -> dict[str, str]:
    """Push some images, and return their digests by name."""
    pushed = {}
    for number in range(count):
        digest = write_image(folder / "layout")
        name = f"{repository}:{number}"
        reason = copy(clients, f"oci:{folder}/layout:1", f"docker://{clients.registry}/{name}")
        assert not reason, reason
        pushed[name] = digest
    return pushed


def not_pullable(
    clients: Clients, folder: Path, pushed: dict[str, str], sites: list[SiteMachine]
) -> list[str]:
    """Return an error for each image that cannot be pulled by digest from a site.

    skopeo verifies the content of all blobs.
    """

    def pull(reference: str) -> str:
        target = folder / reference.replace("/", "_")
        reason = copy(clients, f"docker://{reference}", f"dir:{target}")
        shutil.rmtree(target, ignore_errors=True)
        return f"{reference}: {reason}" if reason else ""

    references = [
        f"{site.address}/{_repository(name)}@{digest}"
        for site in sites
        for name, digest in pushed.items()
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [error for error in pool.map(pull, references) if error]


def _repository(name: str) -> str:
    return name.partition(":")[0]
