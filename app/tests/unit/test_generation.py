"""The processes of a generation serve the bundle that was checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from atoll.config import Bundle, check
from atoll.server import generation
from atoll.server.generation import Generation, LoadedBundle

from .valid_bundle import valid_bundle


@pytest.fixture
def bundle() -> Bundle:
    checked = check(valid_bundle()).bundle
    assert checked is not None
    return checked


def test_web_processes_serve_the_loaded_bundle_and_not_the_file(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[str, Bundle]] = []

    def serve(address: str, bundle: Bundle) -> int:
        served.append((address, bundle))
        return 0

    monkeypatch.setattr(generation, "serve", serve)
    made = Generation(7, LoadedBundle(bundle, None), tmp_path, 2, run=lambda process: process())
    for child in made.web:
        assert child.run is not None
        assert child.run() == 0
    assert [address for address, _ in served] == [str(socket) for socket in made.sockets]
    assert all(one is bundle for _, one in served)
