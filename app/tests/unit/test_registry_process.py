"""What the main process of the registry prepares before it serves."""

from __future__ import annotations

from pathlib import Path

from atoll.server.registry_process import prepare_metrics_directory


def test_metrics_of_an_earlier_container_of_the_pod_are_removed(tmp_path: Path) -> None:
    directory = prepare_metrics_directory(tmp_path)
    (directory / "gauge_max_17.db").write_bytes(b"the gauges of process 17")
    assert prepare_metrics_directory(tmp_path) == directory
    assert list(directory.iterdir()) == []
