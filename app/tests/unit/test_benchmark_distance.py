"""What `make bench` measures of a site far from its database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace

import pytest
from reference.pages import REPOSITORY

from ..benchmark.operations import DELAY, far_name
from ..benchmark.results import Results

# A module of the benchmark, which imports modules of the lab.
MEASURE = "tests.benchmark.measure_site"


class Sites:
    """Records the keys of the sites that run."""

    def __init__(self, far_keys: dict[str, object]) -> None:
        self.variant = SimpleNamespace(far_keys=far_keys)
        self.keys: list[dict[str, object]] = []

    @contextmanager
    def running(self, *, database_port: int, keys: dict[str, object]) -> Iterator[object]:
        assert database_port
        self.keys.append(keys)
        yield object()


class World:
    """A distance, and clients whose pushes and pulls take as long as it says."""

    def __init__(self) -> None:
        self.delay = 0.0

    @contextmanager
    def proxy(self, _session: object) -> Iterator[Callable[[float], None]]:
        yield self.set_delay

    def set_delay(self, seconds: float) -> None:
        self.delay = seconds

    def transfer(self, *_arguments: object) -> SimpleNamespace:
        return SimpleNamespace(seconds=1 + self.delay)

    push = pull = transfer

    def renew(self) -> None:
        """Change no content."""

    remove = renew


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.syspath_prepend(str(REPOSITORY / "molecule/lab"))
    world, module = World(), import_module(MEASURE)
    monkeypatch.setattr(module, "_running_proxy", world.proxy)
    for name in ("Image", "Clients"):
        monkeypatch.setattr(module, name, lambda *_arguments: world)
    return world


def measured(sites: Sites) -> dict[str, set[float]]:
    """Return the seconds of each operation."""
    results = Results()
    session = import_module("tests.benchmark.session").Session(
        SimpleNamespace(work=None), sites, results, 2, 1, 1, 1, lambda _text: None
    )
    import_module(MEASURE).measure_far(session)
    found: dict[str, set[float]] = {}
    for sample in results.samples:
        found.setdefault(sample.what, set()).add(sample.figures["seconds"])
    return found


@pytest.mark.usefixtures("world")
def test_pulls_are_measured_with_and_without_the_tag_cache_at_each_distance() -> None:
    sites = Sites({"FEATURE_SERVER_TIMING": True})
    found = measured(sites)
    common = {"FEATURE_SERVER_TIMING": True}
    assert sites.keys == [
        {"FEATURE_TAG_CACHE": True, **common},
        {"FEATURE_TAG_CACHE": False, **common},
    ]
    pulls = {
        far_name("pull C", delay, tag_cache=kept): {1 + delay}
        for kept in (True, False)
        for delay in (0, DELAY)
    }
    pushes = {far_name("push C", delay): {1 + delay} for delay in (0, DELAY)}
    assert found == pulls | pushes
