"""People who push and pull by several ways at once, and what each attempt met, and when."""

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

# Seconds between two attempts of the same person, so that the machines have time for others.
_BREATH = 0.5
# Bytes of a layer: what a worker copies at once and, every so many images, what it copies in parts.
_SMALL, _LARGE, _LARGE_EVERY = 200_000, 9_000_000, 12
_AT_ONCE = 4


@dataclass(frozen=True)
class Attempt:
    """Something that a person tried: when it began and ended (Unix time), and why it failed.

    BECAUSE_OF is when the push began that the pulled image comes from; 0 if long ago.
    """

    what: str
    began: float
    ended: float
    reason: str
    because_of: float = 0.0

    def __str__(self) -> str:
        clock = time.strftime("%H:%M:%S", time.gmtime(self.began))
        return f"{clock} +{self.ended - self.began:.1f} s {self.what}: {self.reason}"


class Traffic:
    """People at HOSTS who push new images and pull SEEDS, which are everywhere, until it is left.

    Nobody tries again what failed, but podman, which does so three times by itself.
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
            work += [self._person(self._push, host), self._person(self._pull, host)]
        self._threads = [threading.Thread(target=one) for one in work]
        # Names of what was pushed, with the digest.
        self.pushed: dict[str, str] = {}
        self.attempts: list[Attempt] = []
        # What each person is busy with, and since when.
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
        """Tell whether people pushed, pulled and pulled with podman what they began SINCE then."""
        done = [one for one in list(self.attempts) if one.began > since and not one.reason]
        kinds = {one.what.split()[0] for one in done}
        return kinds == {"push", "pull", "podman"}

    def wait_until_it_works(self, since: float) -> None:
        """Wait until people did all of that. Raises LabError with what keeps them."""
        try:
            wait_until("people come through", lambda: self.works(since))
        except LabError as error:
            now = time.time()
            busy = [f"{now - began:.0f} s {what}" for what, began in list(self._under_way.values())]
            failed = [str(one) for one in self.failures() if one.ended > since]
            raise LabError(
                "\n".join([str(error), "under way:", *busy, "failed:", *failed])
            ) from error

    def failures(self, before: float = 0.0, after: float = 0.0) -> list[Attempt]:
        """Return what failed, but what may fail where a store died between BEFORE and AFTER.

        An image that somebody began to push until then may be at that store only.
        """
        return [
            one
            for one in list(self.attempts)
            if one.reason and not (one.because_of and one.because_of < after and one.ended > before)
        ]

    def pulled(self, since: float) -> int:
        """Count the pulls that began after SINCE and went well."""
        attempts = list(self.attempts)
        return sum("pull" in one.what and not one.reason and one.began > since for one in attempts)

    def _person(self, act: Callable[[str, Path], None], host: str) -> Callable[[], None]:
        folder = self._folder / f"{act.__name__}-{host}"

        def go_on() -> None:
            while not self._stop.is_set():
                folder.mkdir(parents=True)
                act(host, folder)
                shutil.rmtree(folder)
                self._stop.wait(_BREATH)

        return go_on

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
            self._attempt("pull", f"docker://{host}/{name}", back, because_of=began)

    def _pull(self, host: str, folder: Path) -> None:
        for name, digest in self._seeds.items():
            reference = f"{_repository(name)}@{digest}"
            self._attempt("pull", f"docker://{host}/{reference}", f"dir:{folder}/back")

    def _attempt(self, verb: str, source: str, target: str, because_of: float = 0.0) -> bool:
        what = f"{verb} {source if verb == 'pull' else target}"
        with self._busy_with(what) as began:
            reason = copy(self._clients, source, target)
        self.attempts.append(Attempt(what, began, time.time(), reason, because_of))
        return not reason

    @contextmanager
    def _busy_with(self, what: str) -> Iterator[float]:
        """Give the time at which it began."""
        began = time.time()
        self._under_way[threading.get_ident()] = what, began
        yield began
        del self._under_way[threading.get_ident()]

    def _pull_with_podman(self) -> None:
        while not self._stop.is_set():
            name, digest = next(iter(self._seeds.items()))
            reason = ""
            with self._busy_with(f"podman pull {name}") as began:
                try:
                    self._clients.podman_pull(f"{_repository(name)}@{digest}")
                except LabError as error:
                    reason = str(error)
            self.attempts.append(Attempt(f"podman pull {name}", began, time.time(), reason))
            self._stop.wait(_BREATH)


def push_images(clients: Clients, folder: Path, repository: str, count: int) -> dict[str, str]:
    """Push some images, and return their names and digests."""
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
    """Return what cannot be pulled by digest from each of the SITES; skopeo checks all bytes."""

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
        return [complaint for complaint in pool.map(pull, references) if complaint]


def _repository(name: str) -> str:
    return name.partition(":")[0]
